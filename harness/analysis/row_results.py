"""The rows of the page: the runs that differ by their seed alone, on one dataset. Owns what they have in common; reads
results, computes nothing but means over complete rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.analysis.entries import Entry, headings
from harness.analysis.frame import Record, metrics_of, planned_metrics
from harness.analysis.readings import Reading, readings
from harness.spec.metric import Metric
from harness.store.cell_result import CellResult
from harness.store.records import Provenance

SPACES = ("h_", "v_")
"""How the collapse diagnostics of the encoder's and of the head's output begin."""


@dataclass(frozen=True)
class RowResults:
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
    def results(self) -> list[CellResult]:
        """Of the seeds whose pretraining is done, whichever evaluations are, in the order of the plan."""
        stored = [record.result for record in self.records if record.result is not None]
        return [result for result in stored if result.pretraining.status == "done"]

    @cached_property
    def readings(self) -> list[list[Reading]]:
        """Of each run in `results`."""
        return [readings(result) for result in self.results]

    def values(self, metric: str) -> dict[int, float]:
        """A metric of every seed that has it, by seed."""
        return Entry(metric, self.records).by_seed

    def mean(self, measure: str) -> float | None:
        """Of a metric or cost over all planned seeds; None where one is missing."""
        return Entry(measure, self.records).mean

    def metric(self, name: str) -> Metric:
        """Unit and direction."""
        return Entry(name, self.records).metric

    @property
    def done(self) -> int:
        """How many runs are done, evaluations included."""
        return sum(record.status == "done" for record in self.records)

    @property
    def collapsed(self) -> int:
        """How many runs collapsed."""
        return sum(record.collapsed for record in self.records)

    @property
    def hardware(self) -> tuple[str, ...]:
        """Every device that its encoders were trained on, in words."""
        return tuple(sorted({hardware(result) for result in self.results}))


def group_by_row(records: Iterable[Record], controls: Collection[str]) -> list[RowResults]:
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
        rows.append(RowResults(name, dataset, method, method in controls, tuple(group.values())))
    return rows


def hardware(result: CellResult) -> str:
    """What timings may be compared on: the training's machine."""
    return describe_hardware(result.provenance)


def describe_hardware(made: Provenance) -> str:
    """Device, threads and host."""
    threads = f"{made.threads} thread{'s' * (made.threads != 1)}"
    return f"{made.device}, {threads}, host {made.host}"


def measured_metrics(rows: Sequence[RowResults]) -> list[str]:
    """Metrics that any row has: the first of each evaluation, then the others, in the order of the plan."""
    planned = planned_metrics([record for row in rows for record in row.records])
    return [name for name in planned if any(row.values(name) for row in rows)]


def titles_of(rows: Iterable[RowResults]) -> dict[str, str]:
    """Headings of the rows' metrics, those of their monitors among them."""
    records = [record for row in rows for record in row.records]
    monitors = {name: q for record in records for name, q in record.cell.monitors.items()}
    watched = {f"{name}_{metric.name}": metric for name, q in monitors.items() for metric in metrics_of(q)}
    return headings(planned_metrics(records) | watched)


def monitored_metrics(rows: Iterable[RowResults]) -> list[str]:
    """Metrics that some training has a curve of, in the order of first appearance."""
    names: dict[str, None] = {}
    for result in (result for row in rows for result in row.results):
        prefixes = tuple(f"{label}_" for label in result.cell.monitors)
        for name in (name for point in result.curves for name in point.values):
            if name.startswith(prefixes) and not name.startswith(SPACES):
                names.setdefault(name)
    return list(names)
