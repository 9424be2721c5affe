"""Accuracy against what it cost: which rows none beats at their price, and when a row first reached an accuracy.

Owns the rule that seconds, memory and energy are compared on the same hardware alone, and that controls are no
competitors: one that sees labels, or trains nothing, is drawn and never in the front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.row_results import RowResults

COSTS = ("train_flops", "views_seen", "train_seconds", "peak_memory_bytes", "energy_joules")
OF_HARDWARE = ("train_seconds", "peak_memory_bytes", "energy_joules")
"""Costs that depend on the machine."""


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of (cost, accuracy) that no other point equals or beats in both and beats in one, by rising cost."""
    front: list[int] = []
    best = -math.inf
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    for index in order:
        cost, accuracy = points[index]
        if accuracy > best:
            best = accuracy
            front.append(index)
        elif front and points[front[-1]] == (cost, accuracy):
            front.append(index)
    return front


def pareto_rows(rows: Sequence[RowResults], cost: str, metric: str) -> list[int]:
    """Indices of the rows of one dataset on the front, by the metric's own direction; each hardware has its own where
    the cost depends on it."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(rows):
        if row.control or not row.mean(cost) or row.mean(metric) is None:
            continue
        if cost in OF_HARDWARE and len(row.hardware) != 1:
            continue  # seeds on different machines have no common price
        groups.setdefault(row.hardware if cost in OF_HARDWARE else (), []).append(index)
    on_front = []
    for members in groups.values():
        own = [rows[i] for i in members]
        points = [(row.mean(cost) or 0.0, row.metric(metric).sign * (row.mean(metric) or 0.0)) for row in own]
        on_front += [members[i] for i in pareto_front(points)]
    return on_front


@dataclass(frozen=True)
class TimeToAccuracy:
    """When the runs of a row first showed an accuracy, at the cadence of their evaluations."""

    runs: int
    """That reached it."""
    of: int
    """That were trained to the end."""
    epochs: float | None
    """Means over the runs; None unless all reached it, and for seconds unless all recorded them on one hardware."""
    views: float | None
    seconds: float | None


def time_to_accuracy(row: RowResults, metric: str, accuracy: float) -> TimeToAccuracy:
    """First reading at or above the accuracy, in per cent, of each run that was trained to the end."""
    first = []
    for run in row.readings:
        hits = [reading for reading in run if reading.values.get(metric, -math.inf) >= accuracy]
        first += hits[:1]
    count = len(row.results)
    if not first or len(first) < count:
        return TimeToAccuracy(len(first), count, None, None, None)
    seconds = [reading.seconds for reading in first if reading.seconds is not None]
    timed = len(seconds) == count and len(row.hardware) == 1
    return TimeToAccuracy(
        count,
        count,
        sum(reading.epoch for reading in first) / count,
        sum(reading.views for reading in first) / count,
        sum(seconds) / count if timed else None,
    )


def accuracy_thresholds(rows: Sequence[RowResults], metric: str) -> list[float]:
    """At most four whole accuracies between the median run's first and best reading, over the rows of one dataset but
    its controls; empty where there are no curves of it."""
    runs = [run for row in rows if not row.control for run in row.readings]
    read = [[reading.values[metric] for reading in run if metric in reading.values] for run in runs]
    read = [values for values in read if len(values) > 1]
    if not read:
        return []
    low = sorted(values[0] for values in read)[len(read) // 2]
    high = sorted(max(values) for values in read)[len(read) // 2]
    whole = range(math.ceil(low), math.floor(high) + 1)
    if not whole:
        return []
    picked = [whole[round(i * (len(whole) - 1) / 3)] for i in range(4)]
    return [float(value) for value in dict.fromkeys(picked)]
