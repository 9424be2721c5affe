"""How the rows of a table differ besides the method: their cells are compared field by field, column by column."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from harness.analysis.frame import text_of
from harness.analysis.layout import Cells, Key, field_name, said
from harness.suite.cell import Cell

_NOT_COMPARED = {"schema_version", "method", "settings", "seed"}
_COMMON_SETTINGS = "projector"  # the head, which every trained method has: its size is no part of an objective


def differences(cells: Cells, row_names: Sequence[str], column_names: Sequence[str]) -> list[str]:
    """A line for each field in which rows of one column differ; said once if it holds in every column."""
    shown = {field_name(name) for name in (*row_names, *column_names)}
    by_column: dict[Key, dict[str, list[Cell]]] = {}
    for (row, column), records in cells.items():
        here = by_column.setdefault(column, {}).setdefault(_row_name(row, row_names, cells), [])
        here.extend(record.cell for record in records)
    lines = {column: list(_compared(rows, shown)) for column, rows in by_column.items()}
    everywhere = [line for line in next(iter(lines.values()), []) if all(line in own for own in lines.values())]
    apart = [
        f"{' '.join(said(column))}: {line}" for column, own in lines.items() for line in own if line not in everywhere
    ]
    return everywhere + apart or ["nothing" if len(cells) > 1 else "there is one row"]


def _row_name(row: Key, names: Sequence[str], cells: Cells) -> str:
    """As the suite calls it, `w_mse d=4`, where its cells have one such name; else what its columns say."""
    called = {record.placed.row for (own, _), records in cells.items() if own == row for record in records}
    if len(called) == 1:
        return called.pop()
    return " ".join(text if name == "method" else f"{name}={text}" for name, text in zip(names, row, strict=True))


def _compared(rows: Mapping[str, list[Cell]], shown: Collection[str]) -> Iterator[str]:
    unused = {row: [name for name in Cell.model_fields if _is_unused(name, cells)] for row, cells in rows.items()}
    for row, names in unused.items():
        if names:
            yield f"{row} has no {', '.join(names)}"
    fields = {row: [_fields(cell) for cell in cells] for row, cells in rows.items()}
    for path in dict.fromkeys(path for cells in fields.values() for cell in cells for path in cell):
        if field_name(path) not in shown:
            yield from _by_value(path, {row: [c[path] for c in cells if path in c] for row, cells in fields.items()})
    for method in dict.fromkeys(cell.method for cells in rows.values() for cell in cells):
        own = {row: [flat(c.settings) for c in cells if c.method == method] for row, cells in rows.items()}
        for path in dict.fromkeys(path for cells in own.values() for cell in cells for path in cell):
            if field_name(path) not in shown and not path.startswith(_COMMON_SETTINGS):
                values = {row: [c.get(path) for c in cells] for row, cells in own.items()}
                yield from _by_value(f"{method}: {path}", values)


def _by_value(path: str, rows: Mapping[str, list[Any]]) -> Iterator[str]:
    """`path: 2 in A, B; 4 in C`, if there is more than one value; one that many rows have is "in the other rows"."""
    places: dict[str, list[str]] = {}
    for row, values in rows.items():
        for text in dict.fromkeys(text_of(value) for value in values):
            places.setdefault(text, []).append(row)
    if len(places) < 2:
        return
    commonest = max(places, key=lambda text: len(places[text]))
    long = len(places[commonest]) > 3
    parts = [f"{text} in {', '.join(names)}" for text, names in places.items() if not (long and text == commonest)]
    yield f"{path}: " + "; ".join(parts + ([f"{commonest} in the other rows"] if long else []))


def _is_unused(name: str, cells: list[Cell]) -> bool:
    return bool(cells) and name not in _NOT_COMPARED and all(getattr(cell, name) is None for cell in cells)


def _fields(cell: Cell) -> dict[str, Any]:
    tree = cell.model_dump(mode="json")
    common = (
        {_COMMON_SETTINGS: tree["settings"].get(_COMMON_SETTINGS)} if tree["settings"].get(_COMMON_SETTINGS) else {}
    )
    rest = {name: value for name, value in tree.items() if name not in _NOT_COMPARED and value is not None}
    return flat(rest | common)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted paths for keys."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {f"{prefix}{name}": value}
    return found
