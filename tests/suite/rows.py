"""Rows as a suite would give them, and the cells they stand for."""

from __future__ import annotations

from typing import Any

from harness.spec.models import Cell
from harness.suite.assemble import assemble, cannot_run
from harness.suite.facts import Catalogue, Facts
from harness.suite.row import RowFields
from tests.suite.fakes import CATALOGUE, DATASETS, FakeFacts

ASKED: dict[str, Any] = {"linear": {"probe": "linear"}, "knn5": {"probe": "knn", "k": 5}}
WATCHED: dict[str, Any] = {"knn5": {"probe": "knn", "k": 5, "every_epochs": 2}}
_TRAINED: dict[str, Any] = {
    "views": 2,
    "augmentation": {},
    "optimiser": {},
    "schedule": {},
    "epochs": 4,
    "batch_size": 256,
}


def row(method: str = "whiten", dataset: str | dict[str, Any] = "cifar", **said: Any) -> RowFields:
    """A row of these methods on a dataset, given by its name or by fields that differ from its protocol."""
    asked = {"name": dataset} if isinstance(dataset, str) else {"name": "cifar"} | dataset
    info = DATASETS[asked["name"]]
    protocol = {
        "image_size": info.image_size,
        "channels": info.channels,
        "mean": info.mean,
        "std": info.std,
        "eval_resize": info.eval_resize,
    }
    entry = CATALOGUE.methods[method]
    fields = {
        "method": method,
        "settings": {},
        "dataset": protocol | asked,
        "backbone": None if entry.represents == "pixels" else {},
        "precision": "float32",
        "seed": 0,
        "split": "test",
        "evaluations": ASKED,
        "monitors": {},
        **(_TRAINED if entry.trains else dict.fromkeys(_TRAINED)),
    }
    return RowFields.model_validate(fields | said)


def cell(
    method: str = "whiten",
    dataset: str | dict[str, Any] = "cifar",
    *,
    facts: Facts | None = None,
    catalogue: Catalogue = CATALOGUE,
    **said: Any,
) -> Cell:
    """The cell of `row`."""
    return assemble(row(method, dataset, **said), catalogue, facts or FakeFacts())


def reason(
    method: str = "whiten", dataset: str | dict[str, Any] = "cifar", *, facts: Facts | None = None, **said: Any
) -> str | None:
    """Why the cell of `row` could not run."""
    fields, facts = row(method, dataset, **said), facts or FakeFacts()
    return cannot_run(fields, assemble(fields, CATALOGUE, facts), CATALOGUE, facts)
