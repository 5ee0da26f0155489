"""What the archive costs, beside what users could do instead: ``python -m benchmarks --help``."""
