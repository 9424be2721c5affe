"""The watcher that tells loggers, and passes everything on to the one that shows it. Owns what is told when.

Points come from the running task, answers from the store when the task has ended: wherever it ran, a logger hears the
same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.loggers import Logger, Run
from harness.registry import ExtensionError, all_loggers, named
from harness.suite.fields import suggestion

if TYPE_CHECKING:
    from harness.engines.task import Task
    from harness.progress import Reading, Watcher
    from harness.store.records import CurvePoint
    from harness.store.store import Store


def open_loggers(names: Iterable[str], directory: Path, suite: str) -> dict[str, Logger]:
    """Loggers by name.

    Raises:
        ExtensionError: there is none of a name, or it cannot begin.
    """
    known, opened = all_loggers(), {}
    for name in dict.fromkeys(names):
        if name not in known:
            raise ExtensionError(f"there is no logger `{name}`; {suggestion(name, known)}")
        build = named(known[name].build, f"the logger {name!r} says build =")
        try:
            opened[name] = build(directory, suite)
        except Exception as error:
            raise ExtensionError(f"the logger {name!r} cannot begin: {type(error).__name__}: {error}") from error
    return opened


@contextmanager
def telling(loggers: Mapping[str, Logger], watcher: Watcher, tasks: Iterable[Task], store: Store) -> Iterator[Watcher]:
    """The watcher to give to an engine; at the end the loggers are closed."""
    told = LoggingWatcher(loggers, watcher, tasks, store)
    try:
        yield told
    finally:
        told.tell("close")


class LoggingWatcher:
    """See `harness.progress.Watcher`."""

    def __init__(self, loggers: Mapping[str, Logger], watcher: Watcher, tasks: Iterable[Task], store: Store) -> None:
        self._loggers, self._watcher, self._store = dict(loggers), watcher, store
        self._tasks = {task.id: task for task in tasks}
        self._before: dict[str, dict[str, str | None]] = {}  # seals of the answers that a task began with

    def settled(self, task_id: str) -> None:
        self._watcher.settled(task_id)

    def started(self, task_id: str, label: str) -> None:
        self._watcher.started(task_id, label)
        self._before.setdefault(task_id, self._seals(task_id))
        self.tell("started", self._run(task_id))

    def training(self, task_id: str, reading: Reading) -> None:
        self._watcher.training(task_id, reading)

    def point(self, task_id: str, point: CurvePoint) -> None:
        self._watcher.point(task_id, point)
        self.tell("point", self._run(task_id), point)

    def stage(self, task_id: str, what: str) -> None:
        self._watcher.stage(task_id, what)

    def ended(self, task_id: str, outcome: str, text: str) -> None:
        self._watcher.ended(task_id, outcome, text)
        task, run, before = self._tasks[task_id], self._run(task_id), self._before.pop(task_id, {})
        for evaluation in task.evaluations:
            answer = self._store.read_evaluation(task_id, evaluation.id)
            if answer.record is not None and answer.seal != before.get(evaluation.id):
                self.tell("answered", run, task.name_of(evaluation), answer.record)
        self.tell("ended", run, outcome, text)

    def note(self, text: str) -> None:
        self._watcher.note(text)

    def tell(self, what: str, *said: Any) -> None:
        """Call a method of every logger. One that raises is told no more."""
        for name, logger in list(self._loggers.items()):
            try:
                getattr(logger, what)(*said)
            except Exception as error:
                del self._loggers[name]
                self.note(f"the logger {name} failed and is told no more: {type(error).__name__}: {error}")

    def _run(self, task_id: str) -> Run:
        task = self._tasks[task_id]
        return Run(task_id, task.label, task.pretraining.model_dump(mode="json"))

    def _seals(self, task_id: str) -> dict[str, str | None]:
        return {e.id: self._store.read_evaluation(task_id, e.id).seal for e in self._tasks[task_id].evaluations}
