"""What is shown while cells run: live bars in a terminal, plain lines elsewhere. Owns no state of the run itself.

Events name the cell by its id, so that several may run at once. Imports no torch.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.store.result import Result


class Reading(Protocol):
    """Where one training run stands (see `harness.training.trainer.Progress`)."""

    @property
    def epoch(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def views_per_second(self) -> float: ...
    @property
    def seconds_left(self) -> float: ...
    @property
    def latest(self) -> dict[str, float]: ...


class Watcher(Protocol):
    """Told of everything that happens to the cells of one command."""

    def settled(self, cell_id: str) -> None:
        """The cell needs no run: it is done already, here or by another process."""

    def started(self, cell_id: str, label: str) -> None: ...
    def training(self, cell_id: str, reading: Reading) -> None: ...
    def stage(self, cell_id: str, what: str) -> None: ...
    def ended(self, cell_id: str, outcome: str, result: Result | None) -> None:
        """`outcome` is one of done, failed, interrupted, missing data, running elsewhere."""

    def note(self, text: str) -> None: ...


@dataclass
class Clock:
    """Time left for a list of cells, from how long the ended ones took."""

    total: int
    ended: int = 0
    began: float = 0.0

    def left(self) -> str:
        """In words; empty while nothing has ended."""
        if not self.ended:
            return ""
        return duration((self.total - self.ended) * (time.monotonic() - self.began) / self.ended)


def duration(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 07 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def reading_text(reading: Reading) -> str:
    """One run's state: loss, the last k-NN accuracy, speed, time left."""
    parts = [f"loss {reading.loss:.4g}"]
    parts += [f"{name} {value:.1f} %" for name, value in reading.latest.items() if name.startswith("knn")]
    parts += [f"{reading.views_per_second:,.0f} views/s", f"{duration(reading.seconds_left)} left"]
    return ", ".join(parts)


def result_text(result: Result) -> str:
    """One run's outcome in a line."""
    if result.failure:
        return f"FAILED {result.failure.kind}: {first_line(result.failure.message)}"
    parts = [f"{name} {value:.2f} %" for name, value in result.metrics.items()]
    if result.diagnostics.get("collapsed"):
        parts.append("collapsed")
    if result.cost:
        parts.append(duration(result.cost.train_seconds + result.cost.evaluation_seconds))
    return ", ".join(parts)


def first_line(text: str) -> str:
    """The text up to its first line break."""
    return text.strip().split("\n", 1)[0]


class PlainWatcher:
    """A line when a cell starts, every `every` seconds of training, and when it ends."""

    def __init__(self, total: int, stream: TextIO, every: float = 30.0) -> None:
        self.clock = Clock(total, began=time.monotonic())
        self.stream, self.every = stream, every
        self.begun = 0
        self.labels: dict[str, str] = {}
        self.said: dict[str, float] = {}

    def __enter__(self) -> PlainWatcher:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def note(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=self.stream, flush=True)

    def settled(self, cell_id: str) -> None:
        self.clock.total -= 1

    def started(self, cell_id: str, label: str) -> None:
        self.begun += 1
        self.labels[cell_id], self.said[cell_id] = label, time.monotonic()
        self.note(f"[{self.begun}/{self.clock.total}] {label}: started ({cell_id})")

    def training(self, cell_id: str, reading: Reading) -> None:
        if time.monotonic() - self.said[cell_id] >= self.every:
            self.said[cell_id] = time.monotonic()
            self.note(f"{self.labels[cell_id]}: epoch {reading.epoch}/{reading.epochs}, {reading_text(reading)}")

    def stage(self, cell_id: str, what: str) -> None:
        return None

    def ended(self, cell_id: str, outcome: str, result: Result | None) -> None:
        self.clock.ended += 1
        left = self.clock.left()
        text = result_text(result) if result else outcome
        self.note(
            f"[{self.clock.ended}/{self.clock.total}] {self.labels.get(cell_id, cell_id)}: {text}"
            + (f" ({left} left)" if self.clock.ended < self.clock.total else "")
        )


class RichWatcher:
    """One bar for all cells and one for each that runs; ended cells scroll by as lines above."""

    def __init__(self, total: int, console: Console) -> None:
        self.clock = Clock(total, began=time.monotonic())
        self.bars = Progress(
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            refresh_per_second=4,
        )
        self.overall = self.bars.add_task("all cells", total=total, state="")
        self.tasks: dict[str, TaskID] = {}
        self.labels: dict[str, str] = {}

    def __enter__(self) -> RichWatcher:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def note(self, text: str) -> None:
        self.bars.console.print(escape(text))

    def settled(self, cell_id: str) -> None:
        self.clock.total -= 1
        self.bars.update(self.overall, total=self.clock.total)

    def started(self, cell_id: str, label: str) -> None:
        self.labels[cell_id] = label
        self.tasks[cell_id] = self.bars.add_task(escape(label), total=None, state="loading data")

    def training(self, cell_id: str, reading: Reading) -> None:
        self.bars.update(
            self.tasks[cell_id], completed=reading.step, total=reading.steps, state=escape(reading_text(reading))
        )

    def stage(self, cell_id: str, what: str) -> None:
        self.bars.update(self.tasks[cell_id], state=escape(what))

    def ended(self, cell_id: str, outcome: str, result: Result | None) -> None:
        self.clock.ended += 1
        if cell_id in self.tasks:
            self.bars.remove_task(self.tasks.pop(cell_id))
        left = self.clock.left()
        self.bars.update(self.overall, completed=self.clock.ended, state=f"about {left} left" if left else "")
        colour = {"done": "green", "failed": "red"}.get(outcome, "yellow")
        text = escape(result_text(result) if result else outcome)
        self.bars.console.print(f"[{colour}]{outcome:>11}[/] {escape(self.labels.get(cell_id, cell_id))}: {text}")


def watch(total: int, console: Console | None = None) -> PlainWatcher | RichWatcher:
    """Bars if standard output is a terminal, lines if it is not."""
    console = console or Console()
    return RichWatcher(total, console) if console.is_terminal else PlainWatcher(total, sys.stdout)
