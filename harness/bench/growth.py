"""Rows of the growth table: what a training step costs as one thing grows and all others stay, in turns with the base.

Owns the base and the axes.
"""

from __future__ import annotations

import dataclasses

import torch

from harness.bench.row import MILLISECONDS, Growth, Row, Setup
from harness.bench.stepping import Training
from harness.bench.training import NARROW, ours

GROUP = "growth"
BASE = Training("w_mse", views=2, images=512, size=32, width=NARROW, embedding=64, slicing_iterations=1)
AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "views": ("d, views of an image", (2, 4, 8)),
    "images": ("batch, images", (128, 256, 512, 1024)),
    "embedding": ("embedding, dimensions", (32, 64, 128, 256)),
    "slicing_iterations": ("slicing iterations", (1, 2, 4, 8, 16)),
    "size": ("image size, pixels a side", (16, 32, 64)),
}
"""Field of `Training`: what it is called, and its values; the sub-batch is always twice the embedding."""


def rows(device: torch.device) -> tuple[Row, ...]:
    """The base, then every other value of every axis beside it."""
    base = Row(GROUP, f"base: {described(BASE)}", MILLISECONDS, step(BASE), growth=Growth("base", 0))
    return (
        base,
        *(_grown(name, value) for name, (_, values) in AXES.items() for value in values if not _is(name, value)),
    )


def described(training: Training) -> str:
    """The base in words."""
    return (
        f"{training.method} on {training.encoder}, d={training.views}, batch {training.images}, embedding "
        f"{training.embedding}, {training.slicing_iterations} slicing iteration, {training.size}x{training.size}"
    )


def _is(name: str, value: int) -> bool:
    return bool(getattr(BASE, name) == value)


def _grown(name: str, value: int) -> Row:
    title, _ = AXES[name]
    training = dataclasses.replace(BASE, **{name: value})  # type: ignore[arg-type]
    return Row(
        group=GROUP,
        name=f"{title}: {value}",
        unit=MILLISECONDS,
        ours=step(training),
        conventional=step(BASE),
        against="the base",
        growth=Growth(name, value),
    )


def step(training: Training) -> Setup:
    """The real trainer; a turn is one step."""
    return ours(training, None, float(training.views * training.images))
