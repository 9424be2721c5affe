"""One cell as its suite sees it: pretraining, description and evaluations put together from what the store holds.

Owns the join and its names (an evaluation's metric is `NAME_METRIC`); what only pictures read is read when it is asked
for. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.spec.collapse import CollapseRule, is_collapsed
from harness.spec.identity import digest, identity_of
from harness.spec.metric import Metric
from harness.spec.models import Cell, Question
from harness.store.costs import Cost
from harness.store.provenance import Code, stale_reason
from harness.store.records import (
    CurvePoint,
    Description,
    EvaluationRecord,
    Failure,
    PretrainingRecord,
    Provenance,
    Sample,
    unpack_hits,
)
from harness.store.stages import current
from harness.store.store import Store

CellStatus = Literal["done", "failed", "pruned", "unfinished"]


@dataclass(frozen=True)
class CellResult:
    """What the store holds of a cell whose pretraining has ended."""

    store: Store
    cell: Cell
    pretraining: PretrainingRecord
    description: Description | None
    evaluations: Mapping[str, EvaluationRecord]
    """By their names in the cell: those that the pretraining's present encoder has answered, or failed at."""

    @property
    def id(self) -> str:
        """Of the pretraining: the name of its directory."""
        return self.pretraining.id

    @property
    def status(self) -> CellStatus:
        """`failed` if any stage did, `unfinished` while evaluations are to do."""
        if self.pretraining.status != "done":
            return self.pretraining.status
        if self.failures:
            return "failed"
        return "done" if len(self.evaluations) == len(self.cell.evaluations) else "unfinished"

    @property
    def trained(self) -> bool:
        """Whether the encoder was trained here: an encoder that was not has not collapsed, whatever it is like."""
        return self.cell.training is not None

    @property
    def failures(self) -> dict[str, Failure]:
        """By stage: `training`, `description`, or the evaluation's name."""
        failures = {"training": self.pretraining.failure}
        failures["description"] = self.description.failure if self.description else None
        failures |= {name: record.failure for name, record in self.evaluations.items()}
        return {stage: failure for stage, failure in failures.items() if failure is not None}

    @property
    def metrics(self) -> dict[str, float]:
        """`linear_top1` and so on, of the evaluations that are done."""
        return {
            f"{name}_{metric}": value
            for name, record in self.evaluations.items()
            for metric, value in record.metrics.items()
        }

    @property
    def measured(self) -> dict[str, Metric]:
        """What the metrics are: title, unit and direction."""
        return {
            f"{name}_{own}": record.metric(own) for name, record in self.evaluations.items() for own in record.metrics
        }

    def evaluation_of(self, metric: str) -> tuple[EvaluationRecord, str] | None:
        """The evaluation that gave a metric, and what the probe calls it."""
        for name, record in self.evaluations.items():
            own = metric.removeprefix(f"{name}_")
            if own != metric and own in record.metrics:
                return record, own
        return None

    def hits(self, metric: str) -> npt.NDArray[np.bool_] | None:
        """Whether each scored image is right, in their order; None where that is not stored."""
        answer = self.evaluation_of(metric)
        if answer is None:
            return None
        record, own = answer
        arrays = self.store.read_arrays(self.id, f"hits-{record.id}", record.id).record
        return unpack_hits(arrays.hits[own], record.images) if arrays and own in arrays.hits else None

    def recalls(self, name: str) -> tuple[tuple[str, float | None], ...]:
        """Of an evaluation: name of each class, and the share of its images that are right, in per cent; empty where
        that is not stored."""
        record = self.evaluations.get(name)
        arrays = record and self.store.read_arrays(self.id, f"hits-{record.id}", record.id).record
        return arrays.recalls if arrays else ()

    @property
    def diagnostics(self) -> dict[str, float | None]:
        """Of h and v at the end of training; empty where there are none."""
        return dict(self.description.diagnostics) if self.description else {}

    @cached_property
    def spectra(self) -> dict[str, list[float]]:
        """`h`, `v`, `initial_h`, `initial_v`: leading eigenvalues of the covariance."""
        if self.description is None:  # those on the disk are of an encoder of before
            return {}
        arrays = self.store.read_arrays(self.id, "spectra", self.id).record
        return dict(arrays.spectra) if arrays else {}

    @cached_property
    def sample(self) -> Sample | None:
        """Features of some scored images of the cell's first evaluation."""
        for question in self.cell.evaluations.values():
            arrays = self.store.read_arrays(self.id, sample_name(question), self.id).record
            if arrays is not None and arrays.sample is not None:
                return arrays.sample
        return None

    @cached_property
    def curves(self) -> tuple[CurvePoint, ...]:
        """The training's readings, with those of the cell's monitors under `NAME_METRIC`."""
        curve = self.store.read_curve(self.id).record
        points = {point.epoch: point for point in (curve.points if curve else ())}
        for name, monitor in self.cell.monitors.items():
            read = self.store.read_curve(self.id, monitor.id).record
            for point in read.points if read else ():
                below = points.get(point.epoch, point.model_copy(update={"values": {}}))
                values = below.values | named(name, point.values)
                points[point.epoch] = below.model_copy(update={"values": values})
        return tuple(points[epoch] for epoch in sorted(points))

    def collapsed(self, rule: CollapseRule) -> bool:
        """Whether training collapsed, by the diagnostics at the end and, where a monitor recorded them, before."""
        if not self.trained or not self.diagnostics:
            return False
        history = [p.values for p in self.curves if "h_rankme" in p.values] if self.cell.monitors else []
        return is_collapsed([*history, self.diagnostics], rule)

    @property
    def cost(self) -> Cost | None:
        """None unless the pretraining is done."""
        training, described = self.pretraining.cost, self.description
        if training is None or self.pretraining.status != "done":
            return None
        return Cost.of(training, described, self.evaluations.values())

    @property
    def provenance(self) -> Provenance:
        """Of the pretraining."""
        return self.pretraining.provenance

    def stale(self, code: Code) -> str | None:
        """Why any part of it is of older code, in words."""
        parts: list[PretrainingRecord | Description | EvaluationRecord] = [self.pretraining, *self.evaluations.values()]
        parts += [self.description] if self.description else []
        reasons = dict.fromkeys(reason for part in parts if (reason := stale_reason(part, code)))
        return "; ".join(reasons) or None


def read_cell(store: Store, cell: Cell) -> CellResult | None:
    """What the store holds of a cell; None where its pretraining has not ended, or is not believed."""
    record = store.pretraining(cell.pretraining.id)
    if record is None:
        return None
    encoder = record.encoder.sha256 if record.encoder else None
    description = store.read_description(record.id).record
    if description is not None and description.encoder != encoder:
        description = None
    answers = {name: current(store, record, question.id) for name, question in cell.evaluations.items()}
    answered = {name: answer for name, answer in answers.items() if answer is not None}
    return CellResult(store, cell, record, description, answered if record.status == "done" else {})


def sample_name(question: Question) -> str:
    """The file of the sample of features of a question's scored images."""
    shown = [identity_of(part) for part in (question.scored, question.split, question.transform, question.precision)]
    return f"sample-{digest(json.dumps(shown, sort_keys=True))}"


def named(name: str, values: Mapping[str, float]) -> dict[str, float]:
    """A monitor's values under its name in the suite; the diagnostics of h and v keep theirs."""
    return {key if key.startswith(("h_", "v_")) else f"{name}_{key}": value for key, value in values.items()}
