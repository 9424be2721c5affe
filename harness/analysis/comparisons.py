"""Which rows a claim compares on which datasets, and their differences seed by seed. `claims` has the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.entries import Entry
from harness.analysis.frame import Record, first_of, metric_of
from harness.analysis.statistics import Interval, McNemar, mcnemar, mean_interval
from harness.spec.metric import Metric
from harness.store.cell_result import CellResult
from harness.store.records import CurvePoint
from harness.suite.claims import KNN, Claim, matching_cells, named_axes

Seeds = Mapping[int, Record]


class Missing(Exception):
    """A comparison that cannot be made; its arguments say why, each a line."""


@dataclass(frozen=True)
class ComparedRow:
    """A row of a suite on one dataset."""

    name: str
    dataset: str
    runs: Seeds
    """By seed, done or not."""

    def metric(self, name: str) -> Metric:
        """Unit and direction."""
        return Entry(name, tuple(self.runs.values())).metric

    def left_out(self, metric: str | None) -> list[str]:
        """Where the metric (None: the training) is not done, in a line, `cifar10, byol: failed (seeds 1, 2)`; nothing
        where it is done in all."""
        seeds: dict[str, list[str]] = {}
        for seed, record in self.runs.items():
            if (status := record.status_of(metric)) != "done":
                seeds.setdefault(status, []).append(str(seed))
        parts = [f"{status} (seed{'s' * (len(of) > 1)} {', '.join(of)})" for status, of in seeds.items()]
        return [f"{self.dataset}, {self.name}: {', '.join(parts)}"] if parts else []


@dataclass(frozen=True)
class Compared:
    """One row minus another."""

    first: ComparedRow
    second: ComparedRow
    low: Interval
    high: Interval
    """Of the differences; the two are one, unless a run's value is only known to lie between two readings."""
    seeds: tuple[int, ...]

    @property
    def exact(self) -> bool:
        return self.low is self.high


def rows_of(name: str, dataset: str, records: Sequence[Record]) -> list[ComparedRow]:
    """The rows that a claim means, on one dataset; a cell planned twice is there once.

    Rows that a suite skips are left out, unless there are no others.
    """
    here = [record for record in records if record.placed.dataset == dataset]
    chosen = {id(placed) for placed in matching_cells(name, [record.placed for record in here])}
    rows: dict[str, dict[int, Record]] = {}
    for record in here:
        if id(record.placed) in chosen:
            rows.setdefault(record.placed.row, {})[record.cell.seed] = record
    matching = [ComparedRow(row, dataset, runs) for row, runs in rows.items()]
    return [row for row in matching if any(record.status != "skipped" for record in row.runs.values())] or matching


def pairs(claim: Claim, dataset: str, records: Sequence[Record]) -> Iterator[tuple[ComparedRow, ComparedRow]]:
    """The rows to compare on one dataset: those that agree in every axis that both have and the claim does not name."""
    assert claim.right is not None
    for first in rows_of(claim.left, dataset, records):
        for second in rows_of(claim.right, dataset, records):
            one, other = (next(iter(row.runs.values())).placed for row in (first, second))
            named = {"seed", *named_axes(claim.left, one), *named_axes(claim.right, other)}
            free = (one.axes.keys() & other.axes.keys()) - named
            if first.name != second.name and all(one.axes[axis] == other.axes[axis] for axis in free):
                yield first, second


def compare(
    first: ComparedRow, second: ComparedRow, measure: Callable[[CellResult], tuple[float, float]], needed: str | None
) -> Compared:
    """First minus second over the seeds that both have.

    Args:
        measure: the least and the most that a run's value may be.
        needed: the metric that must be done in every run; None for the training alone.

    Raises:
        Missing: some run of either is not done or lacks the measure, or no seed is in both.
    """
    if left := first.left_out(needed) + second.left_out(needed):
        raise Missing(*left)
    seeds = tuple(sorted(first.runs.keys() & second.runs.keys()))
    if not seeds:
        raise Missing(f"{first.dataset}: {first.name} and {second.name} have no seed in common")
    values = [(_measured(first, seed, measure), _measured(second, seed, measure)) for seed in seeds]
    low = mean_interval([one[0] - other[1] for one, other in values])
    high = mean_interval([one[1] - other[0] for one, other in values])
    return Compared(first, second, low, low if low == high else high, seeds)


def metric(name: str) -> Callable[[CellResult], tuple[float, float]]:
    """A run's value."""

    def measure(result: CellResult) -> tuple[float, float]:
        if name not in result.metrics:
            raise Missing(f"{name} was not measured")
        return result.metrics[name], result.metrics[name]

    return measure


def time_to_share(claim: Claim) -> Callable[[CellResult], tuple[float, float]]:
    """When a run's curve first reached a share of its own last reading: between the reading before and that one."""

    def measure(result: CellResult) -> tuple[float, float]:
        names = _curves(claim, result)
        if any(not metric.higher_is_better for name in names if (metric := metric_of(result.cell, name))):
            raise Missing(f"less of {claim.metric} is better, so a share of its last reading says nothing")
        readings = [(point, value) for point in result.curves if (value := _reading(point, names)) is not None]
        if not readings:
            curve = "k-NN" if claim.metric == KNN else claim.metric
            raise Missing(f"its training curve has no {curve} (`monitors: {{knn5: {{probe: knn, k: 5}}}}`)")
        assert claim.share is not None
        target = claim.share / 100 * readings[-1][1]
        at = next(index for index, (_, value) in enumerate(readings) if value >= target)
        return (_time(readings[at - 1][0], claim, result) if at else 0.0), _time(readings[at][0], claim, result)

    return measure


def single_runs(compared: Compared, name: str) -> McNemar | None:
    """McNemar's test of two single runs; None where there are more, or their hits were not stored."""
    if len(compared.seeds) != 1:
        return None
    results = [row.runs[compared.seeds[0]].result for row in (compared.first, compared.second)]
    first, second = (None if result is None else result.hits(name) for result in results)
    if first is None or second is None or first.shape != second.shape:
        return None
    return mcnemar(first, second)


def hardware(row: ComparedRow) -> set[str]:
    """What its runs ran on."""
    made = [record.result.provenance for record in row.runs.values() if record.result is not None]
    return {f"{p.device}, {p.threads} threads, {p.host}" for p in made}


def _measured(row: ComparedRow, seed: int, measure: Callable[[CellResult], tuple[float, float]]) -> tuple[float, float]:
    result = row.runs[seed].result
    assert result is not None
    try:
        values = measure(result)
    except Missing as error:
        raise Missing(f"{row.dataset}, {row.name}, seed {seed}: {error}") from None
    if not np.isfinite(values).all():
        raise Missing(f"{row.dataset}, {row.name}, seed {seed}: its value is not finite")
    return values


def _curves(claim: Claim, result: CellResult) -> list[str]:
    """Names that the claim's curve may have in a run."""
    if claim.metric != KNN:
        return [claim.metric]
    return first_of((name, monitor) for name, monitor in result.cell.monitors.items() if monitor.probe == KNN)


def _reading(point: CurvePoint, names: Sequence[str]) -> float | None:
    return next((point.values[name] for name in names if name in point.values), None)


def _time(point: CurvePoint, claim: Claim, result: CellResult) -> float:
    if claim.unit == "epochs":
        return point.epoch
    if claim.unit == "views":
        training = result.cell.training
        return point.step * float(training.batch_size * training.all_views) if training else 0.0
    if point.seconds is None:
        raise Missing("its training curve has no seconds")
    return point.seconds
