"""The process: checkpoints, signals, Slurm, launching, strategies, precision."""
