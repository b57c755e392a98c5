"""The tests, one file a source file, then whole runs."""
