"""Floor 2: what a backtesting engine produced, as a `Result`."""
