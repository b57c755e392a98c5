"""Faster layers and memory on CPUs; the system works without them."""
