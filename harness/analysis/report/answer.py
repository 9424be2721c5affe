"""The sentence at the top: which row leads, and from which others the seeds do not tell it apart. Owns its wording.

By the rule that sets entries in bold (`lines.mark_best`): only rows with every planned seed are compared, by the 95 %
interval of their paired difference; controls and rows that collapsed are no competitors. Controls are named where they
are better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.entries import told_apart
from harness.analysis.frame import planned_metrics
from harness.analysis.row_results import RowResults
from harness.analysis.statistics import Difference, paired_difference

_NAMED = 4  # rows named one by one in a sentence


@dataclass(frozen=True)
class Ranking:
    """The rows of one dataset under one metric."""

    leader: RowResults
    """Best mean among the rows that compete."""
    beaten: tuple[RowResults, ...]
    """Those that the leader is better than: the interval of the paired difference excludes zero."""
    tied: tuple[tuple[RowResults, Difference | None], ...]
    """Those that it is not to be told apart from, nearest first."""
    incomplete: int
    """Rows with a seed missing, which are not compared."""


def rank_rows(rows: Sequence[RowResults], metric: str) -> Ranking | None:
    """Compare the rows of one dataset; None where no row is complete."""
    competing = [row for row in rows if not row.control and row.collapsed < len(row.records)]
    complete = [row for row in competing if row.mean(metric) is not None]
    if not complete:
        return None
    order = sorted(complete, key=lambda row: -row.metric(metric).sign * (row.mean(metric) or 0.0))
    leader, others = order[0], order[1:]
    differences = [paired_difference(leader.values(metric), row.values(metric)) for row in others]
    clear = [difference is not None and difference.interval.excludes(0.0) for difference in differences]
    beaten = tuple(row for row, is_clear in zip(others, clear, strict=True) if is_clear)
    tied = tuple((row, d) for row, d, is_clear in zip(others, differences, clear, strict=True) if not is_clear)
    return Ranking(leader, beaten, tied, len(competing) - len(complete))


def sentence(rows: Sequence[RowResults], dataset: str, metric: str) -> str:
    """Who leads on a dataset, as plain text."""
    here = [row for row in rows if row.dataset == dataset]
    ranking = rank_rows(here, metric)
    if ranking is None:
        return f"On {dataset} no row has all its seeds yet, so there is no answer."
    leader, mean = ranking.leader, ranking.leader.mean(metric) or 0.0
    seeds = len(leader.records)
    count = f"{seeds} seed{'s' * (seeds != 1)}"
    measured = told_apart(planned_metrics([r for row in rows for r in row.records])).get(metric, leader.metric(metric))
    top, above, higher = ("highest", "above", "higher") if measured.higher_is_better else ("lowest", "below", "lower")
    parts = [f"On {dataset}, {leader.name} has the {top} {measured.title}, {measured.said(mean)}"]
    if not ranking.tied and not ranking.beaten:
        parts.append("; there is no other row to compare it with")
    elif not ranking.tied:
        parts.append(f", and with {count} it is {above} every other method")
    else:
        names = _names([row.name for row, _ in ranking.tied])
        parts.append(f", but with {count} is not to be told apart from {names}")
        parts.append(f"; it is {above} {_names([row.name for row in ranking.beaten])}" if ranking.beaten else "")
    text = "".join(parts) + "."
    sign, controls = measured.sign, [row for row in here if row.control]
    better = [row.name for row in controls if (m := row.mean(metric)) is not None and sign * m > sign * mean]
    if better:
        text += f" Controls that are {higher}: {_names(better)}."
    needed = ranking.tied[0][1].seeds_needed if ranking.tied and ranking.tied[0][1] else None
    if needed is not None:
        text += f" To tell it from {ranking.tied[0][0].name} would need about {needed} seeds."
    if ranking.incomplete:
        text += f" Not compared, with seeds missing: {ranking.incomplete} row{'s' * (ranking.incomplete > 1)}."
    return text


def counts(statuses: Mapping[str, int]) -> str:
    """`22 of 24 cells done, 1 failed, 1 pending`."""
    total = sum(statuses.values())
    others = [f"{count} {status}" for status, count in statuses.items() if status != "done" and count]
    return ", ".join([f"{statuses.get('done', 0)} of {total} cells done", *others])


def tally(answers: Sequence[str]) -> str:
    """`3 supported, 1 inconclusive`, the commonest first."""
    return ", ".join(f"{count} {answer}" for answer, count in Counter(answers).most_common())


def _names(names: Sequence[str]) -> str:
    if len(names) > _NAMED + 1:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
