"""The high-water mark follows what was allocated since it was set back."""

import sys

import pytest
import torch

from harness.memory import peak_bytes, reset_peak

CPU = torch.device("cpu")
MIB = 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells and resets the resident set")
def test_the_peak_is_of_the_work_since_the_reset():
    large = torch.ones(256 * MIB // 4)  # resident: every page is written
    del large
    reset_peak(CPU)
    before = peak_bytes(CPU)
    small = torch.ones(64 * MIB // 4)
    after = peak_bytes(CPU)
    assert before is not None
    assert after is not None
    assert 48 * MIB < after - before < 160 * MIB
    assert len(small) == 16 * MIB
