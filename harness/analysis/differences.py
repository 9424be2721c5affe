"""How the rows of a table differ besides the method: what the suite says of their cells is compared field by field,
column by column, under the names that a suite file uses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.frame import text_of
from harness.analysis.layout import Cells, Key, field_name, said
from harness.suite.axes import Ambiguous, locate
from harness.suite.nodes import Node, marked
from harness.suite.row import NEEDED_TRAINING_FIELDS, TRAINING_FIELDS, RowFields

_NOT_COMPARED = {"method", "settings", "seed", "monitors"}  # a monitor changes no number of a table
_OFF_BY_DEFAULT = {*TRAINING_FIELDS} - {*NEEDED_TRAINING_FIELDS}  # not worth a word where a row has none
_COMMON_SETTINGS = "projector"  # the head, which every trained method has: its size is no part of an objective


def differences(cells: Cells, row_names: Sequence[str], column_names: Sequence[str]) -> list[str]:
    """A line for each field in which rows of one column differ; said once if it holds in every column."""
    shown = _shown_fields(cells, (*row_names, *column_names))
    by_column: dict[Key, dict[str, list[RowFields]]] = {}
    for (row, column), records in cells.items():
        here = by_column.setdefault(column, {}).setdefault(_row_name(row, row_names, cells), [])
        here.extend(record.placed.fields for record in records)
    lines = {column: list(_compared(rows, shown)) for column, rows in by_column.items()}
    everywhere = [line for line in next(iter(lines.values()), []) if all(line in own for own in lines.values())]
    by_part = [
        f"{' '.join(said(column))}: {line}" for column, own in lines.items() for line in own if line not in everywhere
    ]
    return everywhere + by_part or ["nothing" if len(cells) > 1 else "there is one row"]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted paths for keys."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        leaves |= flat(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
    return leaves


def _row_name(row: Key, names: Sequence[str], cells: Cells) -> str:
    """As the suite calls it, `w_mse d=4`, where its cells have one such name; else what its columns say."""
    called = {record.placed.row for (own, _), records in cells.items() if own == row for record in records}
    if len(called) == 1:
        return called.pop()
    return " ".join(text if name == "method" else f"{name}={text}" for name, text in zip(names, row, strict=True))


@dataclass(frozen=True)
class _Shown:
    """What a table's rows and columns show already."""

    paths: frozenset[str]
    """Of fields."""
    names: frozenset[str]
    """Last parts of names that no field answers to."""

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and (path in self.paths or field_name(path) in self.names)


def _shown_fields(cells: Cells, names: Sequence[str]) -> _Shown:
    trees = [marked(r.placed.fields.model_dump(mode="json")) for records in cells.values() for r in records]
    paths_of = {name: {path for tree in trees if (path := _path_of(name, tree))} for name in names}
    paths = frozenset(path for places in paths_of.values() for path in places)
    return _Shown(paths, frozenset(field_name(name) for name, places in paths_of.items() if not places))


def _path_of(name: str, tree: Node) -> str | None:
    """Where the field of that name stands, the settings' own paths without `settings`."""
    try:
        path = locate(name, tree)
    except Ambiguous:
        return None
    return None if path is None else ".".join(path[1:] if path[0] == "settings" else path)


def _compared(rows: Mapping[str, list[RowFields]], shown: _Shown) -> Iterator[str]:
    for row, own in rows.items():
        if unused := [name for name in RowFields.model_fields if _is_unused(name, own)]:
            yield f"{row} has no {', '.join(unused)}"
    asked = [fields.evaluations.keys() for own in rows.values() for fields in own]
    everywhere = set.intersection(*map(set, asked)) if asked else set()
    for path, values in _by_path({row: [_common(f, everywhere) for f in own] for row, own in rows.items()}):
        if path not in shown:
            yield from _by_value(path, values)
    for method in dict.fromkeys(fields.method for own in rows.values() for fields in own):
        settings = {row: [flat(f.settings) for f in own if f.method == method] for row, own in rows.items()}
        for path, values in _by_path(settings):
            if path not in shown and path.partition(".")[0] != _COMMON_SETTINGS:
                yield from _by_value(f"{method}: {path}", values)


def _by_path(rows: Mapping[str, list[dict[str, Any]]]) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """Each path of flat fields, with the values that every row has there.

    What a row has not is None, unless it has the part that the field belongs to otherwise: not at all, or with fields.
    """
    for path in dict.fromkeys(path for own in rows.values() for fields in own for path in fields):
        yield path, {row: [f.get(path) for f in own if _answers(f, path)] for row, own in rows.items()}


def _answers(fields: Mapping[str, Any], path: str) -> bool:
    if path in fields:
        return True
    top = path.partition(".")[0]
    here = any(other == top or other.startswith(f"{top}.") for other in fields)
    return here and not any(other.startswith(f"{path}.") for other in fields)


def _is_unused(name: str, cells: list[RowFields]) -> bool:
    compared = name not in _NOT_COMPARED | _OFF_BY_DEFAULT
    return bool(cells) and compared and all(getattr(fields, name) is None for fields in cells)


def _common(fields: RowFields, everywhere: Collection[str]) -> dict[str, Any]:
    """What is compared across methods, flat; an evaluation that some cell does not have is one value.

    Args:
        everywhere: names of evaluations that every cell has.
    """
    tree = fields.model_dump(mode="json")
    head = tree["settings"].get(_COMMON_SETTINGS)
    rest = {name: value for name, value in tree.items() if name not in _NOT_COMPARED and value is not None}
    rest["evaluations"] = {
        name: asked if name in everywhere else text_of({key: v for key, v in asked.items() if v is not None})
        for name, asked in tree["evaluations"].items()
        if asked is not None
    }
    return flat(rest | ({_COMMON_SETTINGS: head} if head else {}))


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
