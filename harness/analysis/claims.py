"""Whether the runs bear out what a suite claims. Owns verdicts; `harness.suite.claims` has the model.

A comparison is supported where the 95 % interval of the paired differences lies wholly on the claimed side on every
dataset asked, and refuted where it lies wholly on the other side on one; Holm's correction is over the comparisons of
one claim. A claim with a run missing is not tested. Nothing is decided by a mean alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.comparisons import (
    Compared,
    ComparedRow,
    Missing,
    compare,
    hardware,
    metric,
    pairs,
    rows_of,
    single_runs,
    time_to_share,
)
from harness.analysis.entries import headings, title_of
from harness.analysis.frame import Record, planned_metrics
from harness.analysis.statistics import LEVEL, MIN_PAIRS, holm, p_value, seeds_needed
from harness.spec.metric import PER_CENT
from harness.suite.claims import KNN, MARGIN, Claim

_LISTED = 4  # missing rows in a verdict

Answer = Literal["supported", "refuted", "inconclusive", "not testable"]


@dataclass(frozen=True)
class Verdict:
    """What the runs say of one claim."""

    claim: str
    answer: Answer
    lines: tuple[str, ...]
    """The numbers it rests on, each one sentence of plain text."""
    seeds_to_decide: int | None = None
    """Estimated, for what is inconclusive; None where it cannot be estimated."""


def test_claims(claims: Sequence[Claim], records: Iterable[Record]) -> tuple[Verdict, ...]:
    """A verdict for each claim, in their order.

    Args:
        claims: of the suite.
        records: of the suite.

    Raises:
        ClaimError: one names several metrics; suites are checked when they are read.
    """
    everything = list(records)
    metrics = planned_metrics(everything)
    return tuple(_verdict(claim.with_metric(metrics), everything, headings(metrics)) for claim in claims)


def answer_of(verdict: Verdict) -> str:
    """The answer, and how many seeds would give another: `inconclusive (about 22 seeds would decide)`."""
    if verdict.answer != "inconclusive" or verdict.seeds_to_decide is None:
        return verdict.answer
    return f"{verdict.answer} (about {verdict.seeds_to_decide} seeds would decide)"


def _verdict(claim: Claim, records: Sequence[Record], titles: Mapping[str, str]) -> Verdict:
    datasets = claim.datasets or tuple(dict.fromkeys(record.placed.dataset for record in records))
    if claim.right is None:
        rows = [row for dataset in datasets for row in rows_of(claim.left, dataset, records)]
        return _collapse(claim, rows)
    asked = [pair for dataset in datasets for pair in pairs(claim, dataset, records)]
    absent = [dataset for dataset in claim.datasets if not list(pairs(claim, dataset, records))]
    missing = [f"{dataset}: {claim.left} and {claim.right} are not both here" for dataset in absent]
    compared: list[Compared] = []
    for first, second in asked:
        try:
            _check_margin(claim, first)
            compared.append(_compared(claim, first, second))
        except Missing as error:
            missing += [str(line) for line in error.args if line not in missing]
    if not asked and not missing:
        missing = [f"no dataset here has both {claim.left} and {claim.right}"]
    return _comparison(claim, compared, missing, titles)


def _compared(claim: Claim, first: ComparedRow, second: ComparedRow) -> Compared:
    if claim.relation != "earlier":
        return compare(first, second, metric(claim.metric), claim.metric)
    if claim.unit == "seconds" and len(places := hardware(first) | hardware(second)) > 1:
        raise Missing(f"{first.dataset}: seconds on different hardware are not compared ({'; '.join(sorted(places))})")
    return compare(first, second, time_to_share(claim), None)


def _check_margin(claim: Claim, row: ComparedRow) -> None:
    """Missing where the claim leaves its margin to us: half a point means something in per cent alone."""
    unit = row.metric(claim.metric).unit
    if claim.relation in ("not better", "not worse") and claim.margin is None and unit != PER_CENT:
        raise Missing(f"{claim.metric} is in {unit or 'no unit'}: say how much counts, `by more than 0.1`")


def _collapse(claim: Claim, rows: Sequence[ComparedRow]) -> Verdict:
    missing = [line for row in rows for line in row.left_out(None)]
    counts, lines = [], []
    for row in rows:
        runs = [record for record in row.runs.values() if record.status_of(None) == "done"]
        results = [record.result for record in runs if record.result is not None]
        if any(result.trained and not result.diagnostics for result in results):
            missing.append(f"{row.dataset}, {row.name}: collapse was not measured")
        counts.append((sum(record.collapsed for record in runs), len(runs)))
        lines.append(f"{row.dataset}, {row.name}: collapsed in {counts[-1][0]} of {_count(len(runs), 'run')}")
    if not rows:
        missing = [f"{claim.left} is not here"]
    if missing:
        return Verdict(str(claim), "not testable", tuple(_missing(missing)))
    lines += _stale(rows, None)
    expected = [(k if claim.relation == "collapses" else n - k, n) for k, n in counts]
    if all(k == n for k, n in expected):
        return Verdict(str(claim), "supported", tuple(lines))
    return Verdict(str(claim), "refuted" if any(k == 0 for k, _ in expected) else "inconclusive", tuple(lines))


@dataclass(frozen=True)
class _Side:
    """Everything above, or below, a bound."""

    above: bool
    bound: float

    def p(self, compared: Compared) -> float:
        """Two-sided, of the difference being at the bound; 1 where the mean is on the other side."""
        interval = compared.low if self.above else compared.high
        beyond = interval.mean > self.bound if self.above else interval.mean < self.bound
        return p_value(interval, self.bound) if beyond else 1.0

    def seeds(self, compared: Compared, alpha: float) -> int | None:
        """For a test to find the difference on this side, if it is as observed; None if it is on the other."""
        interval = compared.low if self.above else compared.high
        distance = interval.mean - self.bound if self.above else self.bound - interval.mean
        return seeds_needed(distance, interval.sd, alpha=alpha) if distance > 0 else None


def _sides(claim: Claim, higher_is_better: bool) -> tuple[list[_Side], list[_Side]]:
    """Where the difference must lie for the claim (all of these), and where it refutes it (any of these)."""
    wanted, against = _sides_of_more(claim)
    if higher_is_better:
        return wanted, against
    wanted, against = ([_Side(not side.above, -side.bound) for side in sides] for sides in (wanted, against))
    return wanted, against


def _sides_of_more(claim: Claim) -> tuple[list[_Side], list[_Side]]:
    """`_sides` where more is better."""
    margin = claim.margin or 0.0
    tolerated = MARGIN if claim.margin is None else margin
    if claim.relation == "equals":
        return [_Side(False, margin), _Side(True, -margin)], [_Side(True, margin), _Side(False, -margin)]
    if claim.relation == "not better":
        return [_Side(False, tolerated)], [_Side(True, margin)]
    if claim.relation == "not worse":
        return [_Side(True, -tolerated)], [_Side(False, -margin)]
    above = claim.relation == ">"
    bound = margin if above else -margin
    return [_Side(above, bound)], [_Side(not above, bound)]


def _comparison(
    claim: Claim, compared: Sequence[Compared], missing: Sequence[str], titles: Mapping[str, str]
) -> Verdict:
    higher = claim.relation == "earlier" or all(one.first.metric(claim.metric).higher_is_better for one in compared)
    wanted, against = _sides(claim, higher)
    support = holm([max(side.p(one) for side in wanted) for one in compared])
    refute = holm([min(1.0, len(against) * min(side.p(one) for side in against)) for one in compared])
    alpha = 1 - LEVEL
    supported = [p <= alpha for p in support]
    refuted = [p <= alpha and not yes for p, yes in zip(refute, supported, strict=True)]
    lines = [_line(claim, one, min(p, q), titles) for one, p, q in zip(compared, support, refute, strict=True)]
    metric = None if claim.relation == "earlier" else claim.metric
    lines += _stale([row for one in compared for row in (one.first, one.second)], metric)
    lines += _missing(missing)
    if any(refuted):
        return Verdict(str(claim), "refuted", tuple(lines))
    if missing:
        return Verdict(str(claim), "not testable", tuple(lines))
    if all(supported):
        return Verdict(str(claim), "supported", tuple(lines))
    open_ones = [one for one, yes in zip(compared, supported, strict=True) if not yes]
    return Verdict(str(claim), "inconclusive", tuple(lines), _to_decide(open_ones, wanted, against, len(compared)))


def _to_decide(open_ones: Sequence[Compared], wanted: list[_Side], against: list[_Side], tests: int) -> int | None:
    """Seeds that decide every comparison, each at the level divided by their number; more than there are."""
    most = 0
    for one in open_ones:
        alpha = (1 - LEVEL) / tests
        inside = [side.seeds(one, alpha) for side in wanted]
        ways = [seeds for side in against if (seeds := side.seeds(one, alpha)) is not None]
        ways += [max(seeds for seeds in inside if seeds is not None)] if None not in inside else []
        if not ways:
            return None
        most = max(most, min(ways), len(one.seeds) + 1)
    return most or None


def _line(claim: Claim, one: Compared, p: float, titles: Mapping[str, str]) -> str:
    """`cifar10, a minus b, linear top-1 %: +0.44 [+0.10, +0.78], 5 seeds, p = 0.02`."""
    n = len(one.seeds)
    if claim.relation == "earlier":
        curve = "k-NN" if claim.metric == KNN else claim.metric
        what, number = f"{claim.share:g} % of the final {curve}, {claim.unit}", _bounds(one)
    else:
        said = one.first.metric(claim.metric).difference
        what, number = title_of(claim.metric, titles), f"{said(one.low.mean)}{_range(one, said)}"
    tested = f", p = {p:.2g}" + (" after Holm" if p < 1 else "") if n >= MIN_PAIRS else ""
    line = (
        f"{one.first.dataset}, {one.first.name} minus {one.second.name}, {what}: {number}, {_count(n, 'seed')}{tested}"
    )
    single = single_runs(one, claim.metric)
    if single is None:
        return line
    return line + (
        f"; of the images, {single.only_first} only the first and {single.only_second} only the second got right "
        f"(McNemar p = {single.p:.2g}, of these two runs, not of their methods)"
    )


def _range(one: Compared, said: Callable[[float], str]) -> str:
    if one.low.low is None or one.low.high is None:
        return ", no interval" + (" (the seeds do not vary)" if one.low.n > 1 else "")
    return f" [{said(one.low.low)}, {said(one.low.high)}]"


def _bounds(one: Compared) -> str:
    """The mean difference, known to lie between two readings, and the interval around both."""
    text = f"between {one.low.mean:+g} and {one.high.mean:+g}" if not one.exact else f"{one.low.mean:+g}"
    if one.low.low is None or one.high.high is None:
        return f"{text}, no interval"
    return f"{text} [{one.low.low:+.3g}, {one.high.high:+.3g}]"


def _missing(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - _LISTED} more are missing"] if len(lines) > _LISTED else []
    return [f"missing: {line}" for line in lines[:_LISTED]] + more


def _stale(rows: Iterable[ComparedRow], metric: str | None) -> list[str]:
    """Rows whose metric (None: any part) is of older code."""

    def is_stale(record: Record) -> bool:
        return record.stale is not None if metric is None else metric in record.stale_metrics

    names = dict.fromkeys(row.name for row in rows for record in row.runs.values() if is_stale(record))
    return [f"rests on stale results of {', '.join(names)}"] if names else []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
