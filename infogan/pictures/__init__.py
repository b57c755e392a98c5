"""Grids and matrices as images: bytes, as PIL and loggers take them."""
