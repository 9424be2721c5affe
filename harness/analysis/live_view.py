"""A snapshot of a run as lines of text for a terminal of any width and height. Owns the layout; computes no number.

No line is longer than the width, and there are no more lines than the height: what does not fit is counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from harness.analysis.entries import told_apart
from harness.analysis.frame import Record, first_metrics
from harness.analysis.live import Running, Snapshot
from harness.progress import duration, first_line
from harness.spec.metric import Metric
from harness.store.progress import RunProgress

COLOURS = {
    "done": "green",
    "failed": "red",
    "pruned": "magenta",
    "running": "cyan",
    "interrupted": "yellow",
    "pending": "bright_black",
    "no data": "yellow",
    "skipped": "bright_black",
}
BLOCKS = "▁▂▃▄▅▆▇█"
NARROWEST = 20
_LINES_OF_A_CELL = 2
_MOST_CURVE = 24  # columns of one sparkline


def frame(snapshot: Snapshot, width: int, height: int | None = None) -> list[Text]:
    """The lines of one picture: the cells by state, those that run, the latest failures and results.

    Args:
        width: columns; fewer than `NARROWEST` are taken for that many.
        height: lines; None for as many as it takes.
    """
    width = max(width, NARROWEST)
    lines = _head(snapshot, width)
    room = None if height is None else max(0, height - len(lines))
    for section in (_running, _failures, _finished):
        part = section(snapshot, width, room)
        lines += part
        room = None if room is None else room - len(part)
    return [_cut(line, width) for line in lines[:height]]


def sparkline(values: Sequence[float], width: int) -> str:
    """The values as one row of blocks, from the smallest to the largest; more values than columns are averaged in
    groups. A constant is drawn low."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    columns = min(width, len(finite))
    edges = [round(place * len(finite) / columns) for place in range(columns + 1)]
    means = [math.fsum(finite[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((mean - low) * scale)] for mean in means)


def bar(parts: Mapping[str, int], width: int) -> Text:
    """A bar of so many columns, shared by the parts by their size, in the colours of their names: every part that is
    there has at least a column where there is one for each."""
    total = sum(parts.values())
    shown = Text()
    if not total:
        return shown
    present = {name: count for name, count in parts.items() if count}
    least = 1 if len(present) <= width else 0
    columns = {name: max(least, math.floor(width * count / total)) for name, count in present.items()}
    while (spare := width - sum(columns.values())) != 0:  # the largest part takes what rounding left
        largest = max(columns, key=lambda name: columns[name])
        columns[largest] += spare
    for name, count in columns.items():
        filled = "░" if name in ("pending", "interrupted", "no data") else "█"
        shown.append(filled * count, style=COLOURS.get(name, ""))
    return shown


def _head(snapshot: Snapshot, width: int) -> list[Text]:
    states = {name: snapshot.states.get(name, 0) for name in COLOURS}
    ended = snapshot.planned - snapshot.open - states["no data"]
    counts = Text(f"{ended} of {snapshot.planned} cells ended: " if snapshot.planned else "no cell can run: ")
    said = [Text(f"{count} {name}", style=COLOURS[name]) for name, count in states.items() if count]
    counts.append_text(Text(", ").join(said))
    speed = []
    if snapshot.views_per_second:
        speed.append(f"{snapshot.views_per_second:,.0f} views/s")
    if snapshot.seconds_left is not None and snapshot.open:
        word = "more than" if snapshot.unknown else "about"
        speed.append(f"{word} {duration(snapshot.seconds_left)} left")
    if snapshot.open and not snapshot.running:
        speed.append("nothing runs now")
    bars = {name: count for name, count in states.items() if name != "skipped"}
    lines = [Text(snapshot.title, style="bold"), bar(bars, width), counts]
    return lines + ([Text(", ".join(speed))] if speed else [])


def _running(snapshot: Snapshot, width: int, room: int | None) -> list[Text]:
    cells = snapshot.running
    if not cells:
        return []
    most = len(cells)
    if room is not None and room < 2 + _LINES_OF_A_CELL * most:  # the last line says how many are left out
        most = max(0, (room - 3) // _LINES_OF_A_CELL)
    lines = [Text(), Text("running", style="bold")]
    for cell in cells[:most]:
        lines += _cell(cell, width)
    return lines + _rest(len(cells) - most, "running")


def _cell(cell: Running, width: int) -> list[Text]:
    """What it is and how far it has come; then how it goes."""
    progress = cell.progress
    if progress is None:
        return [_spread(cell.name, "starting", width), Text("  no word yet", style="bright_black")]
    if progress.stage == "evaluating":
        return [_spread(cell.name, "evaluating", width), *_curves(cell, progress, width, "")]
    left = f", {duration(progress.seconds_left)} left" if progress.seconds_left is not None else ""
    share = progress.step / progress.steps if progress.steps else 0.0
    where = f"epoch {progress.epoch}/{progress.epochs}, {share:.0%}{left}"
    return [
        _spread(cell.name, where, width),
        *_curves(cell, progress, width, f"{progress.views_per_second:,.0f} views/s"),
    ]


def _curves(cell: Running, progress: RunProgress, width: int, speed: str) -> list[Text]:
    """Loss and monitored metrics with their sparklines, and the speed, as much of each as the width allows."""
    series: dict[str, list[float]] = {}
    for point in progress.curve:
        for name, value in point.values.items():
            series.setdefault(name, []).append(value)
    parts = [] if progress.loss is None else [(f"loss {progress.loss:.4g}", series.get("loss", []))]
    for name, values in series.items():
        if name != "loss":
            metric = cell.metrics.get(name) or Metric("unknown", name, unit="")
            parts.append((f"{metric.title} {metric.said(values[-1])}", values))
    texts = sum(cell_len(text) for text, _ in parts) + cell_len(speed)
    gaps = 2 * (len(parts) + bool(speed)) + len(parts)
    columns = min(_MOST_CURVE, (width - texts - gaps) // max(1, len(parts)))
    line = Text("  ")
    for text, values in parts:
        line.append(f"{text} ")
        drawn = sparkline(values, columns) if len(values) > 1 else ""
        line.append(drawn + "  ", style="cyan")
    return [line.append(speed)]


def _failures(snapshot: Snapshot, width: int, room: int | None) -> list[Text]:
    """Two lines each: what failed of what, and the message."""
    items = []
    for name, failure in snapshot.failures:
        kind, _, message = failure.partition(": ")
        items.append([_named(name, kind, "red"), Text(f"  {first_line(message)}")])
    return _section("latest failures", items, room, most=3)


def _finished(snapshot: Snapshot, width: int, room: int | None) -> list[Text]:
    return _section("latest results", [[_named(name, _outcome(r), "green")] for name, r in snapshot.finished], room)


def _outcome(record: Record) -> str:
    """The first metric of each evaluation, in the order of the suite."""
    parts = []
    if record.result is not None:
        measured, values = told_apart(record.result.measured), record.result.metrics
        shown = [name for name in first_metrics([record]) if name in values]
        parts = [f"{measured[name].title} {measured[name].said(values[name])}" for name in shown]
    return ", ".join(parts + (["collapsed"] if record.collapsed else []))


def _named(name: str, text: str, colour: str) -> Text:
    return Text.assemble((name, colour), f": {text}")


def _section(title: str, items: Sequence[list[Text]], room: int | None, most: int = 5) -> list[Text]:
    """A heading and the lines of the first items; none where there is no room for one."""
    if room is not None and items:
        most = min(most, (room - 2) // len(items[0]))
    shown = [line for item in items[: max(0, most)] for line in item]
    return [Text(), Text(title, style="bold"), *shown] if shown else []


def _rest(count: int, what: str) -> list[Text]:
    return [Text(f"and {count} more {what}", style="bright_black")] if count else []


def _spread(left: str, right: str, width: int) -> Text:
    """One to the left and one to the right edge; where both do not fit, the left one is cut before its seed."""
    room = max(8, width - cell_len(right) - 2)
    if cell_len(left) > room:
        rest, comma, seed = left.rpartition(",")
        head = set_cell_size(rest, max(1, room - 1 - cell_len(comma + seed)))
        left = set_cell_size(f"{head.rstrip()}…{comma}{seed}", room).rstrip()
    name = Text(left, style="cyan")
    space = max(1, width - cell_len(name.plain) - cell_len(right))
    return name.append(" " * space).append(right, style="default")


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line
