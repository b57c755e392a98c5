"""What watches, draws, saves and stops during a run."""
