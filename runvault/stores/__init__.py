"""Floor 2: one outside world each. Their exceptions become ours here and nowhere else."""
