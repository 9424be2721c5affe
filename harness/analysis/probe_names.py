"""Metrics by what their probes are, whatever a suite calls its evaluations: `knn5_top1`, `linear_top1`.

Published numbers, and results compared without a suite, have no other names.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.analysis.frame import evaluation_name
from harness.registry import all_probes
from harness.spec.models import Cell, Question


@dataclass(frozen=True)
class ProbeMetric:
    """A metric of a cell by its probe."""

    evaluation: str
    """As the suite calls it."""
    name: str
    """Such as `knn5_top1`."""


def probe_name(question: Question) -> str:
    """What the probe calls itself: `knn5`; the plain name of one that is not installed here."""
    entry = all_probes().get(question.probe)
    if entry is None or entry.called is None:
        return question.probe
    return entry.called(entry.settings.model_validate(question.settings))


def probe_metric(cell: Cell, metric: str) -> ProbeMetric | None:
    """The metric of a cell by its probe; None where the cell has no such evaluation."""
    evaluation = evaluation_name(cell, metric)
    if evaluation is None:
        return None
    own = metric.removeprefix(f"{evaluation}_")
    return ProbeMetric(evaluation, f"{probe_name(cell.evaluations[evaluation])}_{own}")
