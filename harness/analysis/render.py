"""Tables for the terminal, as rich draws them. Computes nothing; the text is that of the Markdown file.

A table wider than the terminal is drawn in parts, each with the columns that name the rows: no number is broken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from harness.analysis.claims import Answer, Verdict, answer_of
from harness.analysis.statistics_table import Statistics
from harness.analysis.tables import Table

_FRAME = 3  # a column's two spaces and one line
_ANSWERS: Mapping[Answer, str] = {
    "supported": "bold green",
    "refuted": "bold red",
    "inconclusive": "bold yellow",
    "not testable": "bold",
}


def render(tables: Iterable[Table], verdicts: Iterable[Verdict] = ()) -> RenderableType:
    """All tables with their statistics and notes, then what became of the suite's claims, for `Console.print`.

    No text is read as rich's markup.
    """
    parts: list[RenderableType] = []
    for table in tables:
        parts.append(_Fitted(table.title, table, table.bold))
        if table.statistics is not None:
            parts += [_Fitted("Statistics", table.statistics), *map(_line, table.statistics.notes)]
        for note in table.notes:
            parts += [Text(note.heading, style="bold"), *map(_line, note.lines)]
        parts.append(Text(""))
    told = list(verdicts)
    parts += [Text("Claims", style="bold")] if told else []
    for verdict in told:
        answer = Text(answer_of(verdict), style=_ANSWERS[verdict.answer])
        parts += [_line(Text.assemble(answer, f": {verdict.claim}")), *(_line(line, 4) for line in verdict.lines)]
    return Group(*(parts if told else parts[:-1]))


@dataclass(frozen=True)
class _Fitted:
    """A table that fits the console it is printed on, in as many parts as that takes."""

    title: str
    table: Table | Statistics
    bold: Collection[tuple[int, int]] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title, style="bold")
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
        for at, row in enumerate(self.table.rows):
            drawn.add_row(*(Text(row[index], style=_style(row[index], (at, index) in self.bold)) for index in columns))
        return drawn


def _line(text: str | Text, indent: int = 2) -> RenderableType:
    return Padding(text if isinstance(text, Text) else Text(text), (0, 0, 0, indent))


def _style(text: str, bold: bool) -> str:
    colour = "red" if "failed" in text or "collapsed" in text else ""
    colour = colour or ("yellow" if "planned" in text or "stale" in text else "")
    return f"bold {colour}".strip() if bold else colour
