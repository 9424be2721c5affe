"""One worker process of this machine: how it is started, given jobs and ended, and what is done when it dies or hangs.
That costs the stage that it was in, and no other task.

A worker is the program of `harness.engines.work`; it serves one job after another, since it takes seconds to import
torch, and stops at a checkpoint when its standard input ends: when it is told to, or this process is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from harness.engines.engine import WorkersLost
from harness.engines.job import Job
from harness.engines.shares import Share
from harness.engines.task import Outcome
from harness.engines.worker_death import Attempt, cause_of_death, cause_of_hanging, record_death
from harness.store.atomic import StoreError
from harness.store.provenance import utc_now
from harness.store.records import CurvePoint, Failure
from harness.store.store import Busy

if TYPE_CHECKING:
    from harness.engines.local import LocalProcesses

PROGRAM = ("-P", "-m", "harness.engines.work", "-")  # -P: not what lies in the working directory
STARTS = 3  # attempts to start a worker, without one that comes to a task, until no more are made
STACK_SECONDS = 2.0  # that a hung worker has to write its stacks before it is killed


@dataclass(eq=False)
class LocalJob:
    """See `harness.engines.engine.Handle`."""

    job: Job
    slot: WorkerSlot
    endings: dict[str, Outcome] = field(default_factory=dict)
    error: Exception | None = None
    stopped: bool = False

    @property
    def over(self) -> bool:
        return self.error is not None or len(self.endings) == len(self.job.tasks)

    def poll(self) -> dict[str, Outcome] | None:
        if self.slot.job is self:
            self.slot.advance()
        if self.error is not None:
            raise self.error
        return self.endings if self.over else None

    def stop(self) -> None:
        self.stopped = True


@dataclass(eq=False)
class WorkerSlot:
    """Room for one worker process, and what is known of it."""

    engine: LocalProcesses
    name: str
    share: Share
    stacks: Path
    """Where the worker leaves Python's stacks when it crashes or is asked for them."""
    process: subprocess.Popen[bytes] | None = None
    job: LocalJob | None = None
    given: LocalJob | None = None
    """The job that the process has."""
    attempt: Attempt | None = None
    """The task that it is at; after its death, until that is recorded."""
    failure: Failure | None = None
    """Its death, if it is still to be recorded."""
    device: str = "cpu"
    threads: int = 1
    last_event: float = 0.0
    """By the monotonic clock."""
    hung: bool = False
    closed: bool = False
    """Whether the process was told to stop."""
    unread: bytes = b""

    def advance(self) -> None:
        """Go one step on with the job. To be called again and again while there is one."""
        assert self.job
        stop = self.job.stopped or self.engine.should_stop()
        if self.failure is not None:
            self._record_death(self.failure)
        elif stop and self.given is not self.job:
            self.job.endings |= {task.id: Outcome("interrupted") for task in self._left()}
        elif (process := self.process or self._start()) is not None:
            self._converse(process, stop)
        if self.job.over:
            self.job = None
            if self.closed:  # its process takes no other
                self.wait(self.engine.hung_after_seconds)
                self.process = None

    def _left(self) -> list[Any]:
        assert self.job
        return [task for task in self.job.job.tasks if task.id not in self.job.endings]

    def _start(self) -> subprocess.Popen[bytes] | None:
        """A process that imports what it needs; None, and the job an error, where the system gives none."""
        assert self.job
        self.engine.watcher.note(f"starting worker process {self.name}")
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            self.process = subprocess.Popen(
                [sys.executable, *PROGRAM, "--stacks", str(self.stacks)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **self.share.environment, "PYTHONPATH": paths},
                start_new_session=True,  # the terminal sends Ctrl-C to everybody; it is this process that decides
            )
        except OSError as error:
            self.job.error = WorkersLost(f"no worker process can be started: {error.strerror}")
            return None
        assert self.process.stdout
        os.set_blocking(self.process.stdout.fileno(), False)
        self.unread, self.given, self.hung, self.closed = b"", None, False, False
        return self.process

    def _converse(self, process: subprocess.Popen[bytes], stop: bool) -> None:
        """Give the process the job if it has not got it, read what it says, and see whether it lives."""
        assert self.job
        assert process.stdin
        if self.given is not self.job:
            self.given, self.last_event = self.job, time.monotonic()
            job = self.job.job.of(*self._left())
            execution = replace(job.execution, threads=self.share.execution.threads, device=self.share.execution.device)
            with suppress(OSError):  # it is dead, which is noticed below
                process.stdin.write(job.model_copy(update={"execution": execution}).model_dump_json().encode() + b"\n")
                process.stdin.flush()
        if stop and not self.closed:
            self.closed = True
            process.stdin.close()
        ended = process.poll() is not None  # before the last of what it said is read: its children may hold the pipe
        for name, *arguments in self._events(process):
            self.last_event = time.monotonic()
            self._take(name, arguments)
        if ended:
            self._note_end(process)
        elif time.monotonic() - self.last_event > self.engine.hung_after_seconds:
            self._kill_hung(process)

    def _events(self, process: subprocess.Popen[bytes]) -> list[Any]:
        """What it has said since the last call."""
        assert process.stdout
        with suppress(BlockingIOError):
            while data := os.read(process.stdout.fileno(), 1 << 16):
                self.unread += data
        *lines, self.unread = self.unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def _take(self, name: str, arguments: list[Any]) -> None:
        assert self.job
        match name, arguments:
            case "ready", [device, threads]:
                self.device, self.threads = device, threads
            case "refused", [reason]:
                self.job.error = WorkersLost(reason)
            case "refused by the store", [reason]:
                self.job.error, self.attempt = StoreError(reason), None
            case "ending", [id_, state, message]:
                self.engine.failed_starts, self.attempt = 0, None
                self.job.endings[id_] = Outcome(state, message)
            case "started", [id_, label]:
                task = next(task for task in self.job.job.tasks if task.id == id_)
                self.attempt = Attempt(task, utc_now(), self.device, self.threads)
                self.engine.watcher.started(id_, label)
            case "point", [id_, point] if self.attempt:
                self.attempt.curve.append(CurvePoint.model_validate(point))
                self.engine.watcher.point(id_, self.attempt.curve[-1])
            case "training", [id_, reading] if self.attempt:
                self.attempt.epoch, self.attempt.step = reading["epoch"], reading["step"]
                self.engine.watcher.training(id_, SimpleNamespace(**reading))
            case _:
                getattr(self.engine.watcher, name)(*arguments)

    def _kill_hung(self, process: subprocess.Popen[bytes]) -> None:
        """First it tells where it is, without its interpreter's help."""
        self.hung = True
        process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + STACK_SECONDS
        while time.monotonic() < deadline and not self._stack_traces():
            time.sleep(0.1)
        self.wait(0.0)

    def _stack_traces(self) -> str:
        with suppress(OSError):
            return self.stacks.read_text(errors="replace")
        return ""

    def _note_end(self, process: subprocess.Popen[bytes]) -> None:
        """Let go of a process that has ended: as told, before it came to a task, or in the middle of one."""
        assert self.job
        self.close()
        self.process = None
        if self.attempt is not None:
            minutes = self.engine.hung_after_seconds / 60
            message = cause_of_hanging(minutes) if self.hung else cause_of_death(process.returncode)
            self.failure = self.attempt.failure(
                "WorkerHung" if self.hung else "WorkerDied", message, self._stack_traces()
            )
        elif not self.job.over:
            self.engine.failed_starts += 1
            if self.engine.failed_starts >= STARTS:
                self.job.error = WorkersLost(
                    f"worker processes end before they can work, the last with exit code {process.returncode}; what "
                    "they printed is above"
                )

    def _record_death(self, failure: Failure) -> None:
        """Its task has failed, or goes on with what is left of it in another process."""
        assert self.job
        assert self.attempt
        task, watcher = self.attempt.task, self.engine.watcher
        try:
            outcome = record_death(self.attempt, self.job.job.context(watcher), failure)
        except Busy:  # the processes that it had started are about to end
            return
        except StoreError as error:
            self.job.error = error
            outcome = None
        if outcome is not None:
            self.job.endings[task.id] = outcome
            watcher.ended(task.id, outcome.state, f"FAILED {failure.kind}: {failure.message}")
        elif self.job.error is None:
            watcher.note(f"{task.label}: {failure.message}; what is left of it goes on")
        self.attempt = self.failure = None

    def close(self) -> None:
        """Let go of the pipes, at which the process stops at a checkpoint and ends."""
        self.closed = True
        for pipe in (self.process.stdin, self.process.stdout) if self.process else ():
            assert pipe
            with suppress(OSError):
                pipe.close()

    def wait(self, seconds: float) -> None:
        """Until it has ended; killed after so long, with what it has started. A running task keeps its last
        checkpoint."""
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
