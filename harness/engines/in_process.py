"""Tasks one after another in this process: the default engine, and the one to debug in.

Owns which task is next and what is done about those that another process holds. Running a command twice, or in two
processes at once, does each piece of work once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace as changed

import torch

from harness.data.datasets import DataMissing
from harness.engines.context import Context
from harness.engines.run_task import left_to_do, run_task, stored_outcome
from harness.engines.task import Outcome, Task
from harness.progress import first_line, result_text
from harness.store.cell_result import read_cell
from harness.store.records import CurvePoint
from harness.store.stages import replaceable
from harness.store.store import Busy
from harness.training.trainer import Interrupted
from methods.entry import MethodEntry

POLL_SECONDS = 1.0


def run(
    tasks: Iterable[Task],
    methods: Mapping[str, MethodEntry],
    context: Context,
    *,
    rerun_stale: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> dict[str, Outcome]:
    """Do what is not done; by pretraining id, how each task ended.

    A stage that failed before this command began is tried once more. A task that another process works on is waited
    for, last. After an interruption the remaining tasks are `interrupted`.
    """
    if context.execution.threads is not None:
        torch.set_num_threads(context.execution.threads)
    queue = list({task.id: task for task in tasks}.values())
    replace = {task.id: replaceable_seals(task, context, rerun_stale) for task in queue}
    outcomes: dict[str, Outcome] = {}
    while queue:
        busy: list[Task] = []
        for task in queue:
            if context.should_stop():
                outcomes[task.id] = Outcome("interrupted")
                continue
            try:
                outcomes[task.id] = settle_or_attempt(task, replace[task.id], methods[task.pretraining.method], context)
            except Busy:
                busy.append(task)
        if busy and len(busy) == len(queue):
            wait(POLL_SECONDS)
        queue = busy
    return outcomes


def replaceable_seals(task: Task, context: Context, rerun_stale: bool) -> frozenset[str]:
    """Seals of a task's records that do not stand. To be asked once, when the command begins."""
    return replaceable(context.store, task.pretraining, task.evaluations, context.code, rerun_stale)


def settled(task: Task, replace: frozenset[str], context: Context) -> Outcome | None:
    """How a task has ended already, if nothing of it is left to do; None if something is."""
    return stored_outcome(task, context) if left_to_do(task, context, replace).nothing else None


def settle_or_attempt(task: Task, replace: frozenset[str], entry: MethodEntry, context: Context) -> Outcome:
    """The outcome that stands, else that of an attempt now.

    Raises:
        Busy: another process works on it.
        StoreError: the store could not be written.
    """
    with context.store.lock(task.id):
        outcome = settled(task, replace, context)
        if outcome is not None:
            context.watcher.settled(task.id)
            return outcome
        return _attempt(task, replace, entry, context)


def _attempt(task: Task, replace: frozenset[str], entry: MethodEntry, context: Context) -> Outcome:
    context.watcher.started(task.id, task.label)

    def give_up(point: CurvePoint) -> bool:
        context.watcher.point(task.id, point)
        return task.give_up(point)

    try:
        outcome = run_task(changed(task, give_up=give_up), entry, context, replace)
    except Interrupted:
        outcome = Outcome("interrupted", "stopped at a checkpoint")
    except DataMissing as error:
        outcome = Outcome("missing data", str(error))
    context.watcher.ended(task.id, outcome.state, ending_text(task, outcome, context))
    return outcome


def ending_text(task: Task, outcome: Outcome, context: Context) -> str:
    """What there is to say of a task that has ended: its numbers, or why there are none."""
    if outcome.state not in ("done", "failed"):
        return f"{outcome.state}: {outcome.message}" if outcome.message else outcome.state
    results = [result for cell in task.cells if (result := read_cell(context.store, cell)) is not None]
    texts = list(dict.fromkeys(result_text(result, context.rule) for result in results))
    if outcome.state == "failed" and not any(result.failures for result in results):
        return f"FAILED {first_line(outcome.message)}"
    return "; ".join(texts)
