"""Tables for the terminal, as rich draws them. Computes nothing; the text is that of the Markdown file."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from harness.analysis.tables import Table


def render(tables: Iterable[Table]) -> RenderableType:
    """All tables with their notes, for `Console.print`. No text is read as rich's markup."""
    parts: list[RenderableType] = []
    for table in tables:
        parts += [_table(table), *_notes(table), Text("")]
    return Group(*parts[:-1])


def _table(table: Table) -> RichTable:
    drawn = RichTable(title=Text(table.title, style="bold"), title_justify="left", header_style="bold")
    for index, name in enumerate(table.header):
        label = index < table.labels
        drawn.add_column(Text(name), justify="left" if label else "right", no_wrap=label, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(text, style=_style(text)) for text in row))
    return drawn


def _notes(table: Table) -> Iterable[RenderableType]:
    for note in table.notes:
        yield Text(note.heading, style="bold")
        for line in note.lines:
            yield Padding(Text(line), (0, 0, 0, 2))


def _style(text: str) -> str:
    if "failed" in text or "collapsed" in text:
        return "red"
    return "yellow" if "planned" in text or "stale" in text else ""
