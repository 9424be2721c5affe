"""One run's readings during training. The last one is its final evaluation, which the store keeps apart from the curve:
here it is put back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.spec.identity import identity_of
from harness.spec.models import Question
from harness.store.cell_result import CellResult


@dataclass(frozen=True)
class Reading:
    """One point of a run's curve."""

    epoch: int
    views: int
    """Augmented images seen so far."""
    seconds: float | None
    """Of training so far; None where the run did not record it."""
    values: Mapping[str, float]


def readings(result: CellResult) -> list[Reading]:
    """A run's curve, with its final metrics and diagnostics in the last reading; empty for what is not trained."""
    training = result.cell.training
    if training is None:
        return []
    views = training.batch_size * training.all_views
    curve = [Reading(p.epoch, p.step * views, p.seconds, p.values) for p in result.curves]
    if curve and curve[-1].epoch == training.epochs:
        last = curve[-1]
        curve[-1] = Reading(last.epoch, last.views, last.seconds, {**last.values, **_final(result)})
    return curve


def _final(result: CellResult) -> dict[str, float]:
    """Diagnostics and metrics at the end. A monitor's last reading is the answer of the evaluation that asks the same,
    whatever that is called; one of the monitor's name that asks something else is no reading of it."""
    values = {name: value for name, value in result.diagnostics.items() if value is not None}
    monitors = result.cell.monitors
    for label, record in result.evaluations.items():
        asked = _content(result.cell.evaluations[label])
        names = [name for name, monitor in monitors.items() if _content(monitor) == asked]
        names += [] if label in monitors else [label]
        values |= {f"{name}_{own}": value for name in names for own, value in record.metrics.items()}
    return values


def _content(question: Question) -> Any:
    """What is asked, whether during training or of which encoder."""
    return {name: identity_of(getattr(question, name)) for name in Question.model_fields}


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
