"""One entry of a table: a measure over the seeds of one row and column. Owns means, spreads and what stands in their
place.

A mean is over every planned cell or is not shown: what is missing, failed, skipped or collapsed stands in the entry.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from harness.analysis.frame import NOTHING, Record, planned_metrics
from harness.analysis.statistics import Interval, mean_interval
from harness.spec.metric import Metric
from harness.store.costs import COSTS


@dataclass(frozen=True)
class Published:
    """A published number as it stands beside an entry."""

    value: float | None
    """None where what was published is that the run collapsed."""
    source: str
    recalled: bool
    same_recipe: bool


@dataclass(frozen=True)
class Entry:
    """A measure over the cells of one row and column, which differ by their seed alone."""

    measure: str
    """A metric or one of COSTS."""
    records: tuple[Record, ...]
    """Each cell once; empty where the suite plans none."""
    published: Published | None = None
    partial: bool = False
    """Asked to show the mean over what is done even if some is missing; its text then says of how many."""
    best: bool = False
    """Best of its column, or not told apart from the best by the intervals: printed bold."""

    @cached_property
    def metric(self) -> Metric:
        """Unit and direction, as the probe says."""
        metrics = (record.metric(self.measure) for record in self.records)
        return next((metric for metric in metrics if metric is not None), Metric("unknown", self.measure, unit=""))

    @property
    def by_seed(self) -> dict[int, float]:
        """The values by their seeds."""
        by_seed = {record.cell.seed: record.value(self.measure) for record in self.records}
        return {seed: value for seed, value in by_seed.items() if value is not None}

    @property
    def values(self) -> list[float]:
        """Of the cells that have the measure, whatever else of them is to do."""
        values = [record.value(self.measure) for record in self.records]
        return [value for value in values if value is not None]

    @property
    def complete(self) -> bool:
        """Whether there are cells, and each has a value."""
        return 0 < len(self.values) == len(self.records)

    @property
    def mean(self) -> float | None:
        """Over all planned cells; None unless complete, or partial with something done."""
        values = self.values
        return statistics.fmean(values) if values and (self.complete or self.partial) else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation (n - 1) of what the mean is of; None for a single value."""
        return statistics.stdev(self.values) if self.mean is not None and len(self.values) > 1 else None

    @property
    def interval(self) -> Interval | None:
        """Of the mean, where there is one."""
        return mean_interval(self.values) if self.mean is not None else None

    @property
    def difference(self) -> float | None:
        """Mean minus the published number; None if either is missing or the recipes differ."""
        published = self.published
        if published is None or published.value is None or not published.same_recipe:
            return None
        return self.mean - published.value if self.mean is not None and self.complete else None

    @property
    def text(self) -> str:
        """Number and remarks, as printed."""
        return ", ".join(part for part in (self._number(), *self._remarks()) if part) or NOTHING

    @property
    def published_text(self) -> str:
        """The published number, how sure it is, and our difference to it."""
        if self.published is None:
            return NOTHING
        remarks = ["recalled"] if self.published.recalled else []
        remarks += [] if self.published.same_recipe else ["other recipe"]
        remarks += [] if self.difference is None else [self.metric.difference(self.difference)]
        number = "collapse" if self.published.value is None else self.metric.text(self.published.value)
        return number + (f" ({'; '.join(remarks)})" if remarks else "")

    def _number(self) -> str:
        if self.mean is None:
            return ""
        if self.measure in COSTS:
            return COSTS[self.measure].text(self.mean)
        text = self.metric.text
        return text(self.mean) + ("" if self.spread is None else f" ± {text(self.spread)}")

    def _remarks(self) -> list[str]:
        if self.measure in COSTS:
            return []
        done = [record for record in self.records if record.status_of(self.measure) == "done"]
        remarks = []
        if self.records and len(done) == len(self.records) and not self.values:
            return ["not measured"]
        if self.records and not self.complete:
            remarks.append(self._progress())
        if collapsed := sum(record.collapsed for record in done):
            remarks.append("collapsed" if collapsed == len(self.records) else f"collapsed {collapsed} of {len(done)}")
        if stale := sum(self.measure in record.stale_metrics for record in done):
            remarks.append("stale" if stale == len(self.records) else f"stale {stale} of {len(done)}")
        return remarks

    def _progress(self) -> str:
        planned = len(self.records)
        counts: Counter[str] = Counter(record.status_of(self.measure) for record in self.records)
        for status in ("skipped", "no data", "failed"):
            if counts[status] == planned:
                return status if status != "failed" else f"failed {planned} of {planned}"
        text = f"{len(self.values)} done of {planned} planned"
        for status in ("failed", "skipped", "no data"):
            text += f", {counts[status]} {status}" if counts[status] else ""
        return text


def title_of(measure: str, titles: Mapping[str, str] | None = None) -> str:
    """The heading of a metric or cost column.

    Args:
        titles: of `headings`; a metric that is not among them is headed by its name.
    """
    return COSTS[measure].title if measure in COSTS else (titles or {}).get(measure, measure)


def told_apart(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics; of those with one heading, all but the first with their evaluation in the title."""
    titled: dict[str, Metric] = {}
    taken: set[str] = set()
    for name, metric in metrics.items():
        distinct = replace(metric, title=f"{metric.title} ({name.rpartition('_')[0]})")
        titled[name] = distinct if metric.heading in taken else metric
        taken.add(metric.heading)
    return titled


def headings(metrics: Mapping[str, Metric]) -> dict[str, str]:
    """How tables head metrics, units included."""
    return {name: metric.heading for name, metric in told_apart(metrics).items()}


def headings_in(records: Iterable[Record]) -> dict[str, str]:
    """The headings of every metric that these cells have or would have."""
    return headings(planned_metrics(records))
