"""Tasks in several processes of this machine, one a slot: each slot has its own device or its share of the threads.

Owns which task goes to which worker process, what is done when one dies, when they stop. A crash touches no other task.
What stands and what runs is decided as in `in_process`; how a worker lives, in `local_worker`.
"""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from multiprocessing import connection, resource_tracker
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from harness.engines.context import Context
from harness.engines.in_process import POLL_SECONDS, replaceable_seals, settled
from harness.engines.local_slots import Order, WorkerProcess, slots
from harness.engines.local_worker import Answer, Event, Finished, Message, Point, Ready, Refused
from harness.engines.task import Outcome, Task, never
from harness.engines.worker_death import record_death
from harness.store.atomic import StoreError
from harness.store.provenance import utc_now
from harness.store.records import CurvePoint
from harness.store.store import Busy

TICK_SECONDS = 0.1  # at most so late are a new task, a wish to stop and a silent death noticed
STARTS = 3  # attempts to start a worker, without one that succeeds, until no more are made


class WorkersLost(RuntimeError):
    """No worker process can be started any more."""


def run(
    tasks: Iterable[Task],
    context: Context,
    *,
    workers: int,
    extensions: Sequence[Path] = (),
    rerun_stale: bool = False,
) -> dict[str, Outcome]:
    """Run what is not done, `workers` tasks at once; by pretraining id, how each ended. See `in_process.run`.

    Raises:
        StoreError: the store could not be written; the tasks under way were stopped at a checkpoint.
        WorkersLost: tasks are left and no process can be started to run them.
    """
    queue = list({task.id: task for task in tasks}.values())
    with Pool(max(1, min(workers, len(queue))), context, extensions) as pool:
        futures = {task.id: pool.submit(task, rerun_stale) for task in queue}
        wait(futures.values(), return_when=FIRST_EXCEPTION)
        for future in futures.values():
            if future.done() and (error := future.exception()):
                raise error
        return {task_id: future.result() for task_id, future in futures.items()}


class Pool:
    """Worker processes that are started when there is work for them and live until the end of the `with` block.

    The block's end waits for all tasks; left by an error, it first stops them at checkpoints; left by a second Ctrl-C,
    it kills. The watcher and `Task.give_up` are called in a thread of this process, never in two at once.
    """

    def __init__(self, workers: int, context: Context, extensions: Sequence[Path] = ()) -> None:
        """
        Args:
            workers: tasks at once.
            context: as for `run_task`; once its `should_stop` says so, every worker stops at a checkpoint.
            extensions: the users' own files.
        """
        self._slots = slots(workers, context.execution)
        self._context, self._extensions = context, tuple(extensions)
        self._submitted: SimpleQueue[Order] = SimpleQueue()
        self._orders: list[Order] = []  # those that no worker has
        self._workers: list[WorkerProcess] = []
        self._replace: dict[str, frozenset[str]] = {}  # seals by task, as they were when it was first submitted
        self._stop, self._closing, self._kill = threading.Event(), threading.Event(), threading.Event()
        self._failed_starts = 0
        self._lost = ""  # why no more workers can be started
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._dispatch, name="workers", daemon=True)

    @property
    def width(self) -> int:
        """How many tasks run at once."""
        return len(self._slots)

    def submit(self, task: Task, rerun_stale: bool = False) -> Future[Outcome]:
        """Have a task run unless nothing of it is left to do, in which case the future is done at once.

        A failure from before the pool first heard of the task is tried once more; one since then stands. The future's
        exception is a `StoreError` or a `WorkersLost`; everything else is an outcome.
        """
        future: Future[Outcome] = Future()
        if task.id not in self._replace:
            self._replace[task.id] = replaceable_seals(task, self._context, rerun_stale)
        outcome = settled(task, self._replace[task.id], self._context)
        if outcome is not None:
            self._context.watcher.settled(task.id)
            future.set_result(outcome)
        elif not self._thread.is_alive():
            raise RuntimeError("this pool of workers is closed") from self._error
        else:
            self._submitted.put(Order(task, self._replace[task.id], future))
        return future

    def stop(self) -> None:
        """Ask every worker to stop at a checkpoint; what is not done becomes `interrupted`."""
        self._stop.set()

    def __enter__(self) -> Pool:
        resource_tracker.ensure_running()  # here: as it starts it unblocks the signal that `_dispatch` blocks
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.stop()
            if not issubclass(kind, Exception):
                self._kill.set()
        self._closing.set()
        try:
            self._thread.join()
        except BaseException:  # a second Ctrl-C
            self._kill.set()
            self._thread.join()
            raise

    # Everything below runs in the pool's thread.

    def _dispatch(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # workers inherit this until they can ignore it
        with tempfile.TemporaryDirectory(prefix="harness-workers-") as crashes:
            self._crashes = Path(crashes)
            try:
                while not self._over():
                    self._turn()
            except BaseException as error:
                self._error = error
            finally:
                self._end()

    def _over(self) -> bool:
        if self._kill.is_set():
            return True
        busy = self._orders or any(worker.running for worker in self._workers)
        return self._closing.is_set() and self._submitted.empty() and not busy

    def _turn(self) -> None:
        while not self._submitted.empty():
            self._orders.append(self._submitted.get())
        if self._stop.is_set() or self._context.should_stop():
            self._wind_up()
        else:
            self._hand_out()
        if self._workers:
            connection.wait([worker.connection for worker in self._workers], TICK_SECONDS)
        else:
            time.sleep(TICK_SECONDS)
        for worker in list(self._workers):
            for message in worker.heard():
                self._take(worker, message)
            if worker.dead():
                self._remove(worker)

    def _wind_up(self) -> None:
        """Nothing begins any more, and what runs stops at a checkpoint."""
        while self._orders:
            self._orders.pop().settle(Outcome("interrupted"))
        for worker in list(self._workers):
            if worker.running:
                worker.ask_to_stop()
            else:
                self._workers.remove(worker)
                worker.kill()

    def _hand_out(self) -> None:
        """Give idle workers what is due; start workers for the rest where there are free slots."""
        now = time.monotonic()
        due = [order for order in self._orders if order.not_before <= now]
        for worker in self._workers:
            while due and worker.idle:
                order = due.pop(0)
                self._orders.remove(order)
                if order.wanted():
                    worker.run(order)
        starting = sum(worker.ready is None for worker in self._workers)
        taken = {worker.slot.number for worker in self._workers}
        free = [slot for slot in self._slots if slot.number not in taken]
        if self._lost and not self._workers:
            while self._orders:
                self._orders.pop().settle(WorkersLost(self._lost))
        elif not self._lost:
            chosen = free[: max(0, len(due) - starting)]
            if chosen:
                self._context.watcher.note(f"starting {len(chosen)} worker process{'es' if len(chosen) > 1 else ''}")
            for slot in chosen:
                crash_file = self._crashes / f"{slot.number}.txt"
                self._workers.append(WorkerProcess(slot, self._context, self._extensions, crash_file))

    def _take(self, worker: WorkerProcess, message: Message) -> None:
        running = worker.running
        match message:
            case Ready():
                worker.ready = message
                self._failed_starts = 0
            case Refused(reason):
                self._lost = reason
            case Event(name, arguments):
                if running and name == "started":
                    running.began = utc_now()
                if running and name == "training":
                    running.epoch, running.step = arguments[1].epoch, arguments[1].step
                getattr(self._context.watcher, name)(*arguments)
            case Point(point) if running:
                running.curve.append(point)
                self._context.watcher.point(running.order.task.id, point)
                if running.order.task.give_up is not never:
                    worker.answer(_decision(running.order.task, point))
            case Finished(ending, text) if running:
                worker.running = None
                self._finish(running.order, ending, text, begun=running.began is not None)

    def _finish(self, order: Order, ending: Outcome | Busy | StoreError, text: str, *, begun: bool) -> None:
        if begun:
            state = ending.state if isinstance(ending, Outcome) else "running elsewhere"
            self._context.watcher.ended(order.task.id, state, text or state)
        if isinstance(ending, Busy):
            order.not_before = time.monotonic() + POLL_SECONDS
            self._orders.append(order)
        else:
            order.settle(ending)

    def _remove(self, worker: WorkerProcess) -> None:
        """Let go of a worker that has ended: as told, before it was ready, or in the middle of a task."""
        self._workers.remove(worker)
        worker.bury()
        running = worker.running
        if running and running.began:
            death = worker.failure()
            ending = self._store_death(worker, running.order)
            if ending is None:
                self._context.watcher.note(f"{running.order.task.label}: {death.message}; what is left of it goes on")
                self._orders.append(running.order)
            else:
                self._finish(running.order, ending, f"FAILED {death.kind}: {death.message}", begun=True)
            return
        if running:
            self._orders.append(running.order)
        if running or not worker.ready:
            self._failed_starts += 1
        if self._failed_starts >= STARTS:
            self._lost = self._lost or (
                f"worker processes end before they can work, the last with exit code {worker.process.exitcode}; what "
                "they printed is above"
            )

    def _store_death(self, worker: WorkerProcess, order: Order) -> Outcome | Busy | StoreError | None:
        """The death of the task's process as the failure of the stage that it was in, unless that had been stored; the
        checkpoint stays. None: other stages are left, which another process can do."""
        try:
            with self._context.store.lock(order.task.id):
                if settled(order.task, order.replace, self._context) is None:
                    record_death(order.task, order.replace, self._context, worker)
                    self._context.store.drop_progress(order.task.id)
                return settled(order.task, order.replace, self._context)
        except (Busy, StoreError) as error:
            return error

    def _end(self) -> None:
        """No process and no future is left waiting."""
        while not self._submitted.empty():
            self._orders.append(self._submitted.get())
        for worker in self._workers:
            if worker.running:
                self._orders.append(worker.running.order)
            if worker.running and not self._kill.is_set():
                worker.bury()  # after an error here: it stops at a checkpoint
            else:
                worker.kill()
        error = self._error
        for order in self._orders:
            order.settle(error if isinstance(error, Exception) else Outcome("interrupted"))


def _decision(task: Task, point: CurvePoint) -> Answer:
    """What the task says to a point of its curve. An error is raised again where the task runs, and stored with
    it."""
    try:
        return Answer(task.give_up(point))
    except Exception as error:
        return Answer(False, f"{type(error).__name__}: {error}")
