"""`python -m infogan VERB`, the console command `infogan`."""

import sys

from infogan.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
