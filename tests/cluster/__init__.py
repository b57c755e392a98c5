"""Tests on a real Slurm and on real network namespaces, where these can be had."""
