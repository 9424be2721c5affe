"""The page's table: a line for each row and dataset, sortable, with intervals, differences and cost. Owns what stands
in its entries and by what they are sorted; the numbers are `Entry`'s and `lines`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.analysis.entries import Entry, title_of
from harness.analysis.frame import NOTHING, Record
from harness.analysis.lines import Line as StatisticsLine
from harness.analysis.statistics import LEVEL, Interval
from harness.analysis.tables import Table
from harness.store.costs import COSTS
from harness.suite.models import TableSpec


@dataclass(frozen=True)
class Column:
    """One column's heading."""

    title: str
    number: bool = True
    below: str = ""
    """A second, quiet line of the heading."""
    first: str = "descending"
    """The order of the first sort: the best on top."""


@dataclass(frozen=True)
class Item:
    """One entry."""

    text: str
    sort: str | None = None
    """What it is sorted by; "" sorts last, None sorts by the text."""
    below: str = ""
    """The interval, on a line of its own."""
    bold: bool = False
    marks: tuple[tuple[str, str], ...] = ()
    """(kind, text) of the labels beside it: collapsed, stale, failed, missing."""


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    method: str
    dataset: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class View:
    """A table as the template reads it."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    metrics: tuple[str, ...]
    """Those of its columns that are no costs."""
    source: Table = field(repr=False)
    """Its notes and statistics are printed below it."""


def laid_across(spec: TableSpec) -> TableSpec:
    """A suite's table as `view` takes it, whatever layout the suite gives it."""
    return spec.model_copy(update={"layout": "table", "rows": (), "columns": ("dataset",)})


def view(title: str, tables: Sequence[Table], titles: Mapping[str, str]) -> View:
    """One table of the suite, with the datasets down its side.

    Args:
        tables: built of what `laid_across` gives.
        titles: headings of metrics.
    """
    entries = {place: entry for table in tables for place, entry in table.entries.items()}
    columns, rows = dict.fromkeys(column for _, column, _ in entries), dict.fromkeys(row for row, _, _ in entries)
    measures = list(dict.fromkeys(measure for _, _, measure in entries))
    places = [
        (row, column) for column in columns for row in rows if any(entries[row, column, m].records for m in measures)
    ]
    statistics = {line.place: line for line in tables[0].lines}
    measured: list[tuple[Column, list[Item]]] = []
    for measure in measures:
        down = [entries[row, column, measure] for row, column in places]
        measured += _measured(title_of(measure, titles), down, [statistics.get((*place, measure)) for place in places])
    records_of = [entries[row, column, measures[0]].records for row, column in places]
    named = [*(Column(name, number=False) for name in tables[0].header[: tables[0].labels])]
    named += [Column("dataset", number=False)] if len(columns) > 1 else []
    lines = []
    for at, (row, column) in enumerate(places):
        placed = records_of[at][0].placed
        names = (*row, *column) if len(columns) > 1 else row
        items = (*(Item(text) for text in names), _runs(records_of[at]), *(items[at] for _, items in measured))
        lines.append(Line(placed.label, placed.dataset, items))
    runs = Column("runs", below="done of planned")
    metrics = tuple(measure for measure in measures if measure not in COSTS)
    return View(title, (*named, runs, *(column for column, _ in measured)), tuple(lines), metrics, tables[0])


def _measured(
    title: str, entries: Sequence[Entry], statistics: Sequence[StatisticsLine | None]
) -> list[tuple[Column, list[Item]]]:
    """A measure's own column, then published numbers and the difference to the baseline, if there are any."""
    if entries and entries[0].measure in COSTS:
        return [(Column(title), [Item(entry.text, _sort(entry.mean)) for entry in entries])]
    first = "ascending" if any(not entry.metric.higher_is_better for entry in entries) else "descending"
    columns = [(Column(title, below="mean ± sd [95 %]", first=first), [_metric(entry) for entry in entries])]
    if any(entry.published is not None for entry in entries):
        items = [Item(e.published_text, _sort(e.published.value if e.published else None)) for e in entries]
        columns.append((Column("published", below="(ours minus it)", first=first), items))
    baseline = next((line.baseline for line in statistics if line is not None and line.baseline), None)
    if baseline is not None:
        below = f"{title} [95 %]"
        columns.append(
            (Column(f"minus {baseline}", below=below, first=first), [_difference(line) for line in statistics])
        )
    return columns


def _metric(entry: Entry) -> Item:
    interval = entry.interval
    if interval is None:
        return Item(NOTHING, "")
    said = entry.metric.text
    text = said(interval.mean) + ("" if interval.sd is None else f" ± {said(interval.sd)}")
    return Item(text, _sort(interval.mean), _bounds(interval, said), entry.best)


def _difference(line: StatisticsLine | None) -> Item:
    """With an arrow, up for better, where a test, corrected by Holm, finds it."""
    if line is None or line.difference is None:
        return Item(NOTHING, "")
    mean, metric = line.difference.interval.mean, line.entry.metric
    arrow = (" ▲" if metric.sign * mean > 0 else " ▼") if line.p is not None and line.p <= 1 - LEVEL else ""
    return Item(f"{metric.difference(mean)}{arrow}", _sort(mean), _bounds(line.difference.interval, metric.difference))


def _runs(records: Sequence[Record]) -> Item:
    done = [record for record in records if record.status == "done"]
    counted: Mapping[str, int] = {
        "collapsed": sum(record.collapsed for record in records),
        "stale": sum(record.stale is not None for record in records),
    }
    left = [record.status for record in records if record.status != "done"]
    marks = [(kind, kind if n == len(records) else f"{n} {kind}") for kind, n in counted.items() if n]
    marks += [
        (status if status == "failed" else "missing", f"{left.count(status)} {status}")
        for status in dict.fromkeys(left)
    ]
    return Item(f"{len(done)} of {len(records)}", str(len(done)), marks=tuple(marks))


def _bounds(interval: Interval, text: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f"[{text(interval.low)}, {text(interval.high)}]"


def _sort(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
