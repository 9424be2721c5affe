"""One run's readings during training. The last one is its final evaluation, which the store keeps apart from the curve:
here it is put back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.store.result import Result


@dataclass(frozen=True)
class Reading:
    """One point of a run's curve."""

    epoch: int
    views: int
    """Augmented images seen so far."""
    seconds: float | None
    """Of training so far; None where the run did not record it."""
    values: Mapping[str, float]


def readings(result: Result) -> list[Reading]:
    """A run's curve, with its final metrics and diagnostics in the last reading; empty for what is not trained."""
    cell = result.cell
    views = (cell.batch_size or 0) * (cell.views or 0)
    found = [Reading(p.epoch, p.step * views, p.seconds, p.values) for p in result.curves]
    if found and result.status == "done" and found[-1].epoch == cell.epochs:
        last = found[-1]
        final = {name: float(value) for name, value in result.diagnostics.items() if is_number(value)}
        found[-1] = Reading(last.epoch, last.views, last.seconds, {**last.values, **final, **result.metrics})
    return found


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
