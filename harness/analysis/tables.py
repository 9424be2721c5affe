"""The tables of a suite: entries with published numbers beside them, cost, statistics and the notes below.

Computes nothing but through `Entry` and `statistics_table`; formats nothing for a medium (see `markdown`, `render`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.analysis.entries import Entry, Published, headings, title_of
from harness.analysis.frame import DEFAULT_RULE, NOTHING, Record, first_metrics, planned_metrics
from harness.analysis.layout import Grid, Key, arrange, left_over, said, split
from harness.analysis.lines import Line, lines, mark_best
from harness.analysis.notes import Note, notes
from harness.analysis.references import Reference, for_cell
from harness.analysis.statistics_table import Statistics, as_text
from harness.spec.collapse import CollapseRule
from harness.spec.metric import Metric
from harness.store.costs import COSTS
from harness.suite.models import TableSpec


@dataclass(frozen=True)
class Table:
    """A table as text, and the entries it was made of."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int
    """How many leading columns name the row; the others are numbers."""
    notes: tuple[Note, ...] = ()
    entries: Mapping[tuple[Key, Key, str], Entry] = field(default_factory=dict)
    """By row, column and measure, as printed."""
    bold: frozenset[tuple[int, int]] = frozenset()
    """Places in `rows`, by line and column, of the entries marked as best."""
    statistics: Statistics | None = None
    """Drawn below it; None where there is nothing to say of single runs."""
    lines: tuple[Line, ...] = ()
    """The same as data."""


def build(
    title: str,
    specs: Sequence[TableSpec],
    records: Iterable[Record],
    references: Iterable[Reference] = (),
    *,
    rule: CollapseRule = DEFAULT_RULE,
    metrics: Mapping[str, Metric] | None = None,
    renamed: Mapping[str, str] | None = None,
    partial: bool = False,
    any_recipe: bool = False,
    controls: Collection[str] = (),
) -> list[Table]:
    """Every table that a suite wants.

    Args:
        title: of the suite; a table without its own takes it.
        specs: without any, one table of methods against datasets.
        references: put beside cells of the same recipe; the suite's own come first.
        rule: by which the records were found to have collapsed.
        metrics, renamed: of the suite's expansion; without, the metrics are those of the records' cells.
        partial: show means over what is done, with its number, where cells are missing.
        any_recipe: also show published numbers of other recipes, marked so and without a difference.
        controls: methods that are never marked as best.
    """
    everything, published = list(records), tuple(references)
    known = metrics or planned_metrics(everything)
    tables = []
    for spec in specs or (TableSpec(),):
        chosen = [record for record in everything if record.placed.matches(spec.where)]
        measured = _as_called(spec.metrics, known, renamed or {}) if spec.metrics else _first_metrics(chosen, known)
        make = _Maker(spec, measured, headings(known), published, rule, partial, any_recipe, controls)
        tables.extend(make.tables(spec.title or title, chosen))
    return tables


@dataclass(frozen=True)
class _Maker:
    spec: TableSpec
    metrics: tuple[str, ...]
    titles: Mapping[str, str]
    """Headings of metrics."""
    references: tuple[Reference, ...]
    rule: CollapseRule
    partial: bool
    any_recipe: bool
    controls: Collection[str]

    def tables(self, title: str, records: list[Record]) -> list[Table]:
        spec = self.spec
        rest = left_over(records, (*spec.rows, *spec.columns))
        if spec.layout == "grid":
            return [table for group, part in split(records, rest) for table in self._grids(title, group, part)]
        names = rest if not spec.rows else (*spec.rows, *rest)
        grid = arrange(records, names, spec.columns)
        measures = (*self.metrics, *spec.cost)
        below = (*notes(grid.cells, names, spec.columns, measures, self.rule), *self._unplaced(records, grid))
        if len(grid.columns) <= 1 or not spec.cost:
            where = [text for text in (grid.columns or [()])[0] if text != NOTHING]
            full = f"{title} ({', '.join(where)})" if len(grid.columns) == 1 and where else title
            return [self._table(full, grid, measures, below)]
        return [
            self._table(title, grid, self.metrics, below),
            self._table(f"{title}: cost", grid, spec.cost, ()),
        ]

    def _grids(self, title: str, group: Key, records: list[Record]) -> Iterable[Table]:
        """One axis down, one across: a grid for each measure, and for everything else that varies."""
        grid = arrange(records, self.spec.rows, self.spec.columns)
        measures = (*self.metrics, *self.spec.cost)
        below = tuple(notes(grid.cells, self.spec.rows, self.spec.columns, measures, self.rule))
        for measure in measures:
            name = ", ".join(
                (f"{title}: {title_of(measure, self.titles)}", *(text for text in group if text != NOTHING))
            )
            yield self._table(name, grid, (measure,), below if measure == measures[-1] else ())

    def _table(self, title: str, grid: Grid, measures: Sequence[str], below: tuple[Note, ...]) -> Table:
        entries = mark_best(
            {
                (row, column, measure): self._entry(row, column, measure, grid.cells.get((row, column), ()))
                for row in grid.rows
                for column in grid.columns
                for measure in measures
            },
            self.controls,
        )
        header = [name.rpartition(".")[2] for name in grid.row_names]
        body = [list(row) for row in grid.rows]
        bold = set()
        for column in grid.columns:
            for measure in measures:
                down = [entries[row, column, measure] for row in grid.rows]
                bold |= {(at, len(header)) for at, entry in enumerate(down) if entry.best}
                head = self._head(column, measure, len(grid.columns), len(measures))
                for name, texts in _texts(head, down):
                    header.append(name)
                    for line, text in zip(body, texts, strict=True):
                        line.append(text)
        table_lines = lines(entries, self._baseline(grid))
        return Table(
            title,
            tuple(header),
            tuple(tuple(line) for line in body),
            len(grid.row_names),
            (*below, *_bold_note(table_lines, bool(bold)), *self._sources(entries)),
            entries,
            frozenset(bold),
            as_text(table_lines, grid.row_names, grid.column_names, self.titles),
            table_lines,
        )

    def _head(self, column: Key, measure: str, columns: int, measures: int) -> str:
        names = [text for text in column if text != NOTHING]
        if self.spec.layout == "grid":
            return f"{self.spec.columns[0].rpartition('.')[2]} {' '.join(names) or NOTHING}"
        return " ".join((*(names if columns > 1 else ()), title_of(measure, self.titles)))

    def _baseline(self, grid: Grid) -> tuple[str, Key] | None:
        baseline = self.spec.baseline
        matching = [row for row in grid.rows if baseline is not None and baseline in _names(row, grid.in_row(row))]
        return (str(baseline), matching[0]) if matching else None

    def _entry(self, row: Key, column: Key, measure: str, records: tuple[Record, ...]) -> Entry:
        published = None if measure in COSTS else self._published(row, column, measure, records)
        return Entry(measure, records, published, self.partial)

    def _published(self, row: Key, column: Key, measure: str, records: tuple[Record, ...]) -> Published | None:
        """The suite's own number for this entry, or else that of the same recipe among the references."""
        labels = _names(row, records)
        places = {record.placed.dataset for record in records} | {" ".join(said(column))}
        for own in self.spec.references:
            for label in (name for name in own.values if own.metric == measure and name in labels):
                for place in (name for name in own.values[label] if name in places):
                    value = own.values[label][place]
                    number = None if value == "collapse" else float(value)
                    return Published(number, own.source, own.confidence == "recalled", True)
        references = [for_cell(self.references, r.placed, measure, any_recipe=self.any_recipe) for r in records]
        if not references or references[0] is None or any(other != references[0] for other in references):
            return None
        reference, same = references[0]
        return Published(reference.value, f"{reference.source}, table {reference.table}", reference.recalled, same)

    def _sources(self, entries: Mapping[Any, Entry]) -> list[Note]:
        """Where the published numbers are from."""
        lines = []
        shown = [entry.published for entry in entries.values() if entry.published is not None]
        for source in dict.fromkeys(published.source for published in shown):
            recalled = [published.recalled for published in shown if published.source == source]
            caution = f", {sum(recalled)} recalled from memory and to be checked" if any(recalled) else ""
            lines.append(f"{source}: {len(recalled)} number{'s' * (len(recalled) > 1)}{caution}")
        return [Note("Published numbers", tuple(lines))] if lines else []

    def _unplaced(self, records: Sequence[Record], grid: Grid) -> list[Note]:
        """What the suite names and this table does not have: a misspelt row must not pass for one without a number."""
        rows = {name for row in grid.rows for name in _names(row, grid.in_row(row))}
        columns = {record.placed.dataset for record in records} | {" ".join(said(key)) for key in grid.columns}
        lines = [
            f"{row}, {column}, {own.metric} ({own.source}): no such row, column or metric here"
            for own in self.spec.references
            for row, values in own.values.items()
            for column in values
            if row not in rows or column not in columns or own.metric not in self.metrics
        ]
        if self.spec.baseline is not None and self._baseline(grid) is None:
            lines.append(f"baseline {self.spec.baseline}: no such row here")
        return [Note("Named in the suite and not found", tuple(lines))] if lines else []


def _as_called(names: Iterable[str], known: Collection[str], renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Metrics of evaluations that are called otherwise than the file says, by the names that they have."""
    current = []
    for name in names:
        label, _, own = name.rpartition("_")
        current.append(f"{renamed[label]}_{own}" if name not in known and label in renamed else name)
    return tuple(dict.fromkeys(current))


def _first_metrics(records: Iterable[Record], known: Iterable[str]) -> tuple[str, ...]:
    """The first metric of each evaluation that some of these cells have, in the order of the suite."""
    shown = set(first_metrics(records))
    return tuple(metric for metric in known if metric in shown)


def _texts(head: str, down: list[Entry]) -> Iterable[tuple[str, list[str]]]:
    """The columns that one measure takes: its own, then published numbers, if any."""
    yield head, [entry.text for entry in down]
    if any(entry.published is not None for entry in down):
        yield f"{head}, published (ours minus it)", [entry.published_text for entry in down]


def _bold_note(table_lines: Sequence[Line], bold: bool) -> list[Note]:
    if not any(line.entry.spread is not None for line in table_lines):
        return []
    text = (
        "Bold: the best of its column, and every row whose paired difference to it has a 95 % interval (not corrected) "
        "that includes 0; controls and rows that collapsed are left out."
        if bold
        else "Nothing is bold: the intervals tell no row from the best of its column."
    )
    return [Note("What is bold", (text,))]


def _names(row: Key, records: Iterable[Record]) -> set[str]:
    """What a suite may call a row: as printed, or by its method's label."""
    placed = [record.placed for record in records]
    return {" ".join(said(row)), *(here.row for here in placed), *(here.label for here in placed)}
