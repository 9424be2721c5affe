"""A worker process of the local-process engine, and the words that it and its parent exchange over a pipe.

Owns the worker's life: it runs one task after another, tells its parent everything that happens, and stops at a
checkpoint when the parent says so, or is gone. Never decides which task is next. Importing this imports no torch: the
settings of OpenMP and CUDA have to be in the environment before.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.engines.context import Context
    from harness.engines.execution import Execution
    from harness.engines.task import Outcome
    from harness.progress import Reading
    from harness.spec.collapse import CollapseRule
    from harness.spec.models import Cell
    from harness.store.atomic import StoreError
    from harness.store.provenance import Code
    from harness.store.records import CurvePoint
    from harness.store.store import Busy
    from methods.entry import MethodEntry


# From parent to worker. None instead of a message: stop at a checkpoint, and end.


@dataclass(frozen=True)
class Setup:
    """What all tasks of a worker share; the first message."""

    store_root: Path
    execution: Execution
    code: Code
    """That the parent has read. What the worker loads has to be the same."""
    extensions: tuple[Path, ...]
    weights: Mapping[str, Path]
    rule: CollapseRule


@dataclass(frozen=True)
class Job:
    """One task to run."""

    cells: tuple[Cell, ...]
    label: str
    replace: frozenset[str]
    """Seals of the stored records that do not stand."""
    asks: bool
    """Whether the parent answers at each point of the curve."""


@dataclass(frozen=True)
class Answer:
    """To a point of the curve."""

    give_up: bool
    error: str = ""
    """What went wrong where the decision is taken."""


# From worker to parent.


@dataclass(frozen=True)
class Ready:
    """The worker has imported everything and waits for a job."""

    device: str
    """As provenance names it."""
    threads: int


@dataclass(frozen=True)
class Refused:
    """The worker cannot do what it was started for."""

    reason: str


@dataclass(frozen=True)
class Event:
    """A call of the parent's watcher."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Point:
    """A new point of the running task's curve, or on resuming an old one."""

    point: CurvePoint


@dataclass(frozen=True)
class Finished:
    """How the job ended."""

    ending: Outcome | Busy | StoreError
    text: str = ""
    """What there is to say of it."""


Message = Ready | Refused | Event | Point | Finished


class Link:
    """The worker's end of the pipe: a watcher that tells the parent, and an ear for what the parent wants."""

    def __init__(self, connection: Connection) -> None:
        self.stop = threading.Event()
        self._connection = connection
        self._inbox: SimpleQueue[Job | Answer | None] = SimpleQueue()  # whose `put` a signal handler may call
        self.last_text = ""  # of the task that ended last

    def listen(self) -> None:
        """Take messages until there will be no more. Runs in a thread of its own, so that a wish to stop is heard at
        once."""
        message: Job | Answer | None = None
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):  # the parent is gone
                message = None
            if message is None:
                return self.end()
            self._inbox.put(message)

    def end(self) -> None:
        """Stop the running task at a checkpoint, and take no other."""
        self.stop.set()
        self._inbox.put(None)

    def next_job(self) -> Job | None:
        """Wait for the next job; None: there will be none."""
        job = self._inbox.get()
        assert not isinstance(job, Answer)
        return job

    def tell(self, message: Message) -> None:
        """Send to the parent; a parent that is gone is a reason to stop, not an error."""
        try:
            self._connection.send(message)
        except OSError:
            self.end()

    def ask(self, point: CurvePoint) -> bool:
        """Whether the parent wants the task given up at this point."""
        self.tell(Point(point))
        answer = self._inbox.get()
        if not isinstance(answer, Answer):  # told to stop instead; on resuming the question comes again
            self._inbox.put(None)
            return False
        if answer.error:
            raise RuntimeError(answer.error)
        return answer.give_up

    def show(self, point: CurvePoint) -> bool:
        """Let the parent know the point; never a reason to give up."""
        self.tell(Point(point))
        return False

    def settled(self, task_id: str) -> None:
        self.tell(Event("settled", (task_id,)))

    def started(self, task_id: str, label: str) -> None:
        self.tell(Event("started", (task_id, label)))

    def training(self, task_id: str, reading: Reading) -> None:
        self.tell(Event("training", (task_id, reading)))

    def point(self, task_id: str, point: CurvePoint) -> None:
        """`Point` says it."""

    def stage(self, task_id: str, what: str) -> None:
        self.tell(Event("stage", (task_id, what)))

    def ended(self, task_id: str, outcome: str, text: str) -> None:
        """`Finished` says it, when the task's lock is free again."""
        self.last_text = text

    def note(self, text: str) -> None:
        self.tell(Event("note", (text,)))


def serve(connection: Connection, environment: Mapping[str, str], crash_file: Path) -> None:
    """The worker's whole life. Run it in a new process that has not imported torch.

    Args:
        environment: to be set before libraries read it.
        crash_file: where a crash in compiled code leaves the stack of Python, since it cannot be told any more.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to everybody; the parent decides
    os.environ.update(environment)
    link = Link(connection)

    def on_terminate(number: int, frame: FrameType | None) -> None:
        link.end()

    signal.signal(signal.SIGTERM, on_terminate)
    with crash_file.open("w") as file:
        faulthandler.enable(file)
        try:
            setup: Setup = connection.recv()
        except (EOFError, OSError):
            return
        threading.Thread(target=link.listen, name="parent", daemon=True).start()
        work(link, setup)
        faulthandler.disable()


def work(link: Link, setup: Setup) -> None:
    """Import what tasks need, then run one after another until there will be no more."""
    import torch

    from harness.engines.context import Context
    from harness.registry import ExtensionError, all_methods, use
    from harness.store.provenance import Code
    from harness.store.store import Store

    if setup.execution.threads is not None:
        torch.set_num_threads(setup.execution.threads)
    try:
        use(setup.extensions)
        methods = all_methods()
        found = Code.read()
    except (ExtensionError, OSError) as error:
        return link.tell(Refused(str(error)))
    if dict(found.digests) != dict(setup.code.digests):
        return link.tell(
            Refused("the code has changed since this command began: a new worker process would run the new one")
        )
    device = setup.execution.device_name()
    link.tell(Ready(device, torch.get_num_threads()))
    store = Store(setup.store_root)
    context = Context(store, setup.code, setup.execution, link, link.stop.is_set, setup.weights, setup.rule)
    while (job := link.next_job()) is not None:
        ending = _done(job, methods[job.cells[0].method], context, link)
        link.tell(Finished(ending, link.last_text))
        link.last_text = ""
    return None


def _done(job: Job, entry: MethodEntry, context: Context, link: Link) -> Outcome | Busy | StoreError:
    from harness.engines.in_process import settle_or_attempt
    from harness.engines.task import Outcome, Task
    from harness.store.atomic import StoreError
    from harness.store.store import Busy

    if context.should_stop():
        return Outcome("interrupted")
    give_up: Callable[[CurvePoint], bool] = link.ask if job.asks else link.show
    try:
        return settle_or_attempt(Task(job.cells, job.label, give_up), job.replace, entry, context)
    except (Busy, StoreError) as error:
        return error
