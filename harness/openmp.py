"""How OpenMP's threads wait for one another. Owns the one setting; imports nothing heavy, as it is to be made before
torch is imported."""

from __future__ import annotations

import os

SPIN_COUNT_NAME, SPIN_COUNT = "GOMP_SPINCOUNT", "10000"


def spin_briefly() -> None:
    """GNU OpenMP's threads spin for long while they wait: with a busy neighbour on the same cores training was thirty
    times slower. Sleeping at once is slow on idle cores; a short spin costs nothing there. What the user has chosen
    stays."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(SPIN_COUNT_NAME, SPIN_COUNT)
