"""What a sweep tunes: the rows of a suite, each with its space, its trials' cell and its winner's. No torch, no Optuna.

Owns what differs between a trial and a final cell: trials are scored on a validation split carved from the training
images, with one seed; winners train on all of them, with other seeds, and see the test split once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.suite.axes import Path
from harness.suite.catalogue import DatasetLike, MethodLike
from harness.suite.cell import Cell
from harness.suite.expand import cannot_run
from harness.suite.planned import Placed, shown
from harness.suite.search import SweepSpec
from harness.sweep.space import Options, Space, Values

VALIDATION_FRACTION = 0.1  # of the labelled training images, where the suite says none


class SweepError(ValueError):
    """A sweep that cannot go on: what is wrong, where, and what to do. The study is as it was."""


@dataclass(frozen=True)
class Row:
    """One row of the suite on one dataset: what one study tunes."""

    placed: Placed
    """Its first cell in the suite."""
    entry: MethodLike
    info: DatasetLike
    space: Space
    prune: bool
    """Whether unpromising trials are stopped early."""
    reason: str | None
    """Why not, where the suite says so."""
    seed: int
    """Of every trial."""

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
        return any(not isinstance(s.domain, Options) or len(s.domain.values) > 1 for s in self.space.settings)

    @property
    def missing_data(self) -> bool:
        """Whether its dataset is not on this machine."""
        return self.placed.cell.dataset.fingerprint is None

    def trial(self, values: Values) -> Cell:
        """The cell of one point. ValidationError where there can be none."""
        return self._with(values, trial_cell(self.placed.cell, self.seed))

    def winner(self, values: Values, seed: int) -> Cell:
        """The cell that a point is finally judged by."""
        return self._with(values, final_cell(self.placed.cell, seed))

    def refusal(self, values: Values) -> str | None:
        """Why a point cannot be tried; None if nothing is known against it."""
        try:
            return cannot_run(self.trial(values), self.entry, self.info)
        except ValidationError as error:
            return first_error(error)

    def text(self, values: Values) -> str:
        """A point in a line: `optimiser.lr=0.003, sub_batch_size=64`."""
        return ", ".join(f"{name}={shown(value)}" for name, value in values.items())

    def record(self) -> dict[str, Any]:
        """What the study's trials have in common; a study with another record is another search."""
        cell = trial_cell(self.placed.cell, self.seed).model_dump(mode="json")
        for setting in self.space.settings:
            _take(cell, setting.path)
        return {"space": self.space.record(), "cell": cell}

    def _with(self, values: Values, cell: Cell) -> Cell:
        paths = {setting.name: setting.path for setting in self.space.settings}
        return with_values(cell, self.entry, {paths[name]: value for name, value in values.items()})


def trial_cell(cell: Cell, seed: int) -> Cell:
    """A cell of the suite as trials run it: scored on images held out of the training split."""
    dataset = cell.dataset.model_copy(
        update={"validation_fraction": cell.dataset.validation_fraction or VALIDATION_FRACTION}
    )
    evaluation = cell.evaluation.model_copy(update={"split": "validation"})
    return cell.model_copy(update={"dataset": dataset, "evaluation": evaluation, "seed": seed})


def final_cell(cell: Cell, seed: int) -> Cell:
    """A cell of the suite as winners are run: all training images, and one look at the test split."""
    dataset = cell.dataset.model_copy(update={"validation_fraction": 0.0})
    knn = cell.evaluation.knn.model_copy(update={"every_epochs": 0}) if cell.evaluation.knn else None
    evaluation = cell.evaluation.model_copy(update={"split": "test", "knn": knn})
    return cell.model_copy(update={"dataset": dataset, "evaluation": evaluation, "seed": seed})


def final_seeds(spec: SweepSpec) -> list[int]:
    """Seeds that no trial used."""
    return [spec.seed + 1 + index for index in range(spec.final.seeds)]


def with_values(cell: Cell, entry: MethodLike, values: Mapping[Path, Any]) -> Cell:
    """The cell with other values of some fields. ValidationError if that is none."""
    fields = cell.model_dump(mode="json")
    for path, value in values.items():
        part = fields
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value
    settings = entry.settings.model_validate_json(json.dumps(fields["settings"]), strict=True)
    fields["settings"] = json.loads(settings.model_dump_json())
    return Cell.model_validate_json(json.dumps(fields), strict=True)


def first_error(error: ValidationError) -> str:
    """The first of pydantic's complaints, in a line."""
    detail = error.errors(include_url=False)[0]
    return str(detail.get("ctx", {}).get("error") or detail["msg"].removeprefix("Input "))


def _take(fields: dict[str, Any], path: Path) -> None:
    for step in path[:-1]:
        fields = fields[step]
    fields.pop(path[-1])
