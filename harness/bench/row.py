"""What a row of the speed table is: a piece of work, ours and the conventional one, and the aim. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16"]


class Unavailable(RuntimeError):
    """A row that this machine cannot run, and why."""


@dataclass(frozen=True)
class Limits:
    """What the device can do at most, as measured beside the rows."""

    float32_flops: float
    """Floating-point operations a second of float32 matrix products (a multiply-add is two)."""
    bfloat16_flops: float | None
    """The same in bfloat16; None where the device has no such products."""
    bandwidth: float
    """Bytes a second read and written by a large copy."""

    @property
    def fast_precision(self) -> Precision:
        """bfloat16 where its products are quicker than float32's, which they are not where they are emulated."""
        return "bfloat16" if (self.bfloat16_flops or 0.0) > self.float32_flops else "float32"

    def seconds(self, flops: float, moved_bytes: float, precision: Precision) -> tuple[float, str]:
        """The least time that such work takes, and what sets it; 0 and "" for work that is not counted."""
        peak = self.bfloat16_flops if precision == "bfloat16" else self.float32_flops
        arithmetic, memory = flops / (peak or self.float32_flops), moved_bytes / self.bandwidth
        if not arithmetic and not memory:
            return 0.0, ""
        return (arithmetic, precision) if arithmetic >= memory else (memory, "bandwidth")


@dataclass(frozen=True)
class Machine:
    """Where the rows run."""

    device: torch.device
    threads: int
    """Of torch on the CPU."""
    workers: int
    """Of the conventional DataLoader: the cores."""
    limits: Limits


@dataclass(frozen=True)
class Unit:
    """How work and seconds become the number that is shown."""

    name: str
    kind: Literal["rate", "time", "share"]
    """Work a second, time for one piece of work, or what a turn returned itself as a fraction."""
    scale: float = 1.0

    def value(self, work: float, seconds: float) -> float:
        """Of one turn."""
        if self.kind == "rate":
            return self.scale * work / seconds
        return self.scale * (seconds / work if self.kind == "time" else work)

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger number is the faster one."""
        return self.kind == "rate"


VIEWS = Unit("views/s", "rate")
MILLISECONDS = Unit("ms", "time", 1e3)
SECONDS = Unit("s", "time")
MINUTES = Unit("min", "time", 1 / 60)
SHARE = Unit("% of time", "share", 100.0)


@dataclass(frozen=True)
class Target:
    """What a row is to reach."""

    of: Literal["ratio", "limit", "value"]
    """Of the ratio to the conventional side, the share of the measured limit (1 is all), or ours in its unit."""
    bound: float
    most: bool = False
    """Whether the bound is from above."""

    def met(self, ratio: float | None, share: float | None, value: float) -> bool | None:
        """Whether it was reached; None where there is nothing to compare."""
        found = {"ratio": ratio, "limit": share, "value": value}[self.of]
        if found is None:
            return None
        return found <= self.bound if self.most else found >= self.bound


def nothing() -> None:
    """What most sides do before and after their turns."""


@dataclass(frozen=True)
class Side:
    """One way to do a row's work, set up and ready."""

    turn: Callable[[], float]
    """Does some work and returns how much, in the row's unit. Called again and again; need not wait for the device."""
    timed: Callable[[int], tuple[float, float]] | None = None
    """Of a side that must read the clock itself: does the work of so many calls of `turn`, and returns the mean work of
    a call and the seconds of all."""
    flops: float = 0.0
    """Floating-point operations in matrix products and convolutions, for one unit of work; 0 where not counted."""
    moved_bytes: float = 0.0
    """Bytes that must at least be read or written for one unit of work."""
    precision: Precision = "float32"
    before: Callable[[], None] = nothing
    """Untimed, before each turn: brings queues to the state that they have in the long run."""
    after: Callable[[], None] = nothing
    """Untimed, after each turn: comes to rest, so that the other side has the machine to itself."""
    close: Callable[[], None] = nothing
    """Untimed, at the end."""
    warm_up_calls: int = 2
    """Of `turn`, before anything counts: the first compiles and fills caches, the last says how long a call takes."""


Setup = Callable[[Machine], Side]


@dataclass(frozen=True)
class Growth:
    """Which step of which axis a row of the growth table is."""

    axis: str
    value: int


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    group: str
    name: str
    unit: Unit
    ours: Setup
    conventional: Setup | None = None
    against: str = ""
    """What the conventional side is, in a few words."""
    target: Target | None = None
    note: str = ""
    """What a reader must know to read the number: what was scaled, what is not in it."""
    values: Callable[[Machine], tuple[Tensor, Tensor]] | None = None
    """The numbers that both sides compute from the same input, where they do."""
    growth: Growth | None = None

    @property
    def title(self) -> str:
        """As `--only` matches it."""
        return f"{self.group}: {self.name}"
