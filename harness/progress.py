"""What is shown while tasks run: live bars in a terminal, plain lines elsewhere. Owns no state of the run itself.

Events name the task by its id, so that several may run at once. Imports no torch.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.spec.collapse import CollapseRule
from harness.store.cell_result import CellResult
from harness.store.records import CurvePoint


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
    """Told of everything that happens to the tasks of one command."""

    def settled(self, task_id: str) -> None:
        """The task needs no run: it is done already, here or by another process."""

    def started(self, task_id: str, label: str) -> None:
        """Again for a task whose process has died, with what is left of it."""

    def training(self, task_id: str, reading: Reading) -> None: ...
    def point(self, task_id: str, point: CurvePoint) -> None:
        """A point of the training's curve; on resuming an old one again."""

    def stage(self, task_id: str, what: str) -> None: ...
    def ended(self, task_id: str, outcome: str, text: str) -> None:
        """`outcome` is one of done, failed, pruned, interrupted, missing data; `text` says more."""

    def note(self, text: str) -> None: ...


@dataclass
class Clock:
    """Time left for a list of tasks, from how long the ended ones took."""

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
    """One run's state: loss, the last accuracies of its monitors, speed, time left."""
    parts = [f"loss {reading.loss:.4g}"]
    parts += [f"{name} {value:.1f} %" for name, value in reading.latest.items() if name.endswith("_top1")]
    parts += [f"{reading.views_per_second:,.0f} views/s", f"{duration(reading.seconds_left)} left"]
    return ", ".join(parts)


def result_text(result: CellResult, rule: CollapseRule) -> str:
    """One cell's outcome in a line."""
    parts = [f"FAILED {stage}: {f.kind}: {first_line(f.message)}" for stage, f in result.failures.items()]
    firsts = [f"{name}_{next(iter(record.metrics))}" for name, record in result.evaluations.items() if record.metrics]
    parts += [f"{name} {result.measured[name].said(result.metrics[name])}" for name in firsts]
    if result.collapsed(rule):
        parts.append("collapsed")
    if result.cost:
        parts.append(duration(result.cost.train_seconds + result.cost.evaluation_seconds))
    return ", ".join(parts)


def first_line(text: str) -> str:
    """The text up to its first line break."""
    return text.strip().split("\n", 1)[0]


class PlainWatcher:
    """A line when a task starts, every `every` seconds of training, and when it ends. Whether anybody can read them is
    of no matter to the run."""

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
        try:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=self.stream, flush=True)
        except BrokenPipeError:  # nobody reads any more (`| head`)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)
        except OSError:  # the log's disk is full
            return

    def settled(self, task_id: str) -> None:
        self.clock.total -= 1

    def started(self, task_id: str, label: str) -> None:
        self.begun += task_id not in self.labels
        self.labels[task_id], self.said[task_id] = label, time.monotonic()
        self.note(f"[{self.begun}/{self.clock.total}] {label}: started ({task_id})")

    def training(self, task_id: str, reading: Reading) -> None:
        if time.monotonic() - self.said[task_id] >= self.every:
            self.said[task_id] = time.monotonic()
            self.note(f"{self.labels[task_id]}: epoch {reading.epoch}/{reading.epochs}, {reading_text(reading)}")

    def point(self, task_id: str, point: CurvePoint) -> None:
        return None

    def stage(self, task_id: str, what: str) -> None:
        return None

    def ended(self, task_id: str, outcome: str, text: str) -> None:
        self.clock.ended += 1
        left = self.clock.left()
        self.note(
            f"[{self.clock.ended}/{self.clock.total}] {self.labels.get(task_id, task_id)}: {text}"
            + (f" ({left} left)" if self.clock.ended < self.clock.total else "")
        )


class RichWatcher:
    """One bar for all tasks and one for each that runs; ended tasks scroll by as lines above."""

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

    def settled(self, task_id: str) -> None:
        self.clock.total -= 1
        self.bars.update(self.overall, total=self.clock.total)

    def started(self, task_id: str, label: str) -> None:
        self.labels[task_id] = label
        if task_id in self.tasks:
            self.bars.remove_task(self.tasks[task_id])
        self.tasks[task_id] = self.bars.add_task(escape(label), total=None, state="loading data")

    def training(self, task_id: str, reading: Reading) -> None:
        self.bars.update(
            self.tasks[task_id], completed=reading.step, total=reading.steps, state=escape(reading_text(reading))
        )

    def point(self, task_id: str, point: CurvePoint) -> None:
        return None

    def stage(self, task_id: str, what: str) -> None:
        self.bars.update(self.tasks[task_id], state=escape(what))

    def ended(self, task_id: str, outcome: str, text: str) -> None:
        self.clock.ended += 1
        if task_id in self.tasks:
            self.bars.remove_task(self.tasks.pop(task_id))
        left = self.clock.left()
        self.bars.update(self.overall, completed=self.clock.ended, state=f"about {left} left" if left else "")
        colour = {"done": "green", "failed": "red"}.get(outcome, "yellow")
        name = escape(self.labels.get(task_id, task_id))
        self.bars.console.print(f"[{colour}]{outcome:>11}[/] {name}: {escape(text)}")


def watch(total: int, console: Console | None = None) -> PlainWatcher | RichWatcher:
    """Bars if standard output is a terminal, lines if it is not."""
    console = console or Console()
    return RichWatcher(total, console) if console.is_terminal else PlainWatcher(total, sys.stdout)
