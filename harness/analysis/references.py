"""Published numbers, and which of our cells they may stand beside. Owns `references.csv`; runs nothing, judges nothing.

`verified` was read in a copy of the source; `recalled` is from memory, is shown as such, and never enters a verdict.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from harness.analysis.probe_names import probe_metric
from harness.suite.planned import Placed
from harness.suite.row import RowFields

_ALONE: Mapping[str, Any] = {"stop_gradient": False, "predictor": None, "target": None, "regulariser": None}
_PUBLISHED_FORM: Mapping[str, Mapping[str, Any]] = {
    "w_mse": {
        "transform.kind": "whitening",
        "transform.variant": "cholesky",
        "transform.eps": 0.0,
        "pair_loss.kind": "normalised_mse",
        **_ALONE,
    },
    "contrastive": {
        "transform.kind": "batch_norm",
        "pair_loss.kind": "nt_xent",
        "pair_loss.l2_normalise": True,
        **_ALONE,
    },
    "byol": {
        "transform": None,
        "stop_gradient": True,
        "predictor": ...,
        "target": ...,
        "regulariser": None,
        "pair_loss.kind": "normalised_mse",
    },
    "simsiam": {
        "transform": None,
        "stop_gradient": True,
        "predictor": ...,
        "target": None,
        "regulariser": None,
        "pair_loss.kind": "negative_cosine",
    },
    "vicreg": {"transform": None, "pair_loss.kind": "mse", **_ALONE, "regulariser": ...},
    "barlow_twins": {"transform": None, "pair_loss.kind": "cross_correlation", **_ALONE},
}
"""By method, the settings without which a row is another method than the published one, whatever its name; `...` is
anything but null."""


@dataclass(frozen=True)
class Reference:
    """One published number and the recipe it belongs to."""

    source: str
    table: str
    dataset: str
    backbone: str
    epochs: int
    method: str
    d: int
    metric: str
    value: float
    """Per cent."""
    confidence: Literal["verified", "recalled"]

    @property
    def recalled(self) -> bool:
        return self.confidence == "recalled"

    @property
    def enters_verdicts(self) -> bool:
        """Whether a pass or a failure may rest on it."""
        return self.confidence == "verified"


def load() -> tuple[Reference, ...]:
    """All references, in the file's order."""
    text = resources.files(__package__).joinpath("references.csv").read_text(encoding="utf-8")
    return tuple(_reference(row) for row in csv.DictReader(text.splitlines()))


def lookup(
    references: Iterable[Reference],
    *,
    dataset: str,
    method: str,
    d: int | None,
    metric: str,
    backbone: str | None = None,
    epochs: int | None = None,
) -> list[Reference]:
    """Those that agree in everything given, verified ones first; a backbone or epochs of None matches any."""
    matches = [
        reference
        for reference in references
        if (reference.dataset, reference.method, reference.d, reference.metric) == (dataset, method, d, metric)
        and backbone in (None, reference.backbone)
        and epochs in (None, reference.epochs)
    ]
    return sorted(matches, key=lambda reference: reference.recalled)


def for_cell(
    references: Iterable[Reference], placed: Placed, metric: str, *, any_recipe: bool = False
) -> tuple[Reference, bool] | None:
    """The best reference for one metric of a cell, and whether it is of the same recipe.

    A metric is looked up by its probe, whatever the suite calls the evaluation. The recipe is the same if backbone and
    epochs are, the backbone and the images are not cut down, the method is in its published form, and evaluation is on
    test with all labels. Others are given only where `any_recipe` asks for them; transfer to another dataset has none.
    """
    fields = placed.fields
    measure = probe_metric(placed.cell, metric)
    asked = placed.cell.evaluations.get(measure.evaluation) if measure is not None else None
    if measure is None or asked is None or asked.train.name != fields.dataset.name:
        return None
    name = fields.backbone.name if fields.backbone else None
    candidates = list(references)
    criteria: dict[str, Any] = {
        "dataset": fields.dataset.name,
        "method": fields.method,
        "d": fields.views,
        "metric": measure.name,
    }
    same = _uncut(fields) and asked.label_fraction is None
    exact = lookup(candidates, **criteria, backbone=name, epochs=fields.epochs) if same else []
    if exact:
        return exact[0], True
    others = lookup(candidates, **criteria) if any_recipe else []
    return (others[0], False) if others else None


def _uncut(fields: RowFields) -> bool:
    """Whether a cell can be a published recipe at all: all images, the full backbone from random weights, the method as
    published, test."""
    backbone, dataset = fields.backbone, fields.dataset
    if backbone is None or fields.epochs is None or backbone.width is not None or backbone.weights is not None:
        return False
    if dataset.train_images is not None or dataset.validation_fraction or fields.split != "test":
        return False
    required = _PUBLISHED_FORM.get(fields.method, {})
    return all(_agrees(_setting(fields.settings, path, value), value) for path, value in required.items())


def _agrees(value: Any, required: Any) -> bool:
    return value is not None if required is ... else bool(value == required)


def _setting(settings: Mapping[str, Any], path: str, default: Any) -> Any:
    value: Any = settings
    for part in path.split("."):
        if value is None:  # the part is off
            return None
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def _reference(row: Mapping[str, str]) -> Reference:
    confidence = row["confidence"]
    if confidence not in ("verified", "recalled"):
        raise ValueError(f"references.csv: confidence is {confidence!r}; it must be 'verified' or 'recalled'")
    return Reference(
        source=row["source"],
        table=row["table"],
        dataset=row["dataset"],
        backbone=row["backbone"],
        epochs=int(row["epochs"]),
        method=row["method"],
        d=int(row["d"]),
        metric=row["metric"],
        value=float(row["value"]),
        confidence="verified" if confidence == "verified" else "recalled",
    )
