"""Tables as Markdown that also reads as plain text, and the text files of a suite's results. The same store gives the
same bytes: nothing here looks at a clock, a terminal or an environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.claims import Verdict, answer_of
from harness.analysis.statistics_table import Statistics, statistics_frame
from harness.analysis.tables import Table
from harness.store.atomic import sweep, write_text

if TYPE_CHECKING:
    import pandas as pd

_STALE_WRITER_SECONDS = 3600.0  # no write of a table takes so long


def write_outputs(
    directory: Path, title: str, tables: Sequence[Table], data: pd.DataFrame, verdicts: Sequence[Verdict] = ()
) -> tuple[Path, ...]:
    """Write a suite's results as text, each file atomically, and return their paths.

    `table.csv` is the frame, a row per cell and metric; `statistics.csv` has a row for each row, column and metric of
    a table, over its seeds; `table.md` is the document.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    statistics = statistics_frame((table.title, line) for table in tables for line in table.lines)
    texts = {
        "table.csv": data.to_csv(index=False, lineterminator="\n"),
        "statistics.csv": statistics.to_csv(index=False, lineterminator="\n"),
        "table.md": document(title, tables, verdicts),
    }
    for name, text in texts.items():
        write_text(directory / name, text)
    sweep(directory, older_than_seconds=_STALE_WRITER_SECONDS)
    return tuple(directory / name for name in texts)


def document(title: str, tables: Iterable[Table], verdicts: Iterable[Verdict] = ()) -> str:
    """All tables of a suite with their statistics and notes, and what became of its claims."""
    parts = [f"# {prose(title)}"]
    for table in tables:
        parts += [f"## {prose(table.title)}", grid(table)]
        if table.statistics is not None:
            parts += ["### Statistics", grid(table.statistics), _list(table.statistics.notes)]
        for note in table.notes:
            parts += [f"### {prose(note.heading)}", _list(note.lines)]
    told = [f"- **{answer_of(verdict)}**: {prose(verdict.claim)}{_below(verdict.lines)}" for verdict in verdicts]
    parts += ["## Claims", "\n".join(told)] if told else []
    return "\n\n".join(parts) + "\n"


def grid(table: Table | Statistics) -> str:
    """The table alone: padded columns, numbers to the right, what is best in bold."""
    bold = table.bold if isinstance(table, Table) else ()
    lines = [[_cell(text) for text in line] for line in (table.header, *table.rows)]
    for row, column in bold:
        lines[row + 1][column] = f"**{lines[row + 1][column]}**"
    widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(table.header))]
    rule = ["-" * width if index < table.labels else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    aligned = [
        [
            text.ljust(width) if index < table.labels else text.rjust(width)
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (aligned[0], rule, *aligned[1:]))


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {prose(line)}" for line in lines)


def _below(lines: Iterable[str]) -> str:
    """Lines below an item of a list."""
    return "".join(f"\n  - {prose(line)}" for line in lines)


def prose(text: str) -> str:
    """On one line, with nothing that Markdown would take for a tag or emphasis."""
    text = " ".join(text.split())
    for sign in ("\\", "`", "*", "<"):
        text = text.replace(sign, f"\\{sign}")
    return text


def _cell(text: str) -> str:
    return prose(text).replace("|", "\\|")
