"""Two ways to do the same work, timed in turns (A B A B), so that a busy machine disturbs both alike.

Owns the clock, the number of calls and rounds, and the process that a conventional program gets for itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from harness.memory import peak_bytes, reset_peak
from harness.openmp import SPIN_COUNT, SPIN_COUNT_NAME
from tests.benchmarks.machine import Machine, synchronise

MIN_ROUNDS, MAX_ROUNDS = 3, 7
MAX_CALLS = 1 << 20
END_SECONDS = 10.0
UNIT_SCALES = {"ms": 1e3, "s": 1.0}


def nothing() -> None:
    """What most implementations do before and after they are timed."""


@dataclass(frozen=True)
class Implementation:
    """One way to do the work, set up and ready."""

    run: Callable[[int], object]
    """Does so many calls; need not wait for the device."""
    device: torch.device
    work: float = 1.0
    """Done by a call, in the row's unit: so many views, say."""
    flops: float = 0.0
    """Of a call's matrix products and convolutions; 0 where they are not counted."""
    precision: str = "float32"
    before: Callable[[], object] = nothing
    """Not timed: brings queues to the state that they have in the long run."""
    after: Callable[[], object] = nothing
    """Not timed: comes to rest, so that the other side has the machine to itself."""

    def timed_part(self, calls: int) -> None:
        """The calls, until the device has done them."""
        self.run(calls)
        synchronise(self.device)

    def seconds(self, calls: int) -> float:
        """The time that so many calls take."""
        self.before()
        began = time.perf_counter()
        self.timed_part(calls)
        seconds = time.perf_counter() - began
        self.after()
        return seconds


class SelfTimed(Implementation):
    """One whose `run` returns the seconds itself."""

    def seconds(self, calls: int) -> float:
        return float(self.run(calls))  # type: ignore[arg-type]


Setup = AbstractContextManager[Implementation]


def repeated(call: Callable[[], object], device: torch.device, work: float = 1.0, **details: Any) -> Implementation:
    """A function called again and again."""

    def run(calls: int) -> None:
        for _ in range(calls):
            call()

    return Implementation(run, device, work, **details)


def compare(
    benchmark: Any,
    machine: Machine,
    max_seconds: float,
    unit: str,
    ours: Setup,
    conventional: Setup | None = None,
    *,
    against: str | None = None,
    note: str | None = None,
) -> dict[str, Any]:
    """Time both in turns, ours by pytest-benchmark, and return the row; {} where benchmarks are disabled, and each
    side is only called once.

    Args:
        max_seconds: of all rounds; at least three are taken, however long they last.
        unit: of the numbers: "ms", "s", or a rate such as "views/s".
        against: what the conventional way is.
        note: what a reader must know to read the number.
    """
    reset_peak(machine.device)
    held_bytes = peak_bytes(machine.device)
    turn_seconds = max_seconds / MAX_ROUNDS / (2 if conventional else 1)
    their_seconds: list[float] = []
    with ExitStack() as stack:
        mine = stack.enter_context(ours)
        calls, expected = (1, turn_seconds) if benchmark.disabled else _calls(mine, turn_seconds)
        added_bytes = None if held_bytes is None else (peak_bytes(machine.device) or 0) - held_bytes
        theirs = stack.enter_context(conventional) if conventional else None
        if theirs is not None:
            their_calls, more = (1, turn_seconds) if benchmark.disabled else _calls(theirs, turn_seconds)
            expected += more

        def their_turn(_: object = None) -> None:
            mine.after()
            if theirs is not None:
                their_seconds.append(theirs.seconds(their_calls) / their_calls / theirs.work)

        rounds = max(MIN_ROUNDS, min(MAX_ROUNDS, int(max_seconds / expected)))
        benchmark.pedantic(mine.timed_part, (calls,), setup=mine.before, teardown=their_turn, rounds=rounds)
        if benchmark.disabled:
            their_turn()
            return {}
    my_seconds = [seconds / calls / mine.work for seconds in benchmark.stats.stats.data]
    limit = machine.limits.bfloat16 if mine.precision == "bfloat16" else machine.limits.float32
    share = mine.flops / mine.work / statistics.median(my_seconds) / limit if limit else 0
    return numbers(unit, my_seconds, their_seconds) | {
        "against": against,
        "share_of_limit": share or None,
        "limit": mine.precision if share else None,
        "memory_bytes": added_bytes,
        "note": note,
    }


def numbers(unit: str, ours: Sequence[float], conventional: Sequence[float]) -> dict[str, Any]:
    """The part of a row that follows from the seconds for a unit of work in each round; none of the conventional way
    where there is none."""

    def in_unit(seconds: float) -> float:
        return seconds * UNIT_SCALES[unit] if unit in UNIT_SCALES else 1 / seconds

    pairs = [theirs / mine for mine, theirs in zip(ours, conventional, strict=bool(conventional))]
    ours_median, their_median = statistics.median(ours), statistics.median(conventional) if conventional else None
    return {
        "unit": unit,
        "ours": in_unit(ours_median),
        "conventional": in_unit(their_median) if their_median else None,
        "ratio": their_median / ours_median if their_median else None,
        "ratio_min": min(pairs, default=None),
        "ratio_max": max(pairs, default=None),
        "ours_rounds": [in_unit(seconds) for seconds in ours],
        "conventional_rounds": [in_unit(seconds) for seconds in conventional],
    }


def _calls(side: Implementation, turn_seconds: float) -> tuple[int, float]:
    """How many fill a turn, and the seconds they take; the first call, which compiles and fills caches, counts
    only where it is much longer."""
    calls, seconds = 1, side.seconds(1)
    if seconds < 4 * turn_seconds:
        seconds = side.seconds(1)
    while seconds < turn_seconds / 4 and calls < MAX_CALLS:
        calls *= 2
        seconds = side.seconds(calls)
    chosen = max(1, min(MAX_CALLS, round(calls * turn_seconds / seconds)))
    return chosen, chosen * seconds / calls


@contextmanager
def separate_process(setup: Callable[[], Setup], machine: Machine) -> Iterator[Implementation]:
    """The same in a process of its own, as a program that knows nothing of ours would run: with the OpenMP and memory
    settings that torch finds, and not those that this process has for speed.

    Args:
        setup: a function of a module, or a partial of one.
    """
    connection, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(theirs, setup, machine.threads))
    with _without_own_settings():
        process.start()
    theirs.close()

    def seconds(calls: int) -> float:
        connection.send(calls)
        return float(connection.recv())  # EOFError: the process has failed, and has printed why

    try:
        yield SelfTimed(seconds, machine.device, work=connection.recv())
    finally:
        connection.close()  # which ends the process, as this process's death does
        process.join(END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(connection: Connection, setup: Callable[[], Setup], threads: int) -> None:
    """What the process does: time as many calls as it is asked for, again and again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    torch.set_num_threads(threads)
    with setup() as side:
        connection.send(side.work)
        while True:
            try:
                calls = connection.recv()
            except EOFError:
                return
            connection.send(side.seconds(calls))


@contextmanager
def _without_own_settings() -> Iterator[None]:
    """Without the variable that `harness` sets for itself, unless the user has set it."""
    own = os.environ.get(SPIN_COUNT_NAME) == SPIN_COUNT
    if own:
        del os.environ[SPIN_COUNT_NAME]
    try:
        yield
    finally:
        if own:
            os.environ[SPIN_COUNT_NAME] = SPIN_COUNT
