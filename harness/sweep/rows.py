"""What a sweep tunes: the rows of a suite, each with its space, its trials' cells and its winner's. No torch.

Owns what differs between a trial and a final cell: trials are scored on a validation split carved from the training
images, with one seed; winners train on all of them, with other seeds and without monitors, and see the test split once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from harness.spec.identity import identity_of
from harness.spec.metric import Metric
from harness.spec.models import Cell, Monitor
from harness.suite.assemble import assemble, cannot_run
from harness.suite.axes import Path
from harness.suite.facts import Catalogue, Facts, MethodLike
from harness.suite.planned import Placed, shown
from harness.suite.row import RowFields
from harness.suite.search import SweepSpec
from harness.sweep.space import Space, Values

VALIDATION_FRACTION = 0.1  # of the labelled training images, where the suite says none
SAID_BY_THE_ROW = ("pretraining", "precision", "seed")  # fields of a question that its row has too


class SweepError(ValueError):
    """A sweep that cannot go on: what is wrong, where, and what to do. The study is as it was."""


@dataclass(frozen=True)
class SweepRow:
    """One row of the suite on one dataset: what one study tunes."""

    placed: Placed
    """Its first cell in the suite."""
    catalogue: Catalogue
    facts: Facts
    space: Space
    prune: bool
    """Whether unpromising trials are stopped early."""
    reason: str | None
    """Why not, where the suite says so."""
    seed: int
    """Of every trial."""
    metric_name: str
    """Of the metric that the sweep optimises."""

    @property
    def name(self) -> str:
        """As tables print it: `w_mse d=4`."""
        return self.placed.row

    @property
    def dataset(self) -> str:
        """Label of the dataset."""
        return self.placed.dataset

    @property
    def title(self) -> str:
        """Of its study."""
        return f"{self.name} on {self.dataset}"

    @property
    def tuned(self) -> bool:
        """Whether there is anything to choose."""
        return any(not setting.distribution.single() for setting in self.space.settings)

    @property
    def entry(self) -> MethodLike:
        """Its method."""
        return self.catalogue.methods[self.placed.fields.method]

    @property
    def missing_data(self) -> bool:
        """Whether a dataset that its trials read is not on this machine."""
        cell = self.placed.cell
        sources = [cell.pretraining.source] if cell.pretraining.source else []
        questions = [*cell.evaluations.values(), *cell.monitors.values()]
        sources += [part for question in questions for part in (question.train, question.scored)]
        return not all(self.facts.dataset(name).here for name in {source.name for source in sources})

    @property
    def metrics(self) -> dict[str, Metric]:
        """Every metric that its evaluations give."""
        metrics = {}
        for label, question in self.placed.cell.evaluations.items():
            probe = self.catalogue.probes[question.probe]
            classes = self.facts.dataset(question.train.name).classes
            for metric in probe.all_metrics(probe.settings.model_validate(question.settings), classes):
                metrics[f"{label}_{metric.name}"] = metric
        return metrics

    @cached_property
    def metric(self) -> Metric:
        """The metric that the sweep optimises: unit and direction."""
        return self.metrics.get(self.metric_name, Metric("unknown", self.metric_name))

    def trial(self, values: Values) -> Cell:
        """The cell of one point. ValidationError where there can be none."""
        return assemble(self.trial_fields(values), self.catalogue, self.facts)

    def trial_fields(self, values: Values) -> RowFields:
        """What a suite would have to say for that cell."""
        return self._with(values, fields_of_trials(self.placed.fields, self.seed))

    def winner(self, values: Values, seed: int) -> Cell:
        """The cell of the final score of a point."""
        return assemble(self.winner_fields(values, seed), self.catalogue, self.facts)

    def winner_fields(self, values: Values, seed: int) -> RowFields:
        """What a suite would have to say for that cell."""
        return self._with(values, fields_of_finals(self.placed.fields, seed))

    def refusal(self, values: Values) -> str | None:
        """Why a point cannot be run; None if nothing is known against it."""
        if self.space.combinations and not self.space.allows(values):
            return "its choices do not go together"
        try:
            fields = self.trial_fields(values)
            return cannot_run(fields, assemble(fields, self.catalogue, self.facts), self.catalogue, self.facts)
        except ValidationError as error:
            return first_error(error)

    def text(self, values: Values) -> str:
        """A point in a line: `optimiser.lr=0.003, sub_batch_size=64`."""
        return ", ".join(f"{name}={shown(value)}" for name, value in values.items())

    def record(self) -> dict[str, Any]:
        """What the study's trials have in common; a study with another record is another search."""
        fields = fields_of_trials(self.placed.fields, self.seed)
        cell = _content(assemble(fields, self.catalogue, self.facts), fields)
        for setting in self.space.settings:
            _remove(cell, setting.path)
        return {"space": {setting.name: setting.record() for setting in self.space.settings}, "cell": cell}

    def _with(self, values: Values, fields: RowFields) -> RowFields:
        paths = {setting.name: setting.path for setting in self.space.settings}
        return with_values(fields, self.entry, {paths[name]: value for name, value in values.items()})


def fields_of_trials(fields: RowFields, seed: int) -> RowFields:
    """A row of the suite as trials run it: scored on images held out of the training split."""
    fraction = fields.dataset.validation_fraction or VALIDATION_FRACTION
    dataset = fields.dataset.model_copy(update={"validation_fraction": fraction})
    return fields.model_copy(update={"dataset": dataset, "split": "validation", "seed": seed})


def fields_of_finals(fields: RowFields, seed: int) -> RowFields:
    """A row of the suite as winners are run: all training images, no monitors, and one look at the test split."""
    dataset = fields.dataset.model_copy(update={"validation_fraction": 0.0})
    return fields.model_copy(update={"dataset": dataset, "split": "test", "monitors": {}, "seed": seed})


def pruning_monitor(cell: Cell) -> tuple[str, Monitor] | None:
    """What pruning reads: an accuracy, as points of the curve name it, and the monitor that gives it, the first whose
    probe is `knn`; None where there is none."""
    return next(((f"{label}_top1", asked) for label, asked in cell.monitors.items() if asked.probe == "knn"), None)


def final_seeds(spec: SweepSpec) -> list[int]:
    """Seeds that no trial used."""
    return [spec.seed + 1 + index for index in range(spec.final.seeds)]


def with_values(fields: RowFields, entry: MethodLike, values: Mapping[Path, Any]) -> RowFields:
    """The fields with other values of some. ValidationError if the method or a row cannot have them."""
    tree = fields.model_dump(mode="json")
    for path, value in values.items():
        part = tree
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value
    settings = entry.settings.model_validate_json(json.dumps(tree["settings"]), strict=True)
    tree["settings"] = json.loads(settings.model_dump_json())
    return RowFields.model_validate_json(json.dumps(tree), strict=True)


def first_error(error: ValidationError) -> str:
    """The first of pydantic's complaints, in a line."""
    detail = error.errors(include_url=False)[0]
    return str(detail.get("ctx", {}).get("error") or detail["msg"].removeprefix("Input "))


def _content(cell: Cell, fields: RowFields) -> dict[str, Any]:
    """A trial's cell in the words of a suite, with its data and weights by content only: a new path, or a field that
    older results lack, makes no other search."""
    content: dict[str, Any] = identity_of(cell.pretraining)
    content |= content.pop("training") or {}
    content |= {"precision": fields.precision, "seed": fields.seed}
    for part, questions in (("evaluations", cell.evaluations), ("monitors", cell.monitors)):
        content[part] = {
            label: {key: value for key, value in identity_of(question).items() if key not in SAID_BY_THE_ROW}
            for label, question in questions.items()
        }
    return content


def _remove(fields: dict[str, Any], path: Path) -> None:
    """Remove a field, if it is there."""
    for step in path[:-1]:
        fields = fields.get(step) or {}
    fields.pop(path[-1], None)
