"""Where each cell stands in a table: its row and its column. Owns the rule that nothing but seeds shares an entry: what
varies and is named neither in the rows nor in the columns is put into the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.analysis.frame import NOTHING, Record
from harness.suite.axes import ALIASES

Key = tuple[str, ...]
Cells = Mapping[tuple[Key, Key], tuple[Record, ...]]
"""By row and column as printed."""


@dataclass(frozen=True)
class Grid:
    """Records arranged by rows and columns."""

    row_names: Key
    column_names: Key
    cells: Cells

    @property
    def rows(self) -> list[Key]:
        return list(dict.fromkeys(row for row, _ in self.cells))

    @property
    def columns(self) -> list[Key]:
        return list(dict.fromkeys(column for _, column in self.cells))

    def in_row(self, row: Key) -> list[Record]:
        """Every record of a row, in all columns."""
        return [record for (own, _), records in self.cells.items() if own == row for record in records]


def left_over(records: Sequence[Record], used: Sequence[str]) -> Key:
    """What varies and has no place yet: the method's label (always, beside datasets alone), the dataset, and axes other
    than the seed."""
    names = list(dict.fromkeys(name for record in records for name in record.placed.axes))
    taken = {field_name(name) for name in used} | {"seed"}
    free = [name for name in ("method", "dataset", *names) if field_name(name) not in taken]
    varying = [name for name in free if len({record.text(name) for record in records}) > 1]
    first = ["method"] if "method" in free and not set(used) - {"dataset"} else []
    return tuple(dict.fromkeys([*first, *varying]))


def field_name(name: str) -> str:
    """The last part of an axis's name, aliases resolved: `d` is `views`, `transform.eps` is `eps`."""
    last = name.rpartition(".")[2]
    return ALIASES.get(last, last)


def arrange(records: Iterable[Record], rows: Sequence[str], columns: Sequence[str]) -> Grid:
    """Each cell once at its place: a cell planned twice under one label is still one number."""
    cells: dict[tuple[Key, Key], dict[str, Record]] = {}
    for record in records:
        cells.setdefault((_key(record, rows), _key(record, columns)), {}).setdefault(record.placed.id, record)
    return Grid(tuple(rows), tuple(columns), {place: tuple(records.values()) for place, records in cells.items()})


def split(records: Iterable[Record], names: Key) -> list[tuple[Key, list[Record]]]:
    """Records grouped by what these names stand for, in order of first appearance."""
    keyed = [(_key(record, names), record) for record in records]
    order = list(dict.fromkeys(key for key, _ in keyed))
    keyed.sort(key=lambda pair: order.index(pair[0]))
    return [(key, [record for _, record in group]) for key, group in groupby(keyed, key=lambda pair: pair[0])]


def said(key: Key) -> list[str]:
    """The parts of a key that say something."""
    return [text for text in key if text != NOTHING]


def _key(record: Record, names: Sequence[str]) -> Key:
    return tuple(record.text(name) for name in names)
