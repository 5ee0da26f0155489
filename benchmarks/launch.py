"""Runs a program and prints its time and memory: ``launch.py OUTPUT PROGRAM ARGUMENT…``.

A process of its own, and a small one: the largest memory that the kernel reports of a program counts in that of the
process which started it, and the benchmarks themselves hold vectorbt.
"""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """Run it to its end."""
    with open(sys.argv[1], "wb") as output:  # noqa: PTH123 - pathlib would be two thirds of this process
        started = time.perf_counter()
        process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    scale = 1 if sys.platform == "darwin" else 1024
    print(json.dumps([seconds, usage.ru_maxrss * scale, process.returncode]))


main()
