"""What a training step costs as one thing grows and all others stay, beside the base: a ratio below 1 is slower."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from tests.benchmarks.trainer import Training, own_training

BASE = Training()
AXES = {
    "views": ("d, views of an image", (4, 8)),
    "images": ("batch, images", (128, 256, 1024)),
    "embedding": ("embedding, dimensions", (32, 128, 256)),
    "slicing_iterations": ("slicing iterations", (2, 4, 8, 16)),
    "size": ("image size, pixels a side", (16, 64)),
}
CASES = {f"{title}: {value}": {name: value} for name, (title, values) in AXES.items() for value in values}
SMALL = Training(images=64, size=8, width=4, embedding=8)
SMALL_SHARE = {"images": 8, "embedding": 8, "size": 2}


@pytest.mark.parametrize("changed", CASES.values(), ids=CASES)
def test_step(changed, compare, machine, small):
    precision = machine.limits.fast_precision
    base = SMALL if small else BASE
    if small:
        changed = {name: value // SMALL_SHARE.get(name, 1) for name, value in changed.items()}
    values = ", ".join(f"{field.name} {getattr(BASE, field.name)}" for field in fields(BASE))
    compare(
        "ms",
        own_training(replace(base, **changed), machine, precision),
        own_training(base, machine, precision),
        against=f"the base: {values}, in {precision}",
    )
