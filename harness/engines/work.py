"""The worker: one function that every engine calls, and the program around it for engines that start processes.

    python -m harness.engines.work JOB.json [--events FILE] [--stacks FILE]

does one job; with `-` in place of a file, one after another, a line of JSON on the standard input each. What happens is
told as lines of JSON, [EVENT, ARGUMENT, ...], on the standard output or in a file; what tasks print goes to the
standard error. SIGTERM, SIGINT and, with `-`, the end of the input stop it at a checkpoint. It exits with 0 if all is
done, 1 if something failed, 2 if it cannot work or the store cannot be written, 75 if another runner has a task, 130 if
it was stopped. Which task is next is decided elsewhere. No torch until a job begins.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, PrivateAttr

from harness.engines.job import Job
from harness.engines.task import Outcome, Task
from harness.progress import Watcher, first_line, result_text
from harness.store.atomic import StoreError
from harness.store.cell_result import read_cell
from harness.store.records import CurvePoint
from harness.store.store import Busy

if TYPE_CHECKING:
    from harness.engines.context import Context
    from methods.entry import MethodEntry

DONE, FAILED, CANNOT, ELSEWHERE, INTERRUPTED = 0, 1, 2, 75, 130
_EXIT_CODES = {"failed": FAILED, "missing data": FAILED, "running elsewhere": ELSEWHERE, "interrupted": INTERRUPTED}


def work(
    job: Job, methods: Mapping[str, MethodEntry], watcher: Watcher, should_stop: Callable[[], bool]
) -> Iterator[tuple[str, Outcome]]:
    """Do what is left of a job's tasks, one after another; as each ends, its id and how.

    What is left the store says when a task's turn comes. One that another process has is `running elsewhere` and not
    waited for; once asked to stop, the one under way stops at a checkpoint and the others are `interrupted`.

    Raises:
        StoreError: the store could not be written, which is no task's failure.
    """
    if job.execution.threads is not None and not should_stop():
        import torch

        torch.set_num_threads(job.execution.threads)
    context = job.context(watcher, should_stop)
    for task in job.tasks:
        stopped = should_stop()
        yield task.id, Outcome("interrupted") if stopped else _attempt(task, methods[task.pretraining.method], context)


def _attempt(task: Task, entry: MethodEntry, context: Context) -> Outcome:
    from harness.data.datasets import DataMissing
    from harness.engines.run_task import run_task, settled
    from harness.training.trainer import Interrupted

    try:
        with context.store.lock(task.id):
            outcome = settled(task, context)
            if outcome is not None:
                context.watcher.settled(task.id)
                return outcome
            context.watcher.started(task.id, task.label)
            outcome = run_task(_Watched.of(task, context.watcher), entry, context)
    except Busy:
        return Outcome("running elsewhere")
    except Interrupted:
        outcome = Outcome("interrupted", "stopped at a checkpoint")
    except DataMissing as error:
        outcome = Outcome("missing data", str(error))
    context.watcher.ended(task.id, outcome.state, _ending_text(task, outcome, context))
    return outcome


class _Watched(Task):
    """A task where it runs: every point of its curve is told before the rule decides by it."""

    _task: Task = PrivateAttr()
    _watcher: Watcher = PrivateAttr()

    @classmethod
    def of(cls, task: Task, watcher: Watcher) -> _Watched:
        watched = cls.model_construct(**dict(task))
        watched._task, watched._watcher = task, watcher
        return watched

    @property
    def give_up(self) -> Callable[[CurvePoint], bool]:
        decide = self._task.give_up

        def told(point: CurvePoint) -> bool:
            self._watcher.point(self.id, point)
            return decide(point)

        return told


def _ending_text(task: Task, outcome: Outcome, context: Context) -> str:
    """What there is to say of a task that has ended: its numbers, or why there are none."""
    if outcome.state not in ("done", "failed"):
        return f"{outcome.state}: {outcome.message}" if outcome.message else outcome.state
    results = [result for cell in task.cells if (result := read_cell(context.store, cell)) is not None]
    texts = list(dict.fromkeys(result_text(result, context.rule) for result in results))
    if outcome.state == "failed" and not any(result.failures for result in results):
        return f"FAILED {first_line(outcome.message)}"
    return "; ".join(texts)


# The program


class Events:
    """A watcher whose every call becomes a line of JSON. Nobody to read them is no error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, name: str, *arguments: Any) -> None:
        data = memoryview(json.dumps([name, *arguments], default=_plain).encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return

    def __getattr__(self, name: str) -> Callable[..., None]:
        return partial(self.tell, name)


def _plain(value: Any) -> Any:
    """A reading or a point as JSON has it."""
    return value.model_dump() if isinstance(value, BaseModel) else asdict(value)


class _Worker:
    """The program's life: its jobs, and the wish to stop."""

    def __init__(self, events: Events) -> None:
        self.events, self.stopped = events, False
        self._loaded: tuple[tuple[Path, ...], dict[str, MethodEntry]] | None = None
        self._jobs: SimpleQueue[bytes] = SimpleQueue()

    def stop(self, *_: object) -> None:
        """At a checkpoint, and take no other job. A signal's handler too."""
        self.stopped = True
        self._jobs.put(b"")

    def listen(self, descriptor: int) -> None:
        """Take lines until there will be no more, which is a wish to stop at once. Runs in a thread of its own."""
        unread = b""
        while data := os.read(descriptor, 1 << 16):
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                self._jobs.put(line)
        self.stop()

    def jobs(self) -> Iterator[Job]:
        """As they come."""
        while line := self._jobs.get():
            yield Job.model_validate_json(line)

    def do(self, job: Job) -> int:
        """Do one job and tell how each of its tasks ended; the exit code."""
        from harness.registry import ExtensionError

        code = DONE
        try:
            # one that is stopped before it begins needs no imports
            methods = {} if self.stopped else self._methods(job)
            for task_id, outcome in work(job, methods, cast(Watcher, self.events), lambda: self.stopped):
                self.events.tell("ending", task_id, outcome.state, outcome.message)
                code = max(code, _EXIT_CODES.get(outcome.state, DONE))
        except StoreError as error:
            self.events.tell("refused by the store", str(error))
            return CANNOT
        except (_OtherCode, ExtensionError) as error:
            self.events.tell("refused", str(error))
            return CANNOT
        return code

    def _methods(self, job: Job) -> dict[str, MethodEntry]:
        """Everything a job needs, imported once: what a process has loaded does not change later."""
        import torch

        from harness.registry import all_methods, use
        from harness.store.provenance import Code

        if self._loaded is None or self._loaded[0] != job.extensions:
            use(job.extensions)
            methods = all_methods()
            if dict(Code.read().digests) != dict(job.code.digests):
                raise _OtherCode(
                    "the code has changed since this command began: a new worker process would run the new one"
                )
            self._loaded = job.extensions, methods
        self.events.tell("ready", job.execution.device_name(), job.execution.threads or torch.get_num_threads())
        return self._loaded[1]


class _OtherCode(Exception):
    """A worker would run other code than the command that sent its job."""


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m harness.engines.work", description="Do a job of an engine.")
    parser.add_argument("job", help="a file with a job as JSON; `-`: jobs on the standard input, one a line")
    parser.add_argument("--events", type=Path, help="where events are appended; by default the standard output")
    parser.add_argument("--stacks", type=Path, help="where a crash, or the signal SIGUSR1, leaves Python's stacks")
    arguments = parser.parse_args()
    if arguments.events:
        told = os.open(arguments.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    else:
        told = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what tasks print is no event
    worker = _Worker(Events(told))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    with open(arguments.stacks or os.devnull, "w") as stacks:
        faulthandler.enable(stacks if arguments.stacks else sys.stderr)
        faulthandler.register(signal.SIGUSR1, stacks if arguments.stacks else sys.stderr)
        if arguments.job != "-":
            return worker.do(Job.model_validate_json(Path(arguments.job).read_bytes()))
        given = os.dup(sys.stdin.fileno())
        os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())  # a task that reads it finds nothing
        threading.Thread(target=worker.listen, args=(given,), name="jobs", daemon=True).start()
        code = max(map(worker.do, worker.jobs()), default=DONE)
        faulthandler.disable()
        faulthandler.unregister(signal.SIGUSR1)
        return code


if __name__ == "__main__":
    sys.exit(main())
