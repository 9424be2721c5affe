"""Tables for the terminal, as rich draws them. Computes nothing; the text is that of the Markdown file.

A table wider than the terminal is drawn in parts, each with the columns that name the rows: no number is broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from harness.analysis.tables import Table

_FRAME = 3  # a column's two spaces and one line


def render(tables: Iterable[Table]) -> RenderableType:
    """All tables with their notes, for `Console.print`. No text is read as rich's markup."""
    parts: list[RenderableType] = []
    for table in tables:
        parts += [_Fitted(table), *_notes(table), Text("")]
    return Group(*parts[:-1])


@dataclass(frozen=True)
class _Fitted:
    """A table that fits the console it is printed on, in as many parts as that takes."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.table.title, style="bold")
        for columns in self._parts(options.max_width):
            yield self._drawn(columns, options.max_width)

    def _parts(self, room: int) -> Iterator[list[int]]:
        """Indices of the columns of each part, the naming ones in all of them."""
        naming = list(range(self.table.labels))
        used = fixed = 1 + sum(self._width(index) + _FRAME for index in naming)
        part: list[int] = []
        for index in range(self.table.labels, len(self.table.header)):
            width = self._width(index) + _FRAME
            if part and used + width > room:
                yield naming + part
                part, used = [], fixed
            part.append(index)
            used += width
        yield naming + part

    def _width(self, index: int) -> int:
        """The least width at which only the heading is wrapped, and only between words."""
        words = self._heading(index).split()
        return max(map(cell_len, (*words, *(row[index] for row in self.table.rows))), default=0)

    def _heading(self, index: int) -> str:
        """As it is, but a long name over narrow values (`slicing_iterations` over 4) is broken at its underscores."""
        name = self.table.header[index]
        values = max((cell_len(row[index]) for row in self.table.rows), default=0)
        return name.replace("_", "_\n") if index < self.table.labels and cell_len(name) > values else name

    def _drawn(self, columns: list[int], room: int) -> RichTable:
        """These columns, as wide as their headings if there is room, else as narrow as may be."""
        widths = {index: max(self._width(index), *map(cell_len, self._heading(index).split("\n"))) for index in columns}
        tight = 1 + sum(width + _FRAME for width in widths.values()) > room
        drawn = RichTable(header_style="bold")
        for index in columns:
            justify: JustifyMethod = "left" if index < self.table.labels else "right"
            width = self._width(index) if tight else widths[index]
            drawn.add_column(Text(self._heading(index)), justify=justify, width=width, overflow="fold")
        for row in self.table.rows:
            drawn.add_row(*(Text(row[index], style=_style(row[index])) for index in columns))
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
