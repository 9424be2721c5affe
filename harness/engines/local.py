"""Jobs in several processes of this machine, one a slot: each slot has its own device or its share of the threads.

Owns which slot has which job, and that no process is left behind; a slot's process is `worker_slot`'s, what each has of
the machine `shares`'.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from harness.engines.execution import Execution
from harness.engines.job import Job
from harness.engines.shares import shares
from harness.engines.worker_slot import LocalJob, WorkerSlot
from harness.progress import Watcher
from harness.store.atomic import explained


class LocalProcesses:
    """See `harness.engines.engine.Engine`."""

    def __init__(
        self,
        workers: int,
        execution: Execution,
        watcher: Watcher,
        should_stop: Callable[[], bool],
        hung_after_seconds: float,
    ) -> None:
        """
        Args:
            hung_after_seconds: without a step or another event, until a worker with a task is killed.
        """
        self.watcher, self.should_stop, self.hung_after_seconds = watcher, should_stop, hung_after_seconds
        self.failed_starts = 0
        try:
            self._stacks = tempfile.TemporaryDirectory(prefix="harness-workers-")
        except OSError as error:
            folder = Path(tempfile.gettempdir())
            raise explained(error, f"cannot make a directory in {folder}", folder) from error
        self._slots = [
            WorkerSlot(self, f"{number} of {workers}", share, Path(self._stacks.name) / f"{number}.txt")
            for number, share in enumerate(shares(workers, execution), start=1)
        ]

    @property
    def width(self) -> int:
        return len(self._slots)

    def submit(self, job: Job) -> LocalJob:
        free = [slot for slot in self._slots if slot.job is None]
        slot = min(free, key=lambda slot: slot.process is None)  # one whose worker is there
        slot.job = LocalJob(job, slot)
        return slot.job

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill = kind is not None and not issubclass(kind, Exception)
        try:
            for slot in self._slots:
                slot.close()
            for slot in self._slots:
                slot.wait(0.0 if kill else self.hung_after_seconds)
        finally:  # after a Ctrl-C in here too
            for slot in self._slots:
                slot.wait(0.0)
            self._stacks.cleanup()
