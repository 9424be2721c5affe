"""The contract of every place where work runs, and the loop that has a plan's tasks run in one. Owns which task is next
and what is done about those that another process holds. Runs nothing itself.

Running a command twice, or in two processes at once, does each piece of work once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from harness.engines.job import Job
from harness.engines.task import Outcome, Task
from harness.progress import Watcher

if TYPE_CHECKING:
    from methods.entry import MethodEntry

TICK_SECONDS = 0.05  # at most so late is it noticed that a job has ended
POLL_SECONDS = 1.0  # until a task that another process has is tried again


class WorkersLost(RuntimeError):
    """No worker can be started any more."""


class Handle(Protocol):
    """A job on its way."""

    def poll(self) -> Mapping[str, Outcome] | None:
        """How each of its tasks has ended, by pretraining id; None while one has not. An inline job runs in here.

        Raises:
            StoreError: the store could not be written, which is no task's failure.
            WorkersLost: no worker can be started for it.
        """

    def stop(self) -> None:
        """Stop at a checkpoint; what is not done becomes `interrupted`."""


class Engine(Protocol):
    """A place where jobs run, for the length of a `with` block: left by an error it stops all of them at checkpoints,
    left by a second Ctrl-C it kills them. It is made with a watcher, which is told of everything in the thread that
    polls, and with `should_stop`, which stops every job."""

    @property
    def width(self) -> int:
        """Jobs at once. Whoever submits keeps no more than that on their way, and polls each of them."""

    def submit(self, job: Job) -> Handle: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_engine(
    workers: int | None,
    job: Job,
    methods: Mapping[str, MethodEntry],
    watcher: Watcher,
    should_stop: Callable[[], bool],
    hung_after_seconds: float,
) -> Engine:
    """The engine of a command: so many processes, or with None this one."""
    from harness.engines.inline import Inline
    from harness.engines.local import LocalProcesses

    if workers is None:
        return Inline(methods, watcher, should_stop)
    return LocalProcesses(workers, job.execution, watcher, should_stop, hung_after_seconds)


def run(
    engine: Engine,
    job: Job,
    watcher: Watcher,
    *,
    rerun_stale: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Outcome]:
    """Have the tasks of a command's job run, each as a job of its own; by pretraining id, how it ended.

    What is done stands and needs no worker. A stage that failed before this command began is tried once more. A task
    that another process works on is waited for, last.

    Raises:
        StoreError, WorkersLost: see `Handle.poll`.
    """
    from harness.engines.run_task import settled

    context = job.context(watcher)
    tasks = {task.id: task for task in job.tasks}.values()
    waiting = [task.again(context.store, job.code, rerun_stale=rerun_stale) for task in tasks]
    not_before: dict[str, float] = {}
    running: dict[str, tuple[Task, Handle]] = {}
    outcomes: dict[str, Outcome] = {}
    while waiting or running:
        idle = True
        due = [task for task in waiting if not_before.get(task.id, 0.0) <= time.monotonic()]
        for task in due:
            if len(running) == engine.width:
                break
            idle = False
            waiting.remove(task)
            outcome = settled(task, context)
            if outcome is None:
                running[task.id] = task, engine.submit(job.of(task))
            else:
                watcher.settled(task.id)
                outcomes[task.id] = outcome
        for task, handle in list(running.values()):
            endings = handle.poll()
            if endings is None:
                continue
            idle = False
            del running[task.id]
            if endings[task.id].state == "running elsewhere":
                not_before[task.id] = time.monotonic() + POLL_SECONDS
                waiting.append(task)
            else:
                outcomes[task.id] = endings[task.id]
        if idle:
            sleep(TICK_SECONDS)
    return outcomes
