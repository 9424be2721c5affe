"""Two sets of results beside each other: which cells are the same, and what changed in numbers, cost and code.

Owns the matching of cells. Pretrainings of one id are the same. Of the others, one of A goes with the one of B that
differs from it in the fewest fields, if there is but one such and the reverse holds too: same method, dataset and seed
always. Their evaluations are compared by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.analysis.frame import first_of, text_of
from harness.analysis.layout import field_name
from harness.analysis.row_results import hardware
from harness.analysis.statistics import Difference, paired_difference
from harness.analysis.stored import StoredRun, cell_fields, changed_fields, names_by_probe, pretraining_fields
from harness.spec.metric import Metric
from harness.spec.models import Evaluation
from harness.store.cell_result import CellResult
from harness.suite.metrics import DEFAULT_METRIC

Fields = Mapping[str, Any]
_ALWAYS_SAME = {"method", "seed", "dataset.name"}
_NO_LABEL = {"dataset.pretraining_images", "dataset.pretraining_labels"}
_SHORT = {"views": "d"}


@dataclass(frozen=True)
class Pair:
    """One cell in A and in B."""

    a: CellResult
    b: CellResult
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Field -> (in A, in B); empty where the cell is the same."""

    def value(self, metric: str) -> tuple[float, float] | None:
        """(in A, in B); None unless both have it."""
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
class RowPair:
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
        values = {pair.a.cell.seed: value for pair in self.pairs if (value := pair.value(metric)) is not None}
        return paired_difference({s: b for s, (_, b) in values.items()}, {s: a for s, (a, _) in values.items()})

    def metric(self, name: str) -> Metric:
        """Title, unit and direction, as stored."""
        return next(p.b.measured[name] for p in self.pairs if name in p.b.measured)

    def fell(self, metric: str, amount: float) -> bool | None:
        """Whether the metric got worse by more than so much (points, or its unit), with its whole interval; None where
        one pair alone cannot tell. Falls that agree exactly have no interval, and no doubt either."""
        difference = self.difference(metric)
        if difference is None or difference.interval.n < 2:
            return None
        interval, higher = difference.interval, self.metric(metric).higher_is_better
        edge = interval.high if higher else interval.low
        change = interval.mean if edge is None else edge
        return (change if higher else -change) < -amount

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

    rows: tuple[RowPair, ...]
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
        return sorted(names, key=lambda name: (name != DEFAULT_METRIC, name))

    @property
    def first_metrics(self) -> list[str]:
        """Of these, the first of each evaluation."""
        first = {name for pair in self.pairs for name in first_of(pair.a.cell.evaluations.items())}
        return [name for name in self.metrics if name in first]

    @property
    def measured(self) -> dict[str, Metric]:
        """Titles, units and directions of all metrics, as stored."""
        return {name: metric for pair in self.pairs for name, metric in (pair.a.measured | pair.b.measured).items()}


def compare(a: Iterable[StoredRun], b: Iterable[StoredRun]) -> Comparison:
    """Match and group two sets of results: runs of a suite by its names, others by their method and what differs, and
    their evaluations by their probes."""
    first, second = {run.key: run for run in a}, {run.key: run for run in b}
    matched = [(run, second[key]) for key, run in first.items() if key in second]
    left = [run for key, run in first.items() if key not in second]
    right = [run for key, run in second.items() if key not in first]
    matched += _nearest(left, right)
    paired = {id(run) for both in matched for run in both}
    name = _Names(list(first.values()), list(second.values()))
    groups: dict[tuple[str, str], list[Pair]] = {}
    for ours, theirs in sorted(matched, key=lambda both: (both[0].record.spec.method, both[0].seed, both[0].id)):
        pair = _pair(ours, theirs)
        groups.setdefault((ours.row or theirs.row or name.of_pair(pair), ours.dataset), []).append(pair)
    rows = [RowPair(row, dataset, tuple(members)) for (row, dataset), members in sorted(groups.items())]
    alone = [tuple(name.of_run(run) for run in side if id(run) not in paired) for side in (left, right)]
    return Comparison(tuple(rows), *alone)


def changes(pairs: Sequence[Pair]) -> dict[tuple[str, str, str], int]:
    """(field, value in A, value in B) -> how many pairs it separates."""
    counts: dict[tuple[str, str, str], int] = {}
    for pair in pairs:
        for path, (before, after) in pair.changed.items():
            key = (path, text_of(before), text_of(after))
            counts[key] = counts.get(key, 0) + 1
    return counts


def provenance_changes(pairs: Sequence[Pair]) -> list[tuple[str, list[str], list[str]]]:
    """What of code, libraries and machine differs between A and B: (fact, values in A, values in B), in words."""
    sides: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for pair in pairs:
        for result, facts in zip((pair.a, pair.b), sides, strict=True):
            for name, value in _facts(result):
                facts.setdefault(name, set()).add(value)
    names = dict.fromkeys((*sides[0], *sides[1]))
    changes = [(name, sorted(sides[0].get(name, ())), sorted(sides[1].get(name, ()))) for name in names]
    return [(name, before, after) for name, before, after in changes if before != after]


def _facts(result: CellResult) -> list[tuple[str, str]]:
    """Commit, code of every part, and the machine and libraries of the training."""
    made = result.provenance
    others = [answer.provenance for answer in result.evaluations.values()]
    others += [result.description.provenance] if result.description else []
    facts = [
        ("commit", (one.commit or "none")[:12] + (" with changes" if one.dirty else "")) for one in (made, *others)
    ]
    facts += [(f"code of {part}", digest[:12]) for one in (made, *others) for part, digest in one.code.items()]
    facts += [("device", made.device), ("threads", str(made.threads)), ("host", made.host), ("platform", made.platform)]
    return [*facts, *made.versions.items()]


def _pair(ours: StoredRun, theirs: StoredRun) -> Pair:
    by_probe = names_by_probe(ours.evaluations, theirs.evaluations)
    a, b = ours.named(ours.names or by_probe), theirs.named(theirs.names or by_probe)
    common = a.cell.evaluations.keys() & b.cell.evaluations.keys()  # what one side alone was asked is no change

    def fields(result: CellResult) -> Fields:
        asked: dict[str, Evaluation] = {name: q for name, q in result.cell.evaluations.items() if name in common}
        return cell_fields(result.cell.model_copy(update={"evaluations": asked}))

    return Pair(a, b, changed_fields(fields(a), fields(b)))


def _nearest(left: Sequence[StoredRun], right: Sequence[StoredRun]) -> list[tuple[StoredRun, StoredRun]]:
    """Pairs of different pretrainings that are each other's only nearest."""
    groups: dict[tuple[str, str, int], tuple[list[StoredRun], list[StoredRun]]] = {}
    for side, runs in enumerate((left, right)):
        for run in runs:
            groups.setdefault((run.record.spec.method, run.dataset, run.seed), ([], []))[side].append(run)
    pairs = []
    for ours, theirs in groups.values():
        fields = {run.id: pretraining_fields(run.record.spec) for run in (*ours, *theirs)}
        distance = {(x.key, y.key): len(changed_fields(fields[x.id], fields[y.id])) for x in ours for y in theirs}
        for x in ours:
            y = _only_nearest([(distance[x.key, y.key], y) for y in theirs])
            if y is not None and _only_nearest([(distance[z.key, y.key], z) for z in ours]) is x:
                pairs.append((x, y))
    return pairs


def _only_nearest(candidates: Sequence[tuple[int, StoredRun]]) -> StoredRun | None:
    least = min((distance for distance, _ in candidates), default=0)
    nearest = [run for distance, run in candidates if distance == least]
    return nearest[0] if len(nearest) == 1 else None


class _Names:
    """What cells are called without a suite: by their method and the fields in which pretrainings of one side and of
    that method differ, whatever separates A from B."""

    def __init__(self, a: Sequence[StoredRun], b: Sequence[StoredRun]) -> None:
        self.varying: dict[str, list[str]] = {}
        for side in (a, b):
            methods: dict[str, list[Fields]] = {}
            for run in side:
                methods.setdefault(run.record.spec.method, []).append(pretraining_fields(run.record.spec))
            for method, cells in methods.items():
                known = self.varying.setdefault(method, [])
                known += [path for path in _varying(cells) if path not in known]

    def of_pair(self, pair: Pair) -> str:
        """`w_mse d=4 lr=0.1→0.2`."""
        fields = pretraining_fields(pair.a.cell.pretraining)
        parts = []
        for path in self.varying[pair.a.cell.method]:
            before, after = pair.changed.get(path, (fields.get(path), fields.get(path)))
            value = text_of(before) if before == after else f"{text_of(before)}→{text_of(after)}"
            parts.append(f"{_short(path)}={value}")
        return " ".join([pair.a.cell.method, *parts])

    def of_run(self, run: StoredRun) -> str:
        """RowPair, dataset, seed and id."""
        spec = run.record.spec
        fields = pretraining_fields(spec)
        parts = [f"{_short(path)}={text_of(fields.get(path))}" for path in self.varying[spec.method]]
        row = run.row or " ".join([spec.method, *parts])
        return f"{row} on {run.dataset}, seed {run.seed} ({run.id})"


def _varying(cells: Sequence[Fields]) -> list[str]:
    paths = dict.fromkeys(path for cell in cells for path in cell if path not in _ALWAYS_SAME | _NO_LABEL)
    return [path for path in paths if len({text_of(cell.get(path)) for cell in cells}) > 1]


def _short(path: str) -> str:
    last = field_name(path)
    return _SHORT.get(last, last)
