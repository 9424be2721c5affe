"""Two sets of results beside each other: which cells are the same, and what changed in numbers, cost and code.

Owns the matching of cells. Cells of one id are the same. Of the others, a cell of A goes with the one of B that differs
from it in the fewest fields, if there is but one such and the reverse holds too: same method, dataset and seed always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.analysis.differences import flat
from harness.analysis.frame import text_of
from harness.analysis.layout import field_name
from harness.analysis.report.rows import hardware
from harness.analysis.statistics import Difference, paired_difference
from harness.store.result import Provenance, Result
from harness.suite.cell import Cell

Fields = Mapping[str, Any]
_ALWAYS_SAME = {"method", "seed", "dataset.name"}
_NO_LABEL = {"dataset.fingerprint", "schema_version"}
_SHORT = {"views": "d"}


@dataclass(frozen=True)
class Pair:
    """One cell in A and in B."""

    a: Result
    b: Result
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Field -> (in A, in B); empty where the cell is the same."""

    def value(self, metric: str) -> tuple[float, float] | None:
        """(in A, in B); None unless both are done and have it."""
        if self.a.status != "done" or self.b.status != "done":
            return None
        if metric not in self.a.metrics or metric not in self.b.metrics:
            return None
        return self.a.metrics[metric], self.b.metrics[metric]

    @property
    def same_hardware(self) -> bool:
        return hardware(self.a) == hardware(self.b)

    @property
    def trained(self) -> bool:
        """Whether both have a price: an untrained encoder has none, nor a run that failed."""
        return all(result.cost is not None and result.cost.views_seen > 0 for result in (self.a, self.b))


@dataclass(frozen=True)
class Row:
    """Pairs that differ by their seed alone."""

    name: str
    """The method and what differs among its cells, or the suite's name for it."""
    dataset: str
    pairs: tuple[Pair, ...]

    def values(self, metric: str) -> list[tuple[float, float]]:
        """(in A, in B) of every pair that has it."""
        return [value for pair in self.pairs if (value := pair.value(metric)) is not None]

    def difference(self, metric: str) -> Difference | None:
        """B minus A, seed by seed; None where no pair has it."""
        found = {pair.a.cell.seed: value for pair in self.pairs if (value := pair.value(metric)) is not None}
        return paired_difference({s: b for s, (_, b) in found.items()}, {s: a for s, (a, _) in found.items()})

    def fell(self, metric: str, points: float) -> bool | None:
        """Whether the metric fell by more than so many points, with its whole interval; None where one pair alone
        cannot tell. Falls that agree exactly have no interval, and no doubt either."""
        difference = self.difference(metric)
        if difference is None or difference.interval.n < 2:
            return None
        interval = difference.interval
        return (interval.mean if interval.high is None else interval.high) < -points

    @property
    def views_ratio(self) -> float | None:
        """Views seen, B over A; None where nothing was trained, or what a pair cost is not known."""
        sums = self._sums()
        return sums[1][0] / sums[0][0] if sums else None

    @property
    def speed_ratio(self) -> float | None:
        """Views per second of training, B over A; None unless every pair was timed on the same hardware."""
        sums = self._sums()
        if sums is None or not all(pair.same_hardware for pair in self.pairs):
            return None
        (views_a, seconds_a), (views_b, seconds_b) = sums
        return (views_b / seconds_b) / (views_a / seconds_a)

    def _sums(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """(views, seconds of training) of A and of B."""
        costs = [(pair.a.cost, pair.b.cost) for pair in self.pairs]
        known = [(a, b) for a, b in costs if a and b and a.views_seen and b.views_seen]
        if not known or len(known) < len(costs):
            return None
        a, b = zip(*known, strict=True)
        seconds = [sum(cost.train_seconds for cost in side) for side in (a, b)]
        views = [sum(cost.views_seen for cost in side) for side in (a, b)]
        return ((views[0], seconds[0]), (views[1], seconds[1])) if all(seconds) else None


@dataclass(frozen=True)
class Comparison:
    """A beside B."""

    rows: tuple[Row, ...]
    only_a: tuple[str, ...]
    """Cells, each as `row on dataset, seed N (id)`."""
    only_b: tuple[str, ...]

    @property
    def pairs(self) -> list[Pair]:
        return [pair for row in self.rows for pair in row.pairs]

    @property
    def metrics(self) -> list[str]:
        """Metrics that some pair has in both, the linear probe's first."""
        names = dict.fromkeys(name for pair in self.pairs for name in pair.a.metrics if pair.value(name))
        return sorted(names, key=lambda name: (name != "linear_top1", name))


def compare(a: Iterable[Result], b: Iterable[Result], names: Mapping[str, str] | None = None) -> Comparison:
    """Match and group two sets of results.

    Args:
        names: cell id -> the name of its row in a suite; cells of other ids are named by their method and what differs.
    """
    first, second = {r.id: r for r in a}, {r.id: r for r in b}
    pairs = [Pair(result, second[id_]) for id_, result in first.items() if id_ in second]
    left = [result for id_, result in first.items() if id_ not in second]
    right = [result for id_, result in second.items() if id_ not in first]
    pairs += _nearest(left, right)
    paired = {pair.a.id for pair in pairs} | {pair.b.id for pair in pairs}
    name = _Names(list(first.values()), list(second.values()), names or {})
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.a.cell.method, pair.a.cell.seed, pair.a.id)):
        groups.setdefault((name.of_pair(pair), pair.a.cell.dataset.name), []).append(pair)
    rows = [Row(row, dataset, tuple(members)) for (row, dataset), members in sorted(groups.items())]
    return Comparison(
        tuple(rows),
        tuple(name.of_cell(r.cell) for r in left if r.id not in paired),
        tuple(name.of_cell(r.cell) for r in right if r.id not in paired),
    )


def changes(pairs: Sequence[Pair]) -> dict[tuple[str, str, str], int]:
    """(field, value in A, value in B) -> how many pairs it separates."""
    found: dict[tuple[str, str, str], int] = {}
    for pair in pairs:
        for path, (before, after) in pair.changed.items():
            key = (path, text_of(before), text_of(after))
            found[key] = found.get(key, 0) + 1
    return found


def provenance_changes(pairs: Sequence[Pair]) -> list[tuple[str, list[str], list[str]]]:
    """What of code, libraries and machine differs between A and B: (fact, values in A, values in B), in words."""
    sides = [[_facts(pair.a.provenance, pair.a.cell) for pair in pairs], []]
    sides[1] = [_facts(pair.b.provenance, pair.b.cell) for pair in pairs]
    names = dict.fromkeys(name for side in sides for facts in side for name in facts)
    found = []
    for name in names:
        values = [sorted({facts[name] for facts in side if name in facts}) for side in sides]
        if values[0] != values[1]:
            found.append((name, values[0], values[1]))
    return found


def _facts(made: Provenance, cell: Cell) -> dict[str, str]:
    facts = {"commit": (made.commit or "none")[:12] + (" with changes" if made.dirty else "")}
    facts |= {"code of all methods": made.shared_digest[:12], f"code of {cell.method}": made.method_digest[:12]}
    facts |= {"device": made.device, "threads": str(made.threads), "host": made.host, "platform": made.platform}
    return facts | made.versions


def _nearest(left: Sequence[Result], right: Sequence[Result]) -> list[Pair]:
    """Pairs of different cells that are each other's only nearest."""
    groups: dict[tuple[Any, ...], tuple[list[Result], list[Result]]] = {}
    for side, results in enumerate((left, right)):
        for result in results:
            cell = result.cell
            groups.setdefault((cell.method, cell.dataset.name, cell.seed), ([], []))[side].append(result)
    pairs = []
    for ours, theirs in groups.values():
        apart = {(x.id, y.id): changed_fields(x.cell, y.cell) for x in ours for y in theirs}
        for x in ours:
            y = _only_nearest([(len(apart[x.id, y.id]), y) for y in theirs])
            if y is not None and _only_nearest([(len(apart[z.id, y.id]), z) for z in ours]) is x:
                pairs.append(Pair(x, y, apart[x.id, y.id]))
    return pairs


def _only_nearest(candidates: Sequence[tuple[int, Result]]) -> Result | None:
    least = min((distance for distance, _ in candidates), default=0)
    nearest = [result for distance, result in candidates if distance == least]
    return nearest[0] if len(nearest) == 1 else None


def changed_fields(a: Cell, b: Cell) -> dict[str, tuple[Any, Any]]:
    """Dotted path -> (value in a, value in b), where they differ; what one has not is None."""
    ours, theirs = flat(a.model_dump(mode="json")), flat(b.model_dump(mode="json"))
    paths = dict.fromkeys((*ours, *theirs))
    return {path: (ours.get(path), theirs.get(path)) for path in paths if ours.get(path) != theirs.get(path)}


class _Names:
    """What cells are called: by the suite, or by their method and the fields in which cells of one side and method
    differ, whatever separates A from B."""

    def __init__(self, a: Sequence[Result], b: Sequence[Result], given: Mapping[str, str]) -> None:
        self.given = given
        self.varying: dict[str, list[str]] = {}
        for side in (a, b):
            methods: dict[str, list[Fields]] = {}
            for result in side:
                methods.setdefault(result.cell.method, []).append(flat(result.cell.model_dump(mode="json")))
            for method, cells in methods.items():
                known = self.varying.setdefault(method, [])
                known += [path for path in _varying(cells) if path not in known]

    def of_pair(self, pair: Pair) -> str:
        """The suite's name, or `w_mse d=4 lr=0.1→0.2`."""
        known = self.given.get(pair.a.id) or self.given.get(pair.b.id)
        if known:
            return known
        fields = flat(pair.a.cell.model_dump(mode="json"))
        parts = []
        for path in self.varying[pair.a.cell.method]:
            before, after = pair.changed.get(path, (fields.get(path), fields.get(path)))
            value = text_of(before) if before == after else f"{text_of(before)}→{text_of(after)}"
            parts.append(f"{_short(path)}={value}")
        return " ".join([pair.a.cell.method, *parts])

    def of_cell(self, cell: Cell) -> str:
        """Row, dataset, seed and id."""
        fields = flat(cell.model_dump(mode="json"))
        parts = [f"{_short(path)}={text_of(fields.get(path))}" for path in self.varying[cell.method]]
        row = self.given.get(cell.id) or " ".join([cell.method, *parts])
        return f"{row} on {cell.dataset.name}, seed {cell.seed} ({cell.id})"


def _varying(cells: Sequence[Fields]) -> list[str]:
    paths = dict.fromkeys(path for cell in cells for path in cell if path not in _ALWAYS_SAME | _NO_LABEL)
    return [path for path in paths if len({text_of(cell.get(path)) for cell in cells}) > 1]


def _short(path: str) -> str:
    last = field_name(path)
    return _SHORT.get(last, last)
