"""Compare runs without an account: a table in the terminal and one self-contained page."""
