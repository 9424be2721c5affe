"""What stands below a table: how its rows differ besides the method, and what a reader must know to trust it.

All of it is computed from the cells and results; nothing is said that was not found there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.frame import Record, text_of
from harness.analysis.layout import Key, field_name, said
from harness.suite.cell import Cell, CollapseSpec

_NOT_COMPARED = {"schema_version", "method", "settings", "seed"}
_COMMON_SETTINGS = "projector"  # the head, which every trained method has: its size is no part of an objective


@dataclass(frozen=True)
class Note:
    """A heading and its lines, each one sentence of plain text."""

    heading: str
    lines: tuple[str, ...]


def notes(
    cells: Mapping[tuple[Key, Key], tuple[Record, ...]], row_names: Sequence[str], column_names: Sequence[str]
) -> list[Note]:
    """Every note that a table of these cells, by row and column as printed, must carry."""
    if not cells:
        return []
    records = list({id(record): record for group in cells.values() for record in group}.values())
    sections = [
        ("What differs between rows besides the method", _differences(cells, {*row_names, *column_names})),
        ("How to read it", _reading(cells, records)),
        ("Code, libraries and devices", _provenance(records)),
        ("Stale", [f"{_name(r)}: {r.stale}" for r in records if r.stale and r.status == "done"]),
        ("Failed", [f"{_name(r)}: {_one_line(r.reason)}" for r in records if r.status == "failed"]),
        ("Skipped", _by_reason(r for r in records if r.status == "skipped")),
        ("No data", _by_reason(r for r in records if r.status == "no data")),
        ("Not done", _unfinished(records)),
    ]
    return [Note(heading, tuple(lines)) for heading, lines in sections if lines]


def _differences(cells: Mapping[tuple[Key, Key], tuple[Record, ...]], shown: Collection[str]) -> list[str]:
    """A line for each field in which rows of one column differ; said once if it holds in every column."""
    by_column: dict[Key, dict[str, list[Cell]]] = {}
    for (row, column), records in cells.items():
        here = by_column.setdefault(column, {}).setdefault(" ".join(said(row)), [])
        here.extend(record.cell for record in records)
    lines = {column: list(_compared(rows, {field_name(name) for name in shown})) for column, rows in by_column.items()}
    everywhere = [line for line in next(iter(lines.values()), []) if all(line in own for own in lines.values())]
    apart = [
        f"{' '.join(said(column))}: {line}" for column, own in lines.items() for line in own if line not in everywhere
    ]
    return everywhere + apart or ["nothing" if len(cells) > 1 else "there is one row"]


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
        own = {row: [_flat(c.settings) for c in cells if c.method == method] for row, cells in rows.items()}
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


def _reading(cells: Mapping[tuple[Key, Key], tuple[Record, ...]], records: list[Record]) -> list[str]:
    sizes = sorted({len(group) for group in cells.values()})
    seeds = sorted({record.cell.seed for record in records})
    counts = " or ".join(str(size) for size in sizes)
    if sizes and sizes[-1] > 1:
        many = f"seeds {', '.join(map(str, seeds))}" if seeds else "seeds"
        lines = [f"Entries are mean ± sample standard deviation over n = {counts} runs ({many}); n = 1 has no spread."]
    else:
        lines = [f"Entries are single runs (seed {', '.join(map(str, seeds))}): there is no spread."] if seeds else []
    for group in cells.values():
        if len({_without_seed(record.cell) for record in group}) > 1:
            lines.append(f"The entry of {_name(group[0])} mixes cells that differ by more than their seed.")
    rules = {record.cell.evaluation.collapse for record in records if record.collapsed}
    lines += [f"Collapsed: {_rule(rule)}." for rule in sorted(rules, key=repr)]
    done = [record.result for record in records if record.result is not None and record.result.cost is not None]
    if done and any(result.provenance.device.startswith("cpu") for result in done):
        lines.append(
            "Peak memory on a CPU is the process's highest so far, an upper bound for a cell that was not its first."
        )
    return lines


def _provenance(records: list[Record]) -> list[str]:
    """What all results share in one line, and a line for each thing they do not share."""
    made = [record.result.provenance for record in records if record.result is not None]
    if not made:
        return []
    facts: dict[str, list[str]] = {"device": [p.device for p in made], "threads": [str(p.threads) for p in made]}
    for name in dict.fromkeys(name for p in made for name in p.versions):
        facts[name] = [p.versions.get(name, "unknown") for p in made]
    facts["commit"] = [(p.commit or "none")[:12] + (" with changes not committed" if p.dirty else "") for p in made]
    same = [f"{name} {values[0]}" for name, values in facts.items() if len(set(values)) == 1]
    whose = f"All {len(made)} results" if len(made) > 1 else "The one result"
    lines = [f"{whose}: {', '.join(same)}."] if same else []
    for name, values in facts.items():
        if len(set(values)) > 1:
            counts = [f"{value} ({n} result{'s' * (n > 1)})" for value, n in sorted(Counter(values).items())]
            lines.append(f"Mixed {name}: {'; '.join(counts)}")
    if (shared := len({p.shared_digest for p in made})) > 1:
        lines.append(f"Mixed code: results were made with {shared} versions of the code that all methods share.")
    digests: dict[str, set[str]] = {}
    for record in records:
        if record.result is not None:
            digests.setdefault(record.result.cell.method, set()).add(record.result.provenance.method_digest)
    mixed = [f"{method} ({len(found)} versions)" for method, found in digests.items() if len(found) > 1]
    return lines + ([f"Mixed code of methods: {', '.join(mixed)}."] if mixed else [])


def _unfinished(records: list[Record]) -> list[str]:
    left = [r for r in records if r.status in ("pending", "running", "interrupted")]
    lines = [f"{count} {status}" for status, count in Counter(r.status for r in left).items()]
    return lines + [f"{_name(r)}: its result is not used: {r.reason}" for r in left if r.reason]


def _by_reason(records: Iterable[Record]) -> list[str]:
    names: dict[str, list[str]] = {}
    for record in records:
        names.setdefault(_one_line(record.reason), []).append(_name(record))
    return [f"{', '.join(dict.fromkeys(found))}: {reason}" for reason, found in names.items()]


def _name(record: Record) -> str:
    """`w_mse d=4 (digits, seed 0, cell ID)`."""
    return f"{record.placed.row} ({record.placed.dataset}, seed {record.cell.seed}, cell {record.cell.id})"


def _rule(rule: CollapseSpec) -> str:
    return (
        f"std x sqrt(D) of the normalised features below {rule.min_std:g}, or RankMe below "
        f"{100 * rule.min_rank_fraction:g} % of D, on {rule.consecutive} evaluations in a row (all, if fewer)"
    )


def _is_unused(name: str, cells: list[Cell]) -> bool:
    return bool(cells) and name not in _NOT_COMPARED and all(getattr(cell, name) is None for cell in cells)


def _fields(cell: Cell) -> dict[str, Any]:
    tree = cell.model_dump(mode="json")
    common = (
        {_COMMON_SETTINGS: tree["settings"].get(_COMMON_SETTINGS)} if tree["settings"].get(_COMMON_SETTINGS) else {}
    )
    rest = {name: value for name, value in tree.items() if name not in _NOT_COMPARED and value is not None}
    return _flat(rest | common)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {f"{prefix}{name}": value}
    return flat


def _without_seed(cell: Cell) -> str:
    return json.dumps(cell.model_dump(mode="json", exclude={"seed"}), sort_keys=True)


def _one_line(text: str | None) -> str:
    return " ".join((text or "unknown").split())
