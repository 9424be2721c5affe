"""A comparison as tables with notes, for the terminal and Markdown alike. Computes nothing but through `compare`."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from harness.analysis.compare import Comparison, Pair, RowPair, changes, provenance_changes
from harness.analysis.entries import headings, title_of
from harness.analysis.frame import DEFAULT_RULE, NOTHING, evaluation_name, failure_text
from harness.analysis.notes import Note
from harness.analysis.row_results import hardware
from harness.analysis.tables import Table
from harness.progress import first_line
from harness.spec.collapse import CollapseRule
from harness.store.cell_result import CellResult

ID_SHOWN = 8  # digits of an id: enough for `harness show`


def tables(
    comparison: Comparison, metrics: Sequence[str], name_a: str, name_b: str, rule: CollapseRule = DEFAULT_RULE
) -> list[Table]:
    """Rows with differences and their intervals, then every pair of cells.

    Args:
        metrics: which, in this order.
        name_a, name_b: what A and B are, in words.
        rule: when a run counts as collapsed.
    """
    notes = _notes(comparison, metrics, name_a, name_b, rule)
    if not comparison.rows:
        return [Table("No cell is in both", ("row",), (), 1, notes)]
    several = len({row.dataset for row in comparison.rows}) > 1
    return [_rows(comparison, metrics, several, notes), _cells(comparison, metrics, several)]


def _rows(comparison: Comparison, metrics: Sequence[str], several: bool, notes: tuple[Note, ...]) -> Table:
    titles = headings(comparison.measured)
    header = ["row", *(["dataset"] if several else []), "seeds"]
    for metric in metrics:
        header += [f"{title_of(metric, titles)}, A", "B", "B minus A [95 %]"]
    body = []
    for row in comparison.rows:
        line = [row.name, *([row.dataset] if several else []), str(len(row.pairs))]
        for metric in metrics:
            line += _metric(row, metric)
        body.append((*line, _ratio(row.views_ratio), _ratio(row.speed_ratio)))
    return Table("Rows", (*header, "views, B / A", "views/s, B / A"), tuple(body), 2 if several else 1, notes)


def _metric(row: RowPair, metric: str) -> list[str]:
    """Means over the pairs that both have it, and the paired difference."""
    values, difference = row.values(metric), row.difference(metric)
    if not values or difference is None:
        return [NOTHING] * 3
    interval, measured = difference.interval, row.metric(metric)
    said = measured.difference
    if all(a == b for a, b in values):
        text = "identical"
    elif interval.low is None:
        text = said(interval.mean)
    else:
        text = f"{said(interval.mean)} [{said(interval.low)}, {said(interval.high or 0.0)}]"
    if len(values) < len(row.pairs):
        text += f", {len(values)} of {len(row.pairs)}"
    return [measured.text(statistics.fmean(side)) for side in zip(*values, strict=True)] + [text]


def _cells(comparison: Comparison, metrics: Sequence[str], several: bool) -> Table:
    titles = headings(comparison.measured)
    header = ["row", *(["dataset"] if several else []), "seed", "cell"]
    for metric in metrics:
        header += [f"{title_of(metric, titles)}, A", "B", "B minus A"]
    body = []
    for row in comparison.rows:
        for pair in row.pairs:
            line = [row.name, *([row.dataset] if several else []), str(pair.a.cell.seed), _ids(pair)]
            for metric in metrics:
                line += _values(pair, metric)
            body.append((*line, _ratio(RowPair(row.name, row.dataset, (pair,)).speed_ratio)))
    return Table("Cells", (*header, "views/s, B / A"), tuple(body), 4 if several else 3)


def _values(pair: Pair, metric: str) -> list[str]:
    sides = [_number(result, metric) for result in (pair.a, pair.b)]
    value = pair.value(metric)
    if value is None:
        return [*sides, NOTHING]
    return [*sides, "identical" if value[0] == value[1] else pair.b.measured[metric].difference(value[1] - value[0])]


def _number(result: CellResult, metric: str) -> str:
    """The value, or what became of it."""
    if metric in result.metrics:
        return result.measured[metric].text(result.metrics[metric])
    if result.pretraining.status != "done":
        return result.pretraining.status
    name = evaluation_name(result.cell, metric)
    return "failed" if name in result.failures else NOTHING


def _ids(pair: Pair) -> str:
    a, b = pair.a.id[:ID_SHOWN], pair.b.id[:ID_SHOWN]
    return a if a == b else f"{a} → {b}"


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _notes(
    comparison: Comparison, metrics: Sequence[str], name_a: str, name_b: str, rule: CollapseRule
) -> tuple[Note, ...]:
    pairs = comparison.pairs
    sections = [
        ("What is compared", [f"A: {name_a}", f"B: {name_b}", *_agreement(comparison)]),
        ("What was changed in the cells", [_change(*key, n, len(pairs)) for key, n in changes(pairs).items()]),
        (
            "What differs in code, libraries and machine",
            [f"{name}: {_side(a)} in A, {_side(b)} in B" for name, a, b in provenance_changes(pairs)],
        ),
        ("Other outcome", [text for pair in pairs if (text := _outcome(pair, rule))]),
        ("Speed", _speed(pairs)),
        ("How to read it", _reading(comparison, metrics)),
        ("Only in A", list(comparison.only_a)),
        ("Only in B", list(comparison.only_b)),
    ]
    return tuple(Note(heading, tuple(lines)) for heading, lines in sections if lines)


def _agreement(comparison: Comparison) -> list[str]:
    pairs = comparison.pairs
    if not pairs:
        return []
    same = sum(not pair.changed for pair in pairs)
    equal = sum(_equal(pair) for pair in pairs)
    counts = f"{len(pairs)} pairs of cells: {same} the same cell, {len(pairs) - same} changed"
    lines = [f"{counts}; {equal} have exactly the same metrics"]
    both = [pair for pair in pairs if pair.a.pretraining.status == pair.b.pretraining.status == "done"]
    in_a = Counter(name for pair in both for name in _asked(pair.a) - _asked(pair.b))
    in_b = Counter(name for pair in both for name in _asked(pair.b) - _asked(pair.a))
    for side, alone in (("A", in_a), ("B", in_b)):
        lines += [f"evaluated in {side} alone: {name} ({_pairs(n)})" for name, n in sorted(alone.items())]
    return lines


def _change(path: str, before: str, after: str, count: int, pairs: int) -> str:
    return f"{path}: {before} in A, {after} in B" + ("" if count == pairs else f" ({count} of {pairs} pairs)")


def _side(values: Sequence[str]) -> str:
    return ", ".join(values) or NOTHING


def _equal(pair: Pair) -> bool:
    """Whether the metrics that both sides have agree to the last digit."""
    values = [pair.value(metric) for metric in pair.a.metrics]
    shared = [value for value in values if value is not None]
    return bool(shared) and all(a == b for a, b in shared)


def _asked(result: CellResult) -> set[str]:
    return set(result.cell.evaluations)


def _outcome(pair: Pair, rule: CollapseRule) -> str:
    """What happened to a cell that ended differently, or collapsed in one of the two."""
    told = []
    for name, result in (("A", pair.a), ("B", pair.b)):
        reason = failure_text(result.failures)
        failure = f", {first_line(reason)}" if reason else ""
        collapsed = " and collapsed" if result.collapsed(rule) else ""
        told.append((f"{result.status}{collapsed}", f"{result.status}{collapsed} in {name}{failure}"))
    if told[0][0] == told[1][0]:
        return ""
    return f"{pair.a.cell.method}, seed {pair.a.cell.seed}, cell {_ids(pair)}: {told[0][1]}; {told[1][1]}"


def _speed(pairs: Sequence[Pair]) -> list[str]:
    """On which hardware speeds are compared, and where they are not."""
    timed = [pair for pair in pairs if pair.trained]
    same = Counter(hardware(pair.a) for pair in timed if pair.same_hardware)
    hardware_pairs = Counter((hardware(pair.a), hardware(pair.b)) for pair in timed if not pair.same_hardware)
    lines = [f"compared on {name} ({_pairs(count)})" for name, count in sorted(same.items())]
    return lines + [f"not compared: A on {a}, B on {b} ({_pairs(n)})" for (a, b), n in sorted(hardware_pairs.items())]


def _pairs(count: int) -> str:
    return f"{count} pair{'s' * (count != 1)}"


def _reading(comparison: Comparison, metrics: Sequence[str]) -> list[str]:
    if not comparison.pairs or not metrics:
        return []
    return [
        "Numbers of rows are means over the seeds that both sides have; intervals are Student's, of the differences "
        "seed by seed. One seed has no interval, nor have differences that do not vary."
    ]
