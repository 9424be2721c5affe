"""The axes of growth: every value once, each beside the base, all of them possible."""

import dataclasses

import torch

from harness.bench.growth import AXES, BASE, rows
from harness.bench.row import Growth


def test_a_row_for_every_value_but_the_bases():
    found = [row.growth for row in rows(torch.device("cpu"))]
    wanted = [Growth(name, value) for name, (_, values) in AXES.items() for value in values]
    assert found[0] == Growth("base", 0)
    assert found[1:] == [growth for growth in wanted if getattr(BASE, growth.axis) != growth.value]
    assert all(getattr(BASE, name) in values for name, (_, values) in AXES.items())


def test_every_value_can_be_run():
    for name, (_, values) in AXES.items():
        for value in values:
            assert dataclasses.replace(BASE, **{name: value}).pretraining("float32").id
