"""`results/NAME/log.jsonl`: a JSON object a line and event, for whatever reads lines.

Owns that file: lines are only ever appended, each by one write, so that several commands may log to it at once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.loggers import LoggerEntry, Run
from harness.store.provenance import utc_now

if TYPE_CHECKING:
    from harness.store.records import CurvePoint, EvaluationRecord

FILE = "log.jsonl"


class JsonLines:
    """Every event as a line with `time` (UTC), `event`, `run` (its id) and what is told of it."""

    def __init__(self, directory: Path, suite: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = os.open(directory / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":  # a process was killed, or the disk full, in a line
            os.write(self._file, b"\n")

    def started(self, run: Run) -> None:
        self._append("started", run, label=run.label, config=run.config)

    def point(self, run: Run, point: CurvePoint) -> None:
        self._append("point", run, **point.model_dump(mode="json"))

    def answered(self, run: Run, name: str, answer: EvaluationRecord) -> None:
        failure = f"{answer.failure.kind}: {answer.failure.message}" if answer.failure else None
        self._append("answered", run, evaluation=name, id=answer.id, metrics=answer.metrics, failure=failure)

    def ended(self, run: Run, outcome: str, text: str) -> None:
        self._append("ended", run, outcome=outcome, text=text)

    def close(self) -> None:
        os.close(self._file)

    def _append(self, event: str, run: Run, **told: Any) -> None:
        line = json.dumps({"time": utc_now(), "event": event, "run": run.id, **told}).encode() + b"\n"
        if os.write(self._file, line) < len(line):
            raise OSError(f"{FILE}: the disk is full")


LOGGER = LoggerEntry("jsonl", f"a line an event in results/NAME/{FILE}", JsonLines)
