"""The statistics of a table's entries: which are best, how each differs from the baseline, and what images say of it.

Owns the family that Holm's correction is over. The arithmetic is that of `statistics` and `bootstrap`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.bootstrap import Hits, Resampled, bootstrap_accuracy, bootstrap_difference
from harness.analysis.entries import Entry
from harness.analysis.layout import Key
from harness.analysis.statistics import Difference, McNemar, holm, mcnemar, paired_difference
from harness.spec.identity import identity_of
from harness.store.cell_result import CellResult
from harness.store.costs import COSTS

Place = tuple[Key, Key, str]
"""Row, column and measure."""


@dataclass(frozen=True)
class Line:
    """The statistics of one entry."""

    place: Place
    entry: Entry
    baseline: str | None = None
    difference: Difference | None = None
    """To the baseline's entry in this column; None for itself, and where either is incomplete."""
    p: float | None = None
    """Of the difference, corrected over all that are tested in this table; None for few pairs."""
    resampled: Resampled | None = None
    """Of the difference where there is a baseline, else of the accuracy; None without stored hits or for one seed."""
    single: McNemar | None = None
    """Of two single runs."""


def mark_best(entries: Mapping[Place, Entry], controls: Collection[str] = ()) -> dict[Place, Entry]:
    """The entries, those marked as best that in their column are best or not told apart from it by their intervals.

    None is marked in a column where the best is a single run, or where all would be. Costs, controls (methods) and
    rows that collapsed in every run are left out.
    """
    columns: dict[tuple[Key, str], list[Place]] = {}
    for (row, column, measure), entry in entries.items():
        if measure not in COSTS and entry.complete and not _left_out(entry, controls):
            columns.setdefault((column, measure), []).append((row, column, measure))
    best = {place for places in columns.values() for place in _best(entries, places)}
    return {place: replace(entry, best=place in best) for place, entry in entries.items()}


def lines(entries: Mapping[Place, Entry], baseline: tuple[str, Key] | None) -> tuple[Line, ...]:
    """Of every entry that is not a cost and that the suite plans.

    Args:
        baseline: its name and its row.
    """
    compared = []
    for (row, column, measure), entry in entries.items():
        if measure in COSTS or not entry.records:
            continue
        line = Line((row, column, measure), entry)
        if baseline is None:
            compared.append(replace(line, resampled=_resampled(entry)))
        elif row == baseline[1]:
            compared.append(replace(line, baseline=baseline[0]))
        else:
            compared.append(_compared(line, baseline[0], entries[baseline[1], column, measure]))
    tested = [index for index, line in enumerate(compared) if line.difference and line.difference.p is not None]
    adjusted = holm([difference.p or 0.0 for index in tested if (difference := compared[index].difference) is not None])
    for index, p in zip(tested, adjusted, strict=True):
        compared[index] = replace(compared[index], p=p)
    return tuple(compared)


def _left_out(entry: Entry, controls: Collection[str]) -> bool:
    control = any(record.cell.method in controls for record in entry.records)
    return control or all(record.collapsed for record in entry.records)


def _best(entries: Mapping[Place, Entry], places: Sequence[Place]) -> list[Place]:
    top = max(places, key=lambda place: entries[place].metric.sign * (entries[place].mean or 0.0))
    if len(entries[top].values) < 2:
        return []
    shared = []
    for place in places:
        difference = paired_difference(entries[top].by_seed, entries[place].by_seed)
        if place == top or difference is None or not difference.interval.excludes(0.0):
            shared.append(place)
    return shared if len(shared) < len(places) else []


def _compared(line: Line, name: str, base: Entry) -> Line:
    entry = line.entry
    difference = paired_difference(entry.by_seed, base.by_seed) if entry.complete and base.complete else None
    if difference is None:
        return replace(line, baseline=name)
    pair = [_hits(one, difference.seeds) for one in (entry, base)]
    resampled = single = None
    if pair[0] is not None and pair[1] is not None and _same_images(entry, base):
        if len(difference.seeds) == 1:
            single = mcnemar(pair[0][0], pair[1][0])
        else:
            resampled = bootstrap_difference(pair[0], pair[1])
    return replace(line, baseline=name, difference=difference, resampled=resampled, single=single)


def _resampled(entry: Entry) -> Resampled | None:
    hits = _hits(entry, sorted(entry.by_seed)) if entry.complete and len(entry.values) > 1 else None
    return None if hits is None else bootstrap_accuracy(hits)


def _hits(entry: Entry, seeds: Sequence[int]) -> Hits | None:
    """(seeds, images); None where they were not stored for all, or not on the same images."""
    results = {record.cell.seed: record.result for record in entry.records}
    asked = [result for seed in seeds if (result := results[seed]) is not None]
    if len(asked) < len(seeds) or len({_images(result, entry.measure) for result in asked}) != 1:
        return None
    hits = [hits for result in asked if (hits := result.hits(entry.measure)) is not None]
    return np.stack(hits) if len(hits) == len(seeds) else None


def _same_images(first: Entry, second: Entry) -> bool:
    results = [(r.result, entry.measure) for entry in (first, second) for r in entry.records if r.result is not None]
    return len({_images(result, measure) for result, measure in results}) == 1


def _images(result: CellResult, metric: str) -> str | None:
    """Which images a metric was scored on; None where it was not."""
    answer = result.evaluation_of(metric)
    if answer is None:
        return None
    record, _ = answer
    return json.dumps([identity_of(record.spec.scored), record.spec.split, record.images], sort_keys=True)
