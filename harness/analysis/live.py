"""What a suite's run looks like from its store alone: cells by state, where the running ones stand, what ended last.

Owns the numbers of `harness watch`; knows nothing of the processes that run cells, nor of a terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.estimate import Estimator
from harness.analysis.frame import Record, gather
from harness.data.datasets import dataset_info
from harness.store.progress import RunProgress
from harness.store.result import Result
from harness.store.store import Store
from harness.suite.catalogue import pretrain_images
from harness.suite.cell import Cell
from harness.suite.planned import Expansion


@dataclass(frozen=True)
class Running:
    """A cell that a live process holds."""

    name: str
    progress: RunProgress | None
    """None until it says something: it loads its data or its compiler works."""


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment."""

    title: str
    states: Mapping[str, int]
    """Cells by state, each cell once; `skipped` are combinations that cannot run."""
    running: tuple[Running, ...]
    failures: tuple[tuple[str, str], ...]
    """(cell, kind and message), the latest first."""
    finished: tuple[tuple[str, Result], ...]
    """(cell, result) of what is done, the latest first."""
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
    """A store whose results are read again only when their file has changed, for those who look every other second."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._seen: dict[str, tuple[tuple[int, int], tuple[Result | None, str | None]]] = {}

    def _read(self, cell_id: str) -> tuple[Result | None, str | None]:
        try:
            status = (self.directory(cell_id) / "result.json").stat()
        except OSError:
            return super()._read(cell_id)
        mark = (status.st_mtime_ns, status.st_size)
        seen = self._seen.get(cell_id)
        if seen is None or seen[0] != mark:
            seen = self._seen[cell_id] = (mark, super()._read(cell_id))
        return seen[1]


def look(title: str, expansion: Expansion, store: Store) -> Snapshot:
    """The run as the store shows it now. A failed cell that is being tried again is running."""
    once = {record.placed.id: record for record in reversed(gather(expansion, store))}
    records = list(reversed(once.values()))
    states = {cell_id: _state(record, store) for cell_id, record in once.items()}
    running = tuple(
        Running(_name(record), store.read_progress(record.placed.id))
        for record in records
        if states[record.placed.id] == "running"
    )
    ended = [
        (_name(record), record.result)
        for record in sorted(records, key=_finished, reverse=True)
        if record.result is not None and states[record.placed.id] != "running"
    ]
    waiting = [r.cell for r in records if states[r.placed.id] in ("pending", "interrupted")]
    estimator = Estimator.of(store.results())
    needed = [estimator.seconds(cell, training_images(cell)) for cell in waiting]
    known = [seconds for seconds in needed if seconds is not None]
    return Snapshot(
        title,
        Counter(states.values()),
        running,
        tuple((name, f"{r.failure.kind}: {r.failure.message}") for name, r in ended if r.failure),
        tuple((name, result) for name, result in ended if result.status == "done"),
        sum(cell.progress.views_per_second for cell in running if cell.progress),
        _seconds_left(known, running),
        len(needed) - len(known),
    )


def training_images(cell: Cell) -> int | None:
    """How many images the cell trains on, from what is known of its dataset."""
    spec = cell.dataset
    return spec.train_images or pretrain_images(dataset_info(spec.name), spec.validation_fraction)


def _state(record: Record, store: Store) -> str:
    if record.status in ("done", "failed", "pruned") and store.state(record.placed.id) == "running":
        return "running"
    return record.status


def _seconds_left(waiting: Sequence[float], running: Sequence[Running]) -> float | None:
    """What the running cells still need, and the waiting ones shared among as many."""
    said = [cell.progress.seconds_left for cell in running if cell.progress and cell.progress.seconds_left is not None]
    if not running or not (said or waiting):
        return None
    return max([(sum(said) + sum(waiting)) / len(running), *said])


def _finished(record: Record) -> str:
    return record.result.provenance.finished if record.result is not None else ""


def _name(record: Record) -> str:
    return f"{record.placed.row} on {record.placed.dataset}, seed {record.cell.seed}"
