"""Whom a command tells of its runs, beside the store: a file of lines, or what users bring. Owns the contract; imports
no torch.

A file of this folder ends with `LOGGER = LoggerEntry(...)`; `harness.registry` finds it, and those from elsewhere. None
is told anything unless it is asked for: `harness run --logger jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from harness.store.records import CurvePoint, EvaluationRecord


@dataclass(frozen=True)
class Run:
    """One pretraining with its evaluations, as loggers know it."""

    id: str
    """The pretraining's."""
    label: str
    """`w_mse d=4 on digits, seed 0`."""
    config: dict[str, Any]
    """The whole pretraining, every default written out, as plain JSON."""


class Logger(Protocol):
    """Told by the command's own process, never from two threads at once. What it raises is one warning to the user, and
    it is told no more."""

    def started(self, run: Run) -> None:
        """Again where a run goes on in another process, or in another command."""

    def point(self, run: Run, point: CurvePoint) -> None:
        """A reading of the training or of its monitors (`knn5_top1`), by epoch and step. A run that is resumed tells
        those of before again."""

    def answered(self, run: Run, name: str, answer: EvaluationRecord) -> None:
        """What an evaluation gave, or its failure; `name` is what the suite calls it."""

    def ended(self, run: Run, outcome: str, text: str) -> None:
        """`outcome` as `harness.progress.Watcher.ended` has it."""

    def close(self) -> None:
        """The command is at its end."""


@dataclass(frozen=True)
class LoggerEntry:
    """A logger as the command line finds it."""

    name: str
    """As `--logger` has it."""
    summary: str
    """One line for `harness list loggers`."""
    build: str | Callable[[Path, str], Logger]
    """(directory of the suite's results, its name) -> logger: "module:Class", imported when it is asked for, or the
    class itself."""
