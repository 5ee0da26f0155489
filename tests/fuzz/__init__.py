"""Fuzzing of what reads records from anybody; ``python -m tests.fuzz --help``."""

import sys
from pathlib import Path

# What tests share lies in the folder above; pytest has it on its path, ``python -m tests.fuzz`` has not.
if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parents[1]))
