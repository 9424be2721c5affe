"""Every row of `harness bench` as an entry of pytest-benchmark, beside the conventional pipeline of
`harness/bench/conventional`. Run with

    pytest -o addopts=--import-mode=importlib tests/benchmarks --benchmark-only -s [-k PATTERN]

Ratios, spread and shares of the measured limits are in `extra_info`, printed with `-s`. That both sides compute the
same values is asserted; how fast they are is reported, since a busy machine must not fail a test.
"""

from __future__ import annotations

import os

import pytest
import torch

from harness.bench.groups import all_rows
from harness.bench.machine import this_machine
from harness.bench.row import Unavailable
from harness.bench.table import record
from harness.bench.timing import measure

SECONDS = 5.0
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def machine():
    """All cores, and their limits."""
    before = torch.get_num_threads()
    yield this_machine(DEVICE, os.cpu_count())
    torch.set_num_threads(before)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("row", all_rows(DEVICE), ids=lambda row: row.title)
def test_row(row, machine, benchmark):
    try:
        side = row.ours(machine)
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        benchmark.pedantic(side.turn, rounds=3, warmup_rounds=1)
    finally:
        side.close()
    if row.values is not None:
        torch.testing.assert_close(*row.values(machine), rtol=1e-4, atol=1e-5)
    found = measure(row, machine, SECONDS)
    assert not found.reason
    benchmark.extra_info.update(record(found))
    print("\n", benchmark.extra_info)
