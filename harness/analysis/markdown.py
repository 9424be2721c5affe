"""Tables as Markdown that also reads as plain text, and the two files of a suite's results. The same store gives the
same bytes: nothing here looks at a clock, a terminal or an environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from harness.analysis.tables import Table
from harness.store.atomic import sweep, write_text

_STALE_WRITER_SECONDS = 3600.0  # no write of a table takes so long


def write_outputs(directory: Path, title: str, tables: Sequence[Table], data: pd.DataFrame) -> tuple[Path, Path]:
    """Write `table.csv` (the frame, a row per cell and metric) and `table.md`, each atomically, and return their paths.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    csv, markdown = directory / "table.csv", directory / "table.md"
    write_text(csv, data.to_csv(index=False, lineterminator="\n"))
    write_text(markdown, document(title, tables))
    sweep(directory, older_than_seconds=_STALE_WRITER_SECONDS)
    return csv, markdown


def document(title: str, tables: Iterable[Table]) -> str:
    """All tables of a suite with their notes."""
    parts = [f"# {_prose(title)}"]
    for table in tables:
        parts += [f"## {_prose(table.title)}", grid(table)]
        for note in table.notes:
            parts += [f"### {_prose(note.heading)}", "\n".join(f"- {_prose(line)}" for line in note.lines)]
    return "\n\n".join(parts) + "\n"


def grid(table: Table) -> str:
    """The table alone: padded columns, numbers to the right."""
    lines = [[_cell(text) for text in line] for line in (table.header, *table.rows)]
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


def _prose(text: str) -> str:
    """On one line, with nothing that Markdown would take for a tag or emphasis."""
    text = " ".join(text.split())
    for sign in ("\\", "`", "*", "<"):
        text = text.replace(sign, f"\\{sign}")
    return text


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")
