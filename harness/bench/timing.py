"""Rows measured: both sides take turns, A B A B, so that a busy machine disturbs them alike. Owns the clock and what
is made of its readings; knows no row.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from harness.accelerate.precision import PrecisionError
from harness.bench.row import Machine, Row, Setup, Side, Unavailable
from harness.memory import give_back_freed_memory, peak_bytes, reset_peak

PAIRS = 7  # of turns, if they fit into the row's time
LEAST_PAIRS = 3
MOST_CALLS = 1 << 20  # in a turn


@dataclass(frozen=True)
class Measurement:
    """What became of one row."""

    row: Row
    ours: tuple[float, ...] = ()
    """Of each turn, in the row's unit."""
    conventional: tuple[float, ...] = ()
    """Of the turn beside it; empty without such a side."""
    share: float | None = None
    """The least time that the device could take over the median of ours; None where the work is not counted."""
    limit: str = ""
    """What that least time is set by: a precision's matrix products, or bandwidth."""
    memory: int | None = None
    """Bytes that ours added at most to what the process (CUDA: the device) held before, its data included."""
    reason: str = ""
    """Why there is no measurement."""
    broken: bool = False
    """Whether the reason is a fault, and not something this machine lacks."""

    @property
    def value(self) -> float:
        """Ours: the median of its turns."""
        return statistics.median(self.ours)

    @property
    def conventional_value(self) -> float | None:
        """The conventional side's median."""
        return statistics.median(self.conventional) if self.conventional else None

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster ours was, pair by pair."""
        pairs = zip(self.ours, self.conventional, strict=False)
        return tuple(a / b if self.row.unit.higher_is_better else b / a for a, b in pairs)

    @property
    def ratio(self) -> float | None:
        """The median of the paired ratios."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def spread(self) -> tuple[float, float]:
        """Least and largest paired ratio or, without a conventional side, value."""
        shown = self.ratios or self.ours
        return min(shown), max(shown)

    @property
    def met(self) -> bool | None:
        """Whether the row's target was reached; None without one."""
        if self.reason or self.row.target is None:
            return None
        return self.row.target.met(self.ratio, self.share, self.value)


def measure(row: Row, machine: Machine, seconds: float) -> Measurement:
    """The row in about so many seconds (turns that take longer are not cut short). A row that cannot run has its
    reason."""
    try:
        return _measured(row, machine, seconds)
    except (Unavailable, PrecisionError, MemoryError, torch.OutOfMemoryError) as error:
        return Measurement(row, reason=_said(error))
    except Exception as error:  # whatever is wrong with one row, the others are still to be measured
        return Measurement(row, reason=_said(error), broken=True)
    finally:
        _tidy()


def _said(error: BaseException) -> str:
    text = str(error).strip().split("\n", 1)[0]
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "out of memory"
    return text if isinstance(error, Unavailable | PrecisionError) else f"{type(error).__name__}: {text}"


def _measured(row: Row, machine: Machine, seconds: float) -> Measurement:
    _tidy()
    reset_peak(machine.device)
    held = peak_bytes(machine.device)
    sides: list[Side] = []
    clocks: list[_Clock] = []
    setups: list[Setup] = [row.ours, *([row.conventional] if row.conventional else [])]
    memory = None
    try:
        for setup in setups:
            sides.append(setup(machine))
            clocks.append(_Clock(sides[-1], machine.device, seconds / (len(setups) * PAIRS)))
            if len(sides) == 1 and held is not None:
                memory = (peak_bytes(machine.device) or held) - held
        turns = _take_turns(clocks, seconds)
    finally:
        for side in sides:
            side.close()
    columns = [tuple(row.unit.value(work, taken) for work, taken in column) for column in turns]
    each = statistics.median(taken / work for work, taken in turns[0]) if row.unit.kind != "share" else 0.0
    least, limit = machine.limits.seconds(sides[0].flops, sides[0].moved_bytes, sides[0].precision)
    return Measurement(
        row,
        ours=columns[0],
        conventional=columns[1] if len(columns) > 1 else (),
        share=least / each if limit and each else None,
        limit=limit,
        memory=memory,
    )


Turn = tuple[float, float]
"""Work done, seconds taken."""


def _take_turns(clocks: list[_Clock], seconds: float) -> list[list[Turn]]:
    """At most PAIRS turns of each, in turn; fewer where the time is over."""
    turns: list[list[Turn]] = [[] for _ in clocks]
    end = time.perf_counter() + seconds
    while len(turns[0]) < LEAST_PAIRS or (len(turns[0]) < PAIRS and time.perf_counter() < end):
        for clock, column in zip(clocks, turns, strict=True):
            column.append(clock.turn())
    return turns


class _Clock:
    """Times one side's turns, each of as many calls as fill its share of the row's time. Making one warms it up."""

    def __init__(self, side: Side, device: torch.device, turn_seconds: float) -> None:
        self.side, self.device = side, device
        calls, taken = 1, turn_seconds
        for _ in range(side.warm_up_calls):
            _, taken = self._called(calls)
        while calls * taken < turn_seconds / 4 and calls < MOST_CALLS:  # the first may be quick by what was made ahead
            calls *= 2
            _, taken = self._called(calls)
        side.after()
        self.calls = max(1, min(MOST_CALLS, round(turn_seconds / max(taken, 1e-9))))

    def turn(self) -> Turn:
        """The mean work and seconds of a call."""
        self.side.before()
        turn = self._called(self.calls)
        self.side.after()
        return turn

    def _called(self, calls: int) -> Turn:
        work, taken = timed_calls(self.side, self.device, calls)
        return work, taken / calls


def timed_calls(side: Side, device: torch.device, calls: int) -> Turn:
    """The mean work of so many calls of a side's turn, and the seconds of all."""
    if side.timed is not None:
        return side.timed(calls)
    wait = _waiting(device)
    wait()
    began = time.perf_counter()
    total = sum(side.turn() for _ in range(calls))
    wait()
    return total / calls, time.perf_counter() - began


def _waiting(device: torch.device) -> Callable[[], None]:
    """Waits until the device has done what it was given."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def _tidy() -> None:
    """Give back what earlier rows held, so that a row is charged with its own memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    give_back_freed_memory()
