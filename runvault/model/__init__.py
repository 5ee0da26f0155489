"""Floor 1: values and arithmetic. No files, clock, environment, network or pandas."""
