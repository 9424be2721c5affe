"""One side of a row in a process of its own, as a program that knows nothing of ours would run it: with the OpenMP and
memory settings that torch finds, and not those that this process was given for speed.

Owns that process: it answers one question after another, and ends with the side or with this process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import torch

from harness.bench.row import Machine, Setup, Side, Unavailable
from harness.bench.timing import timed_calls
from harness.openmp import SPIN_COUNT, SPIN_COUNT_NAME

END_SECONDS = 10.0


def apart(setup: Setup) -> Setup:
    """The same side in a process of its own. Its setup must be importable by name, or a partial of such a function."""

    def setup_apart(machine: Machine) -> Side:
        process = _Process(setup, machine)
        return Side(
            lambda: process.ask(1)[0], timed=process.ask, close=process.close, warm_up_calls=process.warm_up_calls
        )

    return setup_apart


class _Process:
    def __init__(self, setup: Setup, machine: Machine) -> None:
        self.questions, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_answer, args=(theirs, setup, machine), name="conventional side")
        with _settings_of_others():
            self.process.start()
        theirs.close()
        try:
            self.warm_up_calls = int(self._answer())
        except BaseException:
            self.close()
            raise

    def ask(self, calls: int) -> tuple[float, float]:
        """The mean work of so many calls of the side's turn, and the seconds of all."""
        self.questions.send(calls)
        work, seconds = self._answer()
        return float(work), float(seconds)

    def close(self) -> None:
        self.questions.close()  # which it takes for the end
        self.process.join(END_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _answer(self) -> Any:
        try:
            answer = self.questions.recv()
        except EOFError:
            raise RuntimeError("the process of the conventional side ended") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def _settings_of_others() -> Iterator[None]:
    """Without the variable that `harness` sets for itself, unless somebody else has set it."""
    ours = os.environ.get(SPIN_COUNT_NAME) == SPIN_COUNT
    if ours:
        del os.environ[SPIN_COUNT_NAME]
    try:
        yield
    finally:
        if ours:
            os.environ[SPIN_COUNT_NAME] = SPIN_COUNT


def _answer(questions: Connection, setup: Setup, machine: Machine) -> None:
    """What the process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks decides when to end
    torch.set_num_threads(machine.threads)
    try:
        side = setup(machine)
    except Exception as error:
        questions.send(_told(error))
        return
    try:
        side.after()
        questions.send(side.warm_up_calls)
        while True:
            calls = questions.recv()
            try:
                side.before()
                answer: Any = timed_calls(side, machine.device, calls)
                side.after()
            except Exception as error:
                answer = _told(error)
            questions.send(answer)
    except (EOFError, OSError):
        return
    finally:
        side.close()


def _told(error: Exception) -> Exception:
    """One that arrives whatever the original holds."""
    if isinstance(error, Unavailable | MemoryError | torch.OutOfMemoryError):
        return type(error)(str(error))
    return RuntimeError(f"{type(error).__name__}: {error}")
