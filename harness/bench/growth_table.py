"""How a step's cost grows, axis by axis, as a table of its own. Owns its layout; measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.analysis.notes import Note
from harness.analysis.tables import Table
from harness.bench.growth import AXES, BASE, described
from harness.bench.numbers import NOTHING, bytes_text, number, span
from harness.bench.row import Growth
from harness.bench.timing import Measurement

HEADER = ("what grows", "to", "ms a step", "times the base", "spread", "memory", "times the base's")


def growth_table(found: Sequence[Measurement]) -> Table | None:
    """Every axis with the base's own line in its place; None without measurements."""
    if not found:
        return None
    places = {m.row.growth: m for m in found if m.row.growth is not None}
    base = places.get(Growth("base", 0))
    base = None if base is None or base.reason else base
    lines = [line for name in AXES for line in _axis(name, places, base)]
    missing = tuple(f"{m.row.name}: {m.reason}." for m in found if m.reason)
    notes = [
        Note("Base", (f"{described(BASE)}; the sub-batch is twice the embedding.",)),
        Note("How to read it", ("times the base: the median of turns taken in pairs with the base (A B A B).",)),
        Note("Not measured", missing),
    ]
    return Table("Growth", HEADER, tuple(lines), labels=2, notes=tuple(note for note in notes if note.lines))


def _axis(name: str, places: dict[Growth, Measurement], base: Measurement | None) -> Iterator[tuple[str, ...]]:
    title, values = AXES[name]
    for value in values:
        if value == getattr(BASE, name):
            if base is not None:
                yield (title, f"{value} (base)", number(base.value), "1", *_rest((), base, base))
        elif (m := places.get(Growth(name, value))) is not None:
            if m.reason:
                yield (title, f"{value} (not run)", *[NOTHING] * 5)
            else:
                times = number(1 / m.ratio) if m.ratio else NOTHING
                yield (title, str(value), number(m.value), times, *_rest(m.ratios, m, base))


def _rest(ratios: Iterable[float], m: Measurement, base: Measurement | None) -> tuple[str, str, str]:
    """Spread, memory, and memory beside the base's."""
    grown = [1 / ratio for ratio in ratios]
    memory = NOTHING if m.memory is None else bytes_text(m.memory)
    relative = number(m.memory / base.memory) if base is not None and m.memory and base.memory else NOTHING
    return (span(min(grown), max(grown)) if grown else NOTHING, memory, relative)
