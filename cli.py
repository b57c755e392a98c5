"""The one entrance: `python cli.py VERB`."""

import sys

from infogan.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
