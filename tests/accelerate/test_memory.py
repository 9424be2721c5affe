"""Freed memory is kept on request."""

import subprocess
import sys

import pytest

ROUNDS = """
import resource, sys, torch
from harness.accelerate.cpu.memory import keep_freed_memory
from harness.memory import give_back_freed_memory

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
