"""The speed table on the disk: table.json, from which table.csv and table.md are made. Owns its layout.

Each row is written as soon as it is measured. Rows of other code or another machine are dropped when a run begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.markdown import document
from harness.analysis.notes import Note
from harness.analysis.tables import Table
from harness.store.atomic import write_text
from tests.benchmarks.machine import Limits

NOTES = (
    "ratio: how many times faster than the conventional way, by the medians of rounds taken in turns (A B A B); "
    "spread: the least and the largest ratio of a round.",
    "of limit: operations a second, of products and convolutions, forward and backward, over the most that the machine "
    "does in matrix products of that precision.",
    "memory: the most that ours added to what the process (CUDA: the device) held before, its data included.",
)
HEADER = (
    "what",
    "case",
    "ours",
    "conventional",
    "unit",
    "ratio",
    "spread",
    "of limit",
    "memory",
    "conventional way",
    "remark",
)
NONE = "–"


class SpeedTable:
    """The rows of one code on one machine."""

    def __init__(self, directory: Path, machine: Mapping[str, Any]) -> None:
        """`machine` is what the rows must have in common, as `machine.describe` says it."""
        self.directory, self.machine = directory, dict(machine)
        self.rows: list[dict[str, Any]] = []
        self.limits: Limits | None = None
        """As measured when the table was begun."""
        path = directory / "table.json"
        stored = json.loads(path.read_text()) if path.exists() else {}
        self.dropped = len(stored.get("rows", ()))
        """How many stored rows are of other code or another machine."""
        if stored.get("machine") == self.machine:
            self.rows, self.limits, self.dropped = stored["rows"], Limits(**stored["limits"]), 0

    def has(self, what: str, case: str, max_seconds: float) -> bool:
        """Whether a row was measured for as long as this, or longer."""
        same = [row for row in self.rows if (row["what"], row["case"]) == (what, case)]
        return any(row["max_seconds"] >= max_seconds for row in same)

    def add(self, row: dict[str, Any]) -> None:
        """Write a row, in place of an earlier one of the same case."""
        same = (row["what"], row["case"])
        self.rows = [old for old in self.rows if (old["what"], old["case"]) != same] + [row]
        assert self.limits is not None
        stored = {"machine": self.machine, "limits": asdict(self.limits), "rows": self.rows}
        write_text(self.directory / "table.json", json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
        columns = [column for column in row if not column.endswith("_rounds")]
        frame = pd.DataFrame(self.rows, columns=columns).assign(
            **{name: self.machine[name] for name in ("device", "threads", "torch", "python")}
        )
        write_text(self.directory / "table.csv", frame.to_csv(index=False, lineterminator="\n"))
        write_text(self.directory / "table.md", self.markdown())

    def markdown(self) -> str:
        """The machine, the rows and how to read them."""
        assert self.limits is not None
        machine = {
            **{name: value for name, value in self.machine.items() if name != "code"},
            "matrix products, float32": f"{self.limits.float32 / 1e9:,.0f} GFLOP/s",
            "matrix products, bfloat16": f"{self.limits.bfloat16 / 1e9:,.0f} GFLOP/s",
            "commits": ", ".join(dict.fromkeys(str(row["commit"]) for row in self.rows)),
            "measured": " to ".join(dict.fromkeys(pick(row["measured"] for row in self.rows) for pick in (min, max))),
        }
        rows = tuple(_line(row) for row in self.rows)
        return document(
            "Speed",
            [
                Table("Machine", ("", "as measured"), tuple((k, str(v)) for k, v in machine.items()), labels=2),
                Table("Rows", HEADER, rows, labels=2, notes=(Note("How to read it", NOTES),)),
            ],
        )


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    memory, share = row["memory_bytes"], row["share_of_limit"]
    return (
        row["what"],
        row["case"],
        number(row["ours"]),
        NONE if row["conventional"] is None else number(row["conventional"]),
        row["unit"],
        NONE if row["ratio"] is None else f"{number(row['ratio'])}x",
        NONE if row["ratio"] is None else f"{number(row['ratio_min'])}..{number(row['ratio_max'])}x",
        NONE if share is None else f"{share:.0%} {row['limit']}",
        NONE if memory is None else f"{number(memory / 2**20)} MiB",
        row["against"] or NONE,
        row["note"] or "",
    )


def number(value: float) -> str:
    """1,234,000; 1,234; 123; 12.3; 0.0123."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
