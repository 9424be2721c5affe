"""The slots of the local-process engine and the process in each, as their parent sees them.

Owns how devices and threads are dealt out, how a process is started, what it runs now, and what its death is called.
Never decides which task is next.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import torch

from harness.engines.context import Context
from harness.engines.execution import Execution
from harness.engines.local_worker import Answer, Job, Message, Ready, Setup, serve
from harness.engines.task import Outcome, Task, never
from harness.store.provenance import collect, utc_now
from harness.store.records import CurvePoint, Failure, Provenance

CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP}
KEPT = "the same command goes on from its last checkpoint, if it had one"


@dataclass(frozen=True)
class Slot:
    """Room for one worker process."""

    number: int
    execution: Execution
    environment: Mapping[str, str]
    """On top of the parent's, before any library reads it."""


def slots(workers: int, execution: Execution) -> list[Slot]:
    """One slot a worker. Unless the command names one device, the visible CUDA devices go round; unless it names a
    number of threads, each slot has its share of what torch would take."""
    device = execution.torch_device()
    threads = execution.threads or max(1, torch.get_num_threads() // workers)
    common = {
        "OMP_NUM_THREADS": str(threads),
        "OMP_PROC_BIND": "false",  # each process would bind its threads to the same first cores
    }
    if device.type == "cpu" or device.index is not None:
        return [Slot(number, replace(execution, threads=threads), common) for number in range(workers)]
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:count] if visible else [str(index) for index in range(count)]
    return [
        Slot(
            number,
            replace(execution, threads=threads, device="cuda"),
            common | {"CUDA_VISIBLE_DEVICES": names[number % count]},  # else each would take memory on the first device
        )
        for number in range(workers)
    ]


@dataclass(eq=False)
class Order:
    """A task on its way to a worker."""

    task: Task
    replace: frozenset[str]
    """Seals of stored records that do not stand."""
    future: Future[Outcome]
    not_before: float = 0.0
    """By the monotonic clock: when to try again to get a task that another process has."""

    def settle(self, ending: Outcome | Exception) -> None:
        """Give the future its result or exception, unless it was cancelled."""
        with suppress(InvalidStateError):
            if isinstance(ending, Exception):
                self.future.set_exception(ending)
            else:
                self.future.set_result(ending)

    def wanted(self) -> bool:
        """Whether the future is not cancelled; from now on it cannot be."""
        return self.future.running() or self.future.set_running_or_notify_cancel()


@dataclass
class Running:
    """The task that a worker has, and what is known of it."""

    order: Order
    began: str | None = None
    """UTC; None: the task has not begun, and may turn out not to need a run."""
    step: int | None = None
    epoch: int | None = None
    curve: list[CurvePoint] = field(default_factory=list)


class WorkerProcess:
    """One process, started when this object is made."""

    def __init__(self, slot: Slot, context: Context, extensions: tuple[Path, ...], crash_file: Path) -> None:
        self.slot, self.crash_file = slot, crash_file
        self.ready: Ready | None = None
        self.running: Running | None = None
        self.told_to_stop = self.closed = False
        spawn = get_context("spawn")  # a fork would inherit threads' locks and a CUDA context that cannot be used
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(
            target=serve, args=(theirs, dict(slot.environment), crash_file), name=f"harness-worker-{slot.number}"
        )
        self.process.start()
        theirs.close()  # so that the worker's death ends the conversation
        self._tell(Setup(context.store.root, slot.execution, context.code, extensions, context.weights, context.rule))

    @property
    def idle(self) -> bool:
        """Whether it can be given a task."""
        return self.ready is not None and self.running is None

    def run(self, order: Order) -> None:
        """Give it a task."""
        self.running = Running(order)
        task = order.task
        self._tell(Job(task.cells, task.label, order.replace, asks=task.give_up is not never))

    def answer(self, answer: Answer) -> None:
        """Tell it whether to give up its task."""
        self._tell(answer)

    def ask_to_stop(self) -> None:
        """At a checkpoint, after which it ends."""
        if not self.told_to_stop:
            self.told_to_stop = True
            self._tell(None)

    def _tell(self, message: Setup | Job | Answer | None) -> None:
        with suppress(OSError):  # it is dead, and will be found so
            self.connection.send(message)

    def heard(self) -> Iterator[Message]:
        """What it has said since the last call; after its death too."""
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            self.closed = True

    def dead(self) -> bool:
        """Whether it has ended and nothing that it said is left unread. Asks the system too, since processes that it
        started may keep the pipe open."""
        return self.closed or (self.process.exitcode is not None and not self.connection.poll())

    def kill(self) -> None:
        """At once; a running task keeps its last checkpoint."""
        self.process.kill()
        self.bury()

    def bury(self) -> None:
        """Let go of the pipe, which is a reason to stop at a checkpoint and end, and wait for the end."""
        self.connection.close()
        self.process.join()

    def failure(self) -> Failure:
        """Why the task that it had when it died has no result. Call it when it has ended."""
        assert self.running
        return Failure(
            kind="WorkerDied",
            message=cause_of_death(self.process.exitcode),
            traceback=self.crash_file.read_text(errors="replace"),
            epoch=self.running.epoch,
            step=self.running.step,
        )

    def curve(self) -> tuple[CurvePoint, ...]:
        """What it had told of the training's curve."""
        assert self.running
        return tuple(self.running.curve)

    def provenance(self, context: Context, parts: Mapping[str, str]) -> Provenance:
        """Of what it did until it died."""
        assert self.running
        assert self.ready
        started = self.running.began or utc_now()
        return collect(context.code, parts, device=self.ready.device, threads=self.ready.threads, started=started)


def cause_of_death(exit_code: int | None) -> str:
    """What became of a worker in the middle of a task, and what to do."""
    if exit_code is None or exit_code >= 0:
        return (
            f"its worker process ended with exit code {exit_code}; what it printed is on the standard error of the "
            f"command; {KEPT}"
        )
    number = signal.Signals(-exit_code) if -exit_code in set(signal.Signals) else None
    name = number.name if number else f"signal {-exit_code}"
    if number == signal.SIGKILL:
        return (
            "its worker process was killed (SIGKILL), by somebody or, for want of memory, by the system: then use "
            f"fewer --workers or a smaller batch_size; {KEPT}"
        )
    if number in CRASHES:
        return (
            f"its worker process crashed in compiled code ({name}); the traceback tells where Python was; run it "
            f"without --workers to debug it; {KEPT}"
        )
    return f"its worker process was ended by {name}; {KEPT}"
