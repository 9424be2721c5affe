"""Cells one after another in this process: the default engine, and the one to debug in.

Owns which cell is next and what is done about cells that another process holds. Running a command twice, or in two
processes at once, runs each cell once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from harness.data.datasets import DataMissing
from harness.engines.cell_run import Surroundings, keep, run_cell
from harness.store.provenance import is_stale
from harness.store.result import CurvePoint, Result
from harness.store.store import CellBusy
from harness.suite.cell import Cell
from harness.training.trainer import Interrupted
from methods.method import MethodEntry

State = Literal["done", "failed", "pruned", "interrupted", "missing data"]
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Task:
    """A cell to run, and what to call it on the way."""

    cell: Cell
    label: str
    give_up: Callable[[CurvePoint], bool] = keep
    """Whether a point of its curve makes going on a waste; see `run_cell`."""


@dataclass(frozen=True)
class Outcome:
    """How one cell ended in this command."""

    state: State
    result: Result | None = None
    message: str = ""


def run(
    tasks: Iterable[Task],
    methods: Mapping[str, MethodEntry],
    around: Surroundings,
    *,
    rerun_stale: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> dict[str, Outcome]:
    """Run what is not done; by cell id, how each cell ended.

    A cell that failed before this command began is tried once more. One that another process runs is waited for, last.
    After an interruption the remaining cells are `interrupted`.
    """
    if around.execution.threads is not None:
        torch.set_num_threads(around.execution.threads)
    queue = unique(tasks)
    before = {task.cell.id: replaceable(task.cell, around, rerun_stale) for task in queue}
    outcomes: dict[str, Outcome] = {}
    while queue:
        busy: list[Task] = []
        for task in queue:
            if around.should_stop():
                outcomes[task.cell.id] = Outcome("interrupted")
                continue
            try:
                outcome = settle_or_run(task, before[task.cell.id], methods[task.cell.method], around)
            except CellBusy:
                busy.append(task)
            else:
                outcomes[task.cell.id] = outcome
        if busy and len(busy) == len(queue):
            wait(POLL_SECONDS)
        queue = busy
    return outcomes


def unique(tasks: Iterable[Task]) -> list[Task]:
    """Each cell once, however many labels it has."""
    return list({task.cell.id: task for task in tasks}.values())


def replaceable(cell: Cell, around: Surroundings, rerun_stale: bool) -> Result | None:
    """The result from before this command that does not stand in its way: a failure or, with `rerun_stale`, one of
    older code. None where there is nothing of the kind. To be asked once, when the command begins."""
    result = around.store.result(cell.id)
    if result is None or result.status == "failed" or (rerun_stale and is_stale(result, around.code)):
        return result
    return None


def standing(cell: Cell, before: Result | None, around: Surroundings) -> Outcome | None:
    """The stored outcome that makes a run needless: neither one that was given up nor the replaceable one."""
    result = around.store.result(cell.id)
    if result is None or result.status == "pruned" or result == before:
        return None
    return Outcome(result.status, result)


def settle_or_run(task: Task, before: Result | None, entry: MethodEntry, around: Surroundings) -> Outcome:
    """The outcome that stands, else that of an attempt now.

    Raises:
        CellBusy: another process has the cell.
        StoreError: the store could not be written.
    """
    with around.store.lock(task.cell.id):
        outcome = standing(task.cell, before, around)
        if outcome is not None:
            around.watcher.settled(task.cell.id)
            return outcome
        return _attempt(task, entry, around)


def _attempt(task: Task, entry: MethodEntry, around: Surroundings) -> Outcome:
    around.watcher.started(task.cell.id, task.label)
    try:
        result = run_cell(task.cell, entry, around, task.give_up)
    except Interrupted:
        outcome = Outcome("interrupted", message="stopped at a checkpoint")
    except DataMissing as error:
        outcome = Outcome("missing data", message=str(error))
    else:
        outcome = Outcome(result.status, result)
    around.watcher.ended(task.cell.id, outcome.state, outcome.result)
    return outcome
