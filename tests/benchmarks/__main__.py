"""The speed table: every benchmark of this folder, ours and the conventional way in turns.

    python -m tests.benchmarks [--benchmark-table DIR] [--benchmark-max-time SECONDS] [-k EXPRESSION] [pytest's options]

Writes table.md, table.csv and table.json into DIR (results/bench), row by row. Run again after an interruption, it
measures only the rows that this code on this machine has not measured yet. Leave the machine alone meanwhile.
"""

import signal
import sys
from pathlib import Path

from harness.openmp import spin_briefly

DEFAULTS = ("--benchmark-enable", "--benchmark-table=results/bench", "--benchmark-max-time=10", "--timeout=0", "-vv")

if __name__ == "__main__":  # a process started for the conventional side imports this file too
    spin_briefly()  # as `harness` does, before torch is imported
    import pytest

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as at Ctrl-C: workers are stopped
    sys.exit(pytest.main([str(Path(__file__).parent), *DEFAULTS, *sys.argv[1:]]))
