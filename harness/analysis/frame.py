"""Planned cells beside what the store holds of them, as records and as a tidy data frame.

Every planned cell is here, done or not: what is missing has a status and no value, and is never dropped. A metric has a
value as soon as its evaluation is done, whatever became of the cell's others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from harness.registry import all_probes
from harness.spec.collapse import CollapseRule
from harness.spec.metric import Metric
from harness.spec.models import Cell, Evaluation, Pretraining, Question
from harness.store.cell_result import CellResult, read_cell
from harness.store.costs import COSTS
from harness.store.provenance import Code, stale_reason
from harness.store.records import Failure
from harness.store.store import Store
from harness.suite.axes import Ambiguous
from harness.suite.planned import Expansion, Placed, Planned, Skipped, shown

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["done", "failed", "pruned", "running", "interrupted", "pending", "no data", "skipped"]

NOTHING = "–"
"""What stands where there is no value."""

DEFAULT_RULE = CollapseRule()


@dataclass(frozen=True)
class Record:
    """One planned or skipped cell and what became of it."""

    placed: Placed
    """The cell, its label, dataset and axes in the suite."""
    status: Status
    """`pending` also where the pretraining is done and evaluations are to do; `failed` if any stage did."""
    result: CellResult | None = None
    """None where the pretraining has not ended."""
    stale: str | None = None
    """Why some part of the result is of older code."""
    reason: str | None = None
    """Why there is no number: the failures, the skip, what data is missing, or why what is stored is not believed."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """By the names of COSTS, as far as they are known; empty unless the pretraining is done."""
    collapsed: bool = False
    """Whether training collapsed, by the suite's rule."""
    to_do: tuple[str, ...] = ()
    """Stages that are not there or failed: `training`, `description`, names of evaluations. Empty for `skipped`."""
    stale_metrics: frozenset[str] = frozenset()
    """Metrics whose pretraining or own evaluation is of older code."""

    @property
    def cell(self) -> Cell:
        return self.placed.cell

    def status_of(self, metric: str | None) -> Status:
        """What became of one metric: `failed` if its own evaluation or the training did, `done` if nothing is to do for
        it, also where nobody asked for it. None: of the training alone."""
        result = self.result
        if result is None or result.pretraining.status != "done":
            return self.status
        name = None if metric is None else evaluation_name(self.cell, metric)
        if metric in result.metrics or name is None:
            return "done"
        if name in result.evaluations:
            return result.evaluations[name].status
        return self.status if self.status in ("running", "no data") else "pending"

    def value(self, measure: str) -> float | None:
        """Of a metric or cost; None where there is none."""
        if measure in COSTS:
            return self.costs.get(measure)
        return None if self.result is None else self.result.metrics.get(measure)

    def metric(self, name: str) -> Metric | None:
        """Title, unit and direction of a metric of an evaluation or a monitor; None where the cell has none such."""
        return metric_of(self.cell, name)

    def text(self, name: str) -> str:
        """What a suite's name (`method`, `dataset`, an axis, a field) stands for here, as printed."""
        try:
            return text_of(self.placed.value(name))
        except Ambiguous:  # one method's axis, of whose name this method has several fields
            return NOTHING


def gather(
    expansion: Expansion, store: Store, code: Code | None = None, rule: CollapseRule = DEFAULT_RULE
) -> list[Record]:
    """Read the store for every cell of a suite: planned ones in the order of the plan, then the skipped ones.

    Args:
        code: marks results of older code; None leaves them unmarked.
        rule: when a run counts as collapsed.
    """
    copies = _copies(store) if any(_lacks_content(item) for item in expansion.planned) else {}
    records = [_record(item, store, code, rule, copies) for item in expansion.planned]
    return records + [_skipped(item) for item in expansion.skipped]


def evaluation_name(cell: Cell, metric: str) -> str | None:
    """The name of the cell's evaluation that a metric would be of; None where the cell has none."""
    return _asker(cell.evaluations, metric)


def metric_of(cell: Cell, name: str) -> Metric | None:
    """What a metric of one of the cell's evaluations or, failing that, monitors is; None where it has none such."""
    for questions in (cell.evaluations, cell.monitors):
        asker = _asker(questions, name)
        for metric in metrics_of(questions[asker]) if asker else ():
            if name == f"{asker}_{metric.name}":
                return metric
    return None


def metrics_of(question: Question) -> tuple[Metric, ...]:
    """What a question's probe measures, the first above all; what depends on the number of classes is among it."""
    return _metrics_of(question.probe, json.dumps(question.settings, sort_keys=True))


def expected_metrics(cell: Cell) -> list[str]:
    """Metrics that the cell's evaluations ask for, those that depend on the number of classes among them."""
    return [metric for name, question in cell.evaluations.items() for metric in _expected(name, question)]


def planned_metrics(records: Iterable[Record]) -> dict[str, Metric]:
    """What `Expansion.metrics` says, of these records' cells: every metric, the first of each evaluation before all
    others."""
    asked = _questions(records)
    metrics = {f"{name}_{metric.name}": metric for name, question in asked for metric in metrics_of(question)}
    return {name: metrics[name] for name in dict.fromkeys([*first_of(asked), *metrics])}


def first_metrics(records: Iterable[Record]) -> list[str]:
    """The first metric of each evaluation that these records' cells have."""
    return list(dict.fromkeys(first_of(_questions(records))))


def first_of(asked: Iterable[tuple[str, Question]]) -> list[str]:
    """The first metric of each named question."""
    return [f"{name}_{metrics_of(question)[0].name}" for name, question in asked]


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """A row per cell and metric, in the order given.

    Values are in their metric's unit, accuracies in per cent; the columns of axes are named `axis.NAME`. Status and
    reason are the metric's. An evaluation that is not done has one row for each metric that it would give, with NaN
    for a value.
    """
    import pandas as pd  # slow to load, and those who only look need none

    axes = list(dict.fromkeys(name for record in records for name in record.placed.axes))
    rows = [row for record in records for row in _rows(record, axes)]
    columns = ["label", "dataset", "method", "views", "seed", *(f"axis.{name}" for name in axes)]
    columns += ["pretraining_id", "evaluation_id", "status", "metric", "value", "collapsed", "stale", "reason", *COSTS]
    columns += ["device", "commit", "dirty"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    real = ["value", *(name for name, column in COSTS.items() if not column.whole)]
    whole = ["views", "seed", *(name for name, column in COSTS.items() if column.whole)]
    return table.astype(dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "float64"))


def text_of(value: Any) -> str:
    """A setting's value as a table shows it."""
    return NOTHING if value is None else shown(value)


def failure_text(failures: Mapping[str, Failure]) -> str | None:
    """Failures by stage in words; the training's goes without its name. None where there is none."""
    said = [
        f"{'' if stage == 'training' else f'{stage}: '}{failure.kind}: {failure.message}"
        for stage, failure in failures.items()
    ]
    return "; ".join(said) or None


def _record(item: Planned, store: Store, code: Code | None, rule: CollapseRule, copies: Mapping[str, int]) -> Record:
    result = read_cell(store, item.cell)
    if result is None:
        return _without_result(item, store, copies)
    status: Status = "pending"
    reason = failure_text(result.failures)
    if result.status != "unfinished":
        status = result.status
    elif store.state(result.id) == "running":
        status = "running"
    elif item.missing_data is not None:
        status, reason = "no data", item.missing_data
    elif unbelieved := _unbelieved(result):
        reason = unbelieved
    return Record(
        item,
        status,
        result,
        None if code is None else result.stale(code),
        reason,
        _costs(result),
        result.collapsed(rule),
        _to_do(result),
        frozenset() if code is None else _stale_metrics(result, code),
    )


def _without_result(item: Planned, store: Store, copies: Mapping[str, int]) -> Record:
    pretraining = item.cell.pretraining
    to_do = ("training", "description", *item.cell.evaluations)
    if item.missing_data is not None:
        several = copies.get(_without_content(pretraining), 0) if _lacks_content(item) else 0
        reason = f"there are results on {several} different copies of the dataset" if several > 1 else None
        return Record(item, "no data", reason=reason or item.missing_data, to_do=to_do)
    reason = store.read_pretraining(pretraining.id).reason
    return Record(item, store.state(pretraining.id), reason=reason, to_do=to_do)


def _skipped(item: Skipped) -> Record:
    return Record(item, "skipped", reason=item.reason)


def _to_do(result: CellResult) -> tuple[str, ...]:
    """Every stage if training is to do, which makes all that rests on it to do as well."""
    everything = ("training", "description", *result.cell.evaluations)
    if result.pretraining.status != "done":
        return everything
    answers = result.evaluations
    left = [name for name in result.cell.evaluations if name not in answers or answers[name].status == "failed"]
    described = result.description is not None and result.description.status == "done"
    if left or not described:
        has_encoder = result.store.has_encoder(result.pretraining)
        if left and not has_encoder:
            return everything
        return (*(("description",) if has_encoder and not described else ()), *left)
    return ()


def _unbelieved(result: CellResult) -> str | None:
    """Why stored answers to the cell's questions are not taken."""
    lacking = [name for name in result.cell.evaluations if name not in result.evaluations]
    asked = result.cell.evaluations
    reasons = {name: result.store.read_evaluation(result.id, asked[name].id).reason for name in lacking}
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason) or None


def _stale_metrics(result: CellResult, code: Code) -> frozenset[str]:
    if stale_reason(result.pretraining, code):
        return frozenset(result.metrics)
    old = {name for name, record in result.evaluations.items() if stale_reason(record, code)}
    return frozenset(metric for metric in result.metrics if evaluation_name(result.cell, metric) in old)


def _costs(result: CellResult) -> dict[str, float]:
    """What is known; evaluation is not priced before all of it is done."""
    cost = result.cost
    values: dict[str, float | None] = {name: getattr(cost, name, None) for name in COSTS}
    if result.status != "done":
        values["evaluation_seconds"] = None
    return {name: value for name, value in values.items() if value is not None}


def _rows(record: Record, axes: Iterable[str]) -> list[dict[str, Any]]:
    cell, placed, result = record.cell, record.placed, record.result
    row: dict[str, Any] = {"label": placed.label, "dataset": placed.dataset, "method": cell.method}
    row |= {"views": cell.training.views if cell.training else None, "seed": cell.seed}
    row |= {"pretraining_id": cell.pretraining.id, "status": record.status}
    row |= {f"axis.{name}": text_of(placed.axes[name]) for name in axes if name in placed.axes}
    row |= {"stale": record.stale, "reason": record.reason} | dict(record.costs)
    if result is not None:
        made = result.provenance
        row |= {"device": made.device, "commit": made.commit, "dirty": made.dirty}
        row |= {"collapsed": record.collapsed} if result.pretraining.status == "done" else {}
    return [row | measured for measured in _measured(record)] or [row]


def _questions(records: Iterable[Record]) -> list[tuple[str, Evaluation]]:
    """Every name with each question that it stands for."""
    questions = {(name, q.probe, json.dumps(q.settings)): q for r in records for name, q in r.cell.evaluations.items()}
    return [(name, question) for (name, _, _), question in questions.items()]


def _asker(questions: Mapping[str, Question], metric: str) -> str | None:
    """The name of the question that a metric would be of."""
    return max((name for name in questions if metric.startswith(f"{name}_")), key=len, default=None)


@lru_cache(maxsize=1024)  # cells of one suite differ little
def _metrics_of(probe: str, settings: str) -> tuple[Metric, ...]:
    entry = all_probes()[probe]
    return entry.all_metrics(entry.settings.model_validate_json(settings), None)


def _expected(name: str, question: Evaluation) -> list[str]:
    return [f"{name}_{metric.name}" for metric in metrics_of(question)]


def _measured(record: Record) -> list[dict[str, Any]]:
    """A row's own part for each metric that the cell has, or would have."""
    cell, result = record.cell, record.result
    rows: list[dict[str, Any]] = []
    for name, question in cell.evaluations.items():
        answer = result.evaluations.get(name) if result is not None else None
        if answer is not None and answer.status == "done":
            done = {"evaluation_id": question.id, "status": "done", "reason": None}
            rows += [{**done, "metric": f"{name}_{own}", "value": value} for own, value in answer.metrics.items()]
            continue
        failed = failure_text({"training": answer.failure}) if answer is not None and answer.failure else None
        for metric in _expected(name, question):
            status = record.status_of(metric)
            reason = failed or (record.reason if status == record.status else None)
            rows.append({"evaluation_id": question.id, "status": status, "reason": reason, "metric": metric})
    return rows


def _lacks_content(item: Placed) -> bool:
    """Whether the images that it would be trained on are known by their name only."""
    source = item.cell.pretraining.source
    return source is not None and not source.known


def _copies(store: Store) -> Counter[str]:
    """How many pretrainings differ in nothing but the content of their images, by what they have in common."""
    return Counter(_without_content(record.spec) for record in store.pretrainings())


def _without_content(pretraining: Pretraining) -> str:
    fields = pretraining.model_dump(mode="json")
    if fields["source"] is not None:
        fields["source"] |= {"images": None, "labels": None}
    return json.dumps(fields, sort_keys=True)
