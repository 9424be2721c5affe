"""A machine of round numbers, and sides that say how long they took."""

import pytest
import torch

from harness.bench.row import Limits, Machine, Side

LIMITS = Limits(float32_flops=100.0, bfloat16_flops=400.0, bandwidth=10.0)


@pytest.fixture
def machine():
    return Machine(torch.device("cpu"), threads=1, workers=1, limits=LIMITS)


class Told:
    """Sides whose calls take as many seconds as they are told; notes what is called."""

    def __init__(self):
        self.calls = []

    def side(self, name, work, seconds, **choices):
        def timed(count):
            self.calls.append(name)
            return work, seconds * count

        noted = {key: (lambda key=key: self.calls.append(f"{name} {key}")) for key in ("before", "after", "close")}
        return lambda machine: Side(lambda: work, timed=timed, **noted, **choices)


@pytest.fixture
def told():
    return Told()
