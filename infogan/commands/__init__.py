"""The verbs of the command line, a module or a package each."""
