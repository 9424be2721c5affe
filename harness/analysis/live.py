"""What a suite's run looks like from its store alone: cells by state, where the running ones stand, what ended last.

Owns the numbers of `harness watch`; knows nothing of the processes that run cells, nor of a terminal. A cell whose
encoder is there and whose evaluations are to do waits or runs like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from harness.analysis.estimate import estimated_seconds
from harness.analysis.frame import DEFAULT_RULE, Record, gather, metrics_of
from harness.spec.collapse import CollapseRule
from harness.spec.metric import Metric
from harness.store.progress import RunProgress
from harness.store.records import Curve, Description, EvaluationRecord, PretrainingRecord
from harness.store.sealed import Sealed
from harness.store.store import CURVES, DESCRIPTION, RECORD, TRAINING_CURVE, Store
from harness.suite.facts import Facts
from harness.suite.planned import Expansion

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True)
class Running:
    """A cell that a live process holds."""

    name: str
    progress: RunProgress | None
    """None until it says something: it loads its data or its compiler works."""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """What its monitors measure, by the names that its curve has."""


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment."""

    title: str
    states: Mapping[str, int]
    """Cells by state, each cell once; `skipped` are combinations that cannot run."""
    running: tuple[Running, ...]
    failures: tuple[tuple[str, str], ...]
    """(cell, and the stage if it is not the training; kind and message), the latest first."""
    finished: tuple[tuple[str, Record], ...]
    """(cell, record) of what is done, the latest first."""
    views_per_second: float
    """Of all cells in training together."""
    seconds_left: float | None
    """Until nothing is left to run, with as many cells at once as now; None where nothing runs or has run."""
    unknown: int
    """Waiting cells that `seconds_left` leaves out, as nothing comparable has run."""

    @property
    def planned(self) -> int:
        """Cells that can run."""
        return sum(count for state, count in self.states.items() if state != "skipped")

    @property
    def open(self) -> int:
        """Cells that have not ended."""
        return sum(self.states.get(state, 0) for state in ("running", "interrupted", "pending"))


class CachedStore(Store):
    """A store whose records are read again only when their file has changed, for those who look every other second."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._seen: dict[Path, tuple[tuple[int, int], Sealed[Any]]] = {}

    def read_pretraining(self, id_: str) -> Sealed[PretrainingRecord]:
        return self._once(self.directory(id_) / RECORD, lambda: super(CachedStore, self).read_pretraining(id_))

    def read_description(self, id_: str) -> Sealed[Description]:
        return self._once(self.directory(id_) / DESCRIPTION, lambda: super(CachedStore, self).read_description(id_))

    def read_evaluation(self, id_: str, evaluation: str) -> Sealed[EvaluationRecord]:
        path = self._evaluation_path(id_, evaluation)
        return self._once(path, lambda: super(CachedStore, self).read_evaluation(id_, evaluation))

    def read_curve(self, id_: str, name: str = TRAINING_CURVE) -> Sealed[Curve]:
        path = self.directory(id_) / CURVES / f"{name}.json"
        return self._once(path, lambda: super(CachedStore, self).read_curve(id_, name))

    def _once(self, path: Path, read: Callable[[], Sealed[R]]) -> Sealed[R]:
        try:
            status = path.stat()
        except OSError:
            return read()
        mark = (status.st_mtime_ns, status.st_size)
        seen = self._seen.get(path)
        if seen is None or seen[0] != mark:
            seen = self._seen[path] = (mark, read())
        return cast("Sealed[R]", seen[1])


def look(title: str, expansion: Expansion, store: Store, facts: Facts, rule: CollapseRule = DEFAULT_RULE) -> Snapshot:
    """The run as the store shows it now. A failed cell that is being tried again is running.

    Args:
        facts: of the datasets, for how long training will take.
        rule: when a run counts as collapsed.
    """
    once = {record.placed.id: record for record in reversed(gather(expansion, store, rule=rule))}
    records = list(reversed(once.values()))
    states = _states(records, store)
    held: dict[str, Record] = {}  # by pretraining: cells that share one run as one
    for record in records:
        if states[record.placed.id] == "running":
            held.setdefault(record.cell.pretraining.id, record)
    running = tuple(Running(_name(r), store.read_progress(id_), _monitored(r)) for id_, r in held.items())
    ended = [r for r in sorted(records, key=_finished, reverse=True) if states[r.placed.id] in ("done", "failed")]
    waiting = [record for record in records if states[record.placed.id] in ("pending", "interrupted")]
    needed = estimated_seconds(waiting, store, facts)
    known = [seconds for seconds in needed.values() if seconds is not None]
    return Snapshot(
        title,
        Counter(states.values()),
        running,
        tuple(failure for record in ended for failure in _failures(record)),
        tuple((_name(record), record) for record in ended if states[record.placed.id] == "done"),
        sum(cell.progress.views_per_second for cell in running if cell.progress),
        _seconds_left(known, running),
        len(needed) - len(known),
    )


def _states(records: Sequence[Record], store: Store) -> dict[str, str]:
    """By cell. What has ended and is worked on again is running, unless it is another cell that its encoder is asked
    for."""
    states: dict[str, str] = {record.placed.id: record.status for record in records}
    others = {r.cell.pretraining.id for r in records if r.status == "running"}
    for record in records:
        id_ = record.cell.pretraining.id
        again = record.status in ("failed", "pruned") or (record.status == "done" and id_ not in others)
        if again and store.state(id_) == "running":
            states[record.placed.id] = "running"
    return states


def _failures(record: Record) -> list[tuple[str, str]]:
    failures = record.result.failures if record.result is not None else {}
    name = _name(record)
    return [
        (name if stage == "training" else f"{name}, {stage}", f"{failure.kind}: {failure.message}")
        for stage, failure in failures.items()
    ]


def _seconds_left(waiting: Sequence[float], running: Sequence[Running]) -> float | None:
    """What the running cells still need, and the waiting ones shared among as many."""
    said = [cell.progress.seconds_left for cell in running if cell.progress and cell.progress.seconds_left is not None]
    if not running or not (said or waiting):
        return None
    return max([(sum(said) + sum(waiting)) / len(running), *said])


def _finished(record: Record) -> str:
    """When its last stage ended."""
    if record.result is None:
        return ""
    answers = record.result.evaluations.values()
    return max(record.result.provenance.finished, *(answer.provenance.finished for answer in answers), "")


def _monitored(record: Record) -> dict[str, Metric]:
    monitors = record.cell.monitors.items()
    return {f"{name}_{metric.name}": metric for name, monitor in monitors for metric in metrics_of(monitor)}


def _name(record: Record) -> str:
    return f"{record.placed.row} on {record.placed.dataset}, seed {record.cell.seed}"
