"""Measurements as tables for the terminal and Markdown, and as CSV and JSON. Owns the layout; measures nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.analysis.markdown import document
from harness.analysis.notes import Note
from harness.analysis.tables import Table
from harness.bench.growth_table import growth_table
from harness.bench.numbers import NOTHING, bytes_text, number, span
from harness.bench.row import Target, Unit
from harness.bench.timing import Measurement
from harness.store.atomic import write_text

TITLE = "Speed"
HEADER = ("group", "what", "ours", "conventional", "unit", "ratio", "spread", "target", "met", "of limit", "memory")
READING = (
    "ratio: how many times faster than the conventional side, the median of turns taken in pairs (A B A B); spread: "
    "their least and largest, or ours' where there is nothing beside it.",
    "of limit: the least time that the measured matrix products (of the row's precision) or memory bandwidth allow, "
    "whichever is longer, over the time taken; products and convolutions are counted, forward and backward.",
    "memory: what ours added at most to what the process (CUDA: the device) held before, its data included.",
)
COLUMNS = (
    "group",
    "name",
    "unit",
    "ours",
    "conventional",
    "against",
    "ratio",
    "spread_min",
    "spread_max",
    "target",
    "met",
    "share_of_limit",
    "limit",
    "memory_bytes",
    "reason",
    "note",
)


def tables(machine: Mapping[str, Any], found: Sequence[Measurement]) -> list[Table]:
    """The machine, the rows and, where it was measured, how cost grows."""
    main = [m for m in found if m.row.growth is None]
    growth = growth_table([m for m in found if m.row.growth is not None])
    return [_machine_table(machine), *([_main_table(main)] if main else []), *([growth] if growth else [])]


def _machine_table(machine: Mapping[str, Any]) -> Table:
    bfloat16 = machine["bfloat16_flops"]
    lines = {
        "device": machine["device"],
        "threads": f"{machine['threads']} of torch, {machine['dataloader_workers']} DataLoader workers",
        "matrix products, float32": _per_second(machine["float32_flops"], "FLOP"),
        "matrix products, bfloat16": _per_second(bfloat16, "FLOP") if bfloat16 else "none",
        "memory bandwidth": _per_second(machine["bandwidth_bytes"], "B"),
        "fast precision": machine["fast_precision"],
        "libraries": ", ".join(
            f"{name} {machine[name]}" for name in ("torch", "torchvision", "scikit-learn", "python")
        ),
        "code": f"{machine['commit'] or 'unknown'}{', changed since' if machine['dirty'] else ''}",
        "measured": f"{machine['when']}, {machine['seconds_per_row']:g} s a row",
    }
    rows = tuple((name, str(text)) for name, text in lines.items())
    return Table("Machine", ("", "as measured"), rows, labels=2)


def _per_second(value: float, unit: str) -> str:
    for power, prefix in ((12, "T"), (9, "G"), (6, "M")):
        if value >= 10**power:
            return f"{number(value / 10**power)} {prefix}{unit}/s"
    return f"{number(value)} {unit}/s"


def _main_table(found: Sequence[Measurement]) -> Table:
    remarks = [f"{m.row.title}: {m.row.note}." for m in found if m.row.note]
    sides: dict[str, list[str]] = {}
    for m in found:
        if m.row.against:
            sides.setdefault(f"{m.row.group}, {m.row.against}", []).append(m.row.name)
    missing = [f"{m.row.title}: {m.reason}." for m in found if m.reason]
    notes = [
        Note("How to read it", READING),
        Note("The conventional side", tuple(f"{side}: {'; '.join(names)}." for side, names in sides.items())),
        Note("Rows", tuple(remarks)),
        Note("Not measured", tuple(missing)),
    ]
    lines = tuple(_line(m) for m in found)
    return Table("Rows", HEADER, lines, labels=2, notes=tuple(note for note in notes if note.lines))


def _line(m: Measurement) -> tuple[str, ...]:
    row = m.row
    target = NOTHING if row.target is None else target_text(row.target, row.unit)
    if m.reason:
        known = {
            "group": row.group,
            "what": f"{row.name} (not run: {m.reason})",
            "unit": row.unit.name,
            "target": target,
        }
        return tuple(known.get(column, NOTHING) for column in HEADER)
    conventional = NOTHING if m.conventional_value is None else number(m.conventional_value)
    share = NOTHING if m.share is None else f"{100 * m.share:.0f} % {m.limit}"
    times = "x" if m.ratio is not None else ""
    return (
        row.group,
        row.name,
        number(m.value),
        conventional,
        row.unit.name,
        NOTHING if m.ratio is None else f"{number(m.ratio)}x",
        span(*m.spread) + times,
        target,
        {True: "yes", False: "no", None: NOTHING}[m.met],
        share,
        NOTHING if m.memory is None else bytes_text(m.memory),
    )


def target_text(target: Target, unit: Unit) -> str:
    """What a row is to reach, in a few signs."""
    sign = "≤" if target.most else "≥"
    text = {
        "ratio": f"{target.bound:g}x",
        "limit": f"{100 * target.bound:g} % of limit",
        "value": f"{target.bound:g} {unit.name}",
    }
    return f"{sign} {text[target.of]}"


def record(m: Measurement) -> dict[str, Any]:
    """One row as plain values; None where there is none."""
    done = not m.reason
    least, most = m.spread if done else (None, None)
    values = (
        m.row.group,
        m.row.name,
        m.row.unit.name,
        m.value if done else None,
        m.conventional_value,
        m.row.against or None,
        m.ratio,
        least,
        most,
        None if m.row.target is None else target_text(m.row.target, m.row.unit),
        m.met,
        m.share,
        m.limit or None,
        m.memory,
        m.reason or None,
        m.row.note or None,
    )
    return dict(zip(COLUMNS, values, strict=True))


def csv_text(found: Sequence[Measurement]) -> str:
    """A line a row; empty fields where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(record(m) for m in found)
    return text.getvalue()


def json_text(machine: Mapping[str, Any], found: Sequence[Measurement]) -> str:
    """The machine and every row with each of its turns."""
    rows = [record(m) | {"ours_turns": m.ours, "conventional_turns": m.conventional} for m in found]
    return json.dumps({"machine": dict(machine), "rows": rows}, indent=1, ensure_ascii=False) + "\n"


def write(directory: Path, machine: Mapping[str, Any], found: Sequence[Measurement]) -> tuple[Path, ...]:
    """Write table.md, table.csv and table.json, each atomically, and return their paths.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    texts = {
        "table.md": document(TITLE, tables(machine, found)),
        "table.csv": csv_text(found),
        "table.json": json_text(machine, found),
    }
    for name, text in texts.items():
        write_text(directory / name, text)
    return tuple(directory / name for name in texts)
