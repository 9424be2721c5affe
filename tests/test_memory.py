"""The high-water mark follows what was allocated since it was set back; freed memory is kept on request."""

import subprocess
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


ROUNDS = """
import resource, sys, torch
from harness.memory import give_back_freed_memory, keep_freed_memory

def rounds(count):
    for _ in range(count):
        torch.ones(48 * 2**20 // 4)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    keep_freed_memory()
rounds(20)  # small pieces in between find their places
before = faults()
rounds(5)
kept = faults()
give_back_freed_memory()
rounds(1)
print(kept - before, faults() - kept)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only GNU's C library is told")
def test_memory_that_was_freed_is_used_again_until_it_is_given_back():
    def faults(what):  # in a process of its own, whose allocator nobody has touched
        done = subprocess.run([sys.executable, "-c", ROUNDS, what], check=True, capture_output=True, text=True)
        return [int(word) for word in done.stdout.split()]

    (kept, fresh), (plain, _) = faults("keep"), faults("leave")
    assert 20 * kept < plain
    assert 20 * kept < fresh
