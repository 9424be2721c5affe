"""Planned cells beside what the store holds of them, as records and as a tidy data frame.

Every planned cell is here, done or not: what is missing has a status and no value, and is never dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from harness.store.provenance import Code, is_stale
from harness.store.result import Cost, Result
from harness.store.store import Store
from harness.suite.axes import Ambiguous
from harness.suite.cell import Cell
from harness.suite.models import CostColumn
from harness.suite.planned import Expansion, Placed, Planned, Skipped, shown

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["done", "failed", "pruned", "running", "interrupted", "pending", "no data", "skipped"]

NOTHING = "–"
"""What stands where there is no value."""

COSTS: tuple[str, ...] = get_args(CostColumn)
"""Cost columns: those of `Cost`."""


@dataclass(frozen=True)
class Record:
    """One planned or skipped cell and what became of it."""

    placed: Placed
    """The cell, its label, dataset and axes in the suite."""
    status: Status
    result: Result | None = None
    stale: str | None = None
    """Why the result is of older code."""
    reason: str | None = None
    """Why there is no number: the failure, the skip, what data is missing, or why a stored result is not believed."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """By the names of COSTS; empty unless done."""

    @property
    def cell(self) -> Cell:
        """The cell as it was run, or else as planned."""
        return self.result.cell if self.result is not None else self.placed.cell

    @property
    def collapsed(self) -> bool:
        return self.result is not None and bool(self.result.diagnostics.get("collapsed"))

    def text(self, name: str) -> str:
        """What a suite's name (`method`, `dataset`, an axis, a field) stands for here, as printed."""
        try:
            return text_of(self.placed.value(name))
        except Ambiguous:  # one method's axis, of whose name this method has several fields
            return NOTHING


def gather(expansion: Expansion, store: Store, code: Code | None = None) -> list[Record]:
    """Read the store for every cell of a suite: planned ones in the order of the plan, then the skipped ones.

    Where a dataset is not on this machine, so that its cells have no fingerprint, results of the same cells are taken
    whatever their fingerprint is, as long as there is but one.

    Args:
        code: marks results of older code; None leaves them unmarked.
    """
    elsewhere: dict[str, list[Result]] = {}
    if any(item.cell.dataset.fingerprint is None for item in expansion.planned):
        for result in store.results():
            elsewhere.setdefault(_without_fingerprint(result.cell), []).append(result)
    records = [_record(item, store, code, elsewhere) for item in expansion.planned]
    return records + [_skipped(item) for item in expansion.skipped]


def expected_metrics(cell: Cell) -> list[str]:
    """Names of the metrics that the cell's evaluation asks for."""
    names = ["linear_top1", "linear_top5"] if cell.evaluation.linear else []
    names += [f"knn{cell.evaluation.knn.k}_top1"] if cell.evaluation.knn else []
    return names + (["lbfgs_top1"] if cell.evaluation.lbfgs else [])


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """A row per cell and metric, in the order given.

    Accuracies are per cent; the columns of axes are named `axis.NAME`. A cell that is not done has one row for each
    metric that its evaluation asks for, with NaN for a value.
    """
    import pandas as pd  # slow to load, and those who only look need none

    axes = list(dict.fromkeys(name for record in records for name in record.placed.axes))
    rows = [row for record in records for row in _rows(record, axes)]
    columns = ["label", "dataset", "method", "views", "seed", *(f"axis.{name}" for name in axes)]
    columns += ["cell_id", "status", "metric", "value", "collapsed", "stale", "reason", *COSTS]
    columns += ["device", "commit", "dirty"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    real = ["value", "train_seconds", "evaluation_seconds", "views_per_second", "train_flops", "energy_joules"]
    whole = ["views", "seed", *(name for name in COSTS if name not in real)]
    return table.astype(dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "float64"))


def text_of(value: Any) -> str:
    """A setting's value as a table shows it."""
    return NOTHING if value is None else shown(value)


def _record(item: Planned, store: Store, code: Code | None, elsewhere: Mapping[str, list[Result]]) -> Record:
    result, reason = store.result(item.id), None
    if result is None and item.missing_data is not None:
        same = elsewhere.get(_without_fingerprint(item.cell), [])
        result = same[0] if len(same) == 1 else None
        reason = f"there are results on {len(same)} different copies of the dataset" if len(same) > 1 else None
    if result is not None:
        stale = None if code is None else is_stale(result, code)
        failure = result.failure
        reason = f"{failure.kind}: {failure.message}" if failure else None
        costs = _costs(result.cost) if result.status == "done" and result.cost else {}
        return Record(item, result.status, result, stale, reason, costs)
    if item.missing_data is not None:
        return Record(item, "no data", reason=reason or item.missing_data)
    unbelieved = store.why_not(item.id) if (store.directory(item.id) / "result.json").exists() else None
    return Record(item, store.state(item.id), reason=unbelieved)


def _skipped(item: Skipped) -> Record:
    return Record(item, "skipped", reason=item.reason)


def _costs(cost: Cost) -> dict[str, float]:
    values: dict[str, float | None] = {name: getattr(cost, name, None) for name in COSTS}
    return {name: value for name, value in values.items() if value is not None}


def _rows(record: Record, axes: Iterable[str]) -> list[dict[str, Any]]:
    cell, placed = record.cell, record.placed
    row: dict[str, Any] = {"label": placed.label, "dataset": placed.dataset, "method": cell.method}
    row |= {"views": cell.views, "seed": cell.seed, "cell_id": cell.id, "status": record.status}
    row |= {f"axis.{name}": text_of(placed.axes[name]) for name in axes if name in placed.axes}
    row |= {"stale": record.stale, "reason": record.reason} | dict(record.costs)
    if record.result is not None:
        provenance = record.result.provenance
        row |= {"device": provenance.device, "commit": provenance.commit, "dirty": provenance.dirty}
    if record.result is not None and record.status == "done":
        row["collapsed"] = record.collapsed
        return [row | {"metric": name, "value": value} for name, value in record.result.metrics.items()] or [row]
    return [row | {"metric": name} for name in expected_metrics(cell)] or [row]


def _without_fingerprint(cell: Cell) -> str:
    fields = cell.model_dump(mode="json")
    fields["dataset"]["fingerprint"] = None
    return json.dumps(fields, sort_keys=True)
