"""The rows of the page: the runs that differ by their seed alone, on one dataset. Owns what they have in common; reads
results, computes nothing but means over complete rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from harness.analysis.entries import Entry
from harness.analysis.frame import Record
from harness.analysis.report.readings import Reading, readings
from harness.store.result import Result


@dataclass(frozen=True)
class Row:
    """One row of the suite on one dataset."""

    name: str
    """As the suite calls it: `w_mse d=4`."""
    dataset: str
    """Label of the dataset."""
    method: str
    """Name of the method, whatever the row is called."""
    control: bool
    """A method that is there to be compared with, such as an untrained encoder."""
    records: tuple[Record, ...]
    """One a seed, each cell once."""

    @cached_property
    def done(self) -> list[Result]:
        """Results with metrics, in the order of the plan."""
        return [r.result for r in self.records if r.result is not None and r.status == "done"]

    @cached_property
    def readings(self) -> list[list[Reading]]:
        """Of each run in `done`."""
        return [readings(result) for result in self.done]

    def mean(self, measure: str) -> float | None:
        """Of a metric or cost over all planned seeds; None where one is missing."""
        return Entry(measure, self.records).mean

    @property
    def collapsed(self) -> int:
        """How many runs collapsed."""
        return sum(record.collapsed for record in self.records)

    @property
    def hardware(self) -> tuple[str, ...]:
        """Every device that its runs were made on, in words."""
        return tuple(sorted({hardware(result) for result in self.done}))


def rows_of(records: Iterable[Record], controls: Collection[str]) -> list[Row]:
    """Records grouped by row and dataset, in the order of the plan.

    Args:
        controls: names of methods that are controls.
    """
    groups: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        groups.setdefault((record.placed.row, record.placed.dataset), {}).setdefault(record.placed.id, record)
    rows = []
    for (name, dataset), group in groups.items():
        method = next(iter(group.values())).cell.method
        rows.append(Row(name, dataset, method, method in controls, tuple(group.values())))
    return rows


def hardware(result: Result) -> str:
    """What timings may be compared on: device, threads and host."""
    made = result.provenance
    threads = f"{made.threads} thread{'s' * (made.threads != 1)}"
    return f"{made.device}, {threads}, host {made.host}"


def metrics_of(rows: Iterable[Row]) -> list[str]:
    """Metrics that any row has, in the order of first appearance."""
    return list(dict.fromkeys(name for row in rows for result in row.done for name in _ordered(result.metrics)))


def _ordered(names: Iterable[str]) -> list[str]:
    first = ["linear_top1"]  # what papers report
    return sorted(names, key=lambda name: (name not in first, name))
