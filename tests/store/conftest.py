"""A small pretraining with its records, as every test of the store needs them; all made by hand, nothing is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.spec.models import (
    Augmentation,
    Backbone,
    Cell,
    Evaluation,
    Input,
    Monitor,
    Optimiser,
    Pretraining,
    Schedule,
    Source,
    TrainingSpec,
    Transform,
)
from harness.store.cell_result import sample_name
from harness.store.provenance import Code
from harness.store.records import (
    Arrays,
    Curve,
    CurvePoint,
    Description,
    EvaluationRecord,
    Failure,
    PretrainingRecord,
    Provenance,
    Sample,
    TrainingCost,
    pack_components,
    pack_hits,
)
from harness.store.store import Store

TRAIN = Source(name="digits", splits=("train",), images=("a" * 64,), labels=("b" * 64,))
TEST = Source(name="digits", splits=("test",), images=("c" * 64,), labels=("d" * 64,))
CODE = Code(
    digests={
        "method w_mse": "m",
        "training on cpu": "t",
        "description": "x",
        "evaluation": "e",
        "probe knn": "k",
        "probe linear": "l",
    },
    commit="c",
    dirty=False,
)


def training(**changes: Any) -> TrainingSpec:
    fields: dict[str, Any] = {
        "views": 2,
        "augmentation": Augmentation(),
        "optimiser": Optimiser(),
        "schedule": Schedule(),
        "epochs": 4,
        "batch_size": 128,
        "precision": "float32",
    }
    return TrainingSpec(**(fields | changes))


def pretraining(**changes: Any) -> Pretraining:
    fields: dict[str, Any] = {
        "method": "w_mse",
        "settings": {"sub_batch_size": 64},
        "input": Input(size=8, channels=1, mean=(0.3,), std=(0.37,)),
        "source": TRAIN,
        "backbone": Backbone(stem="small", width=8),
        "training": training(),
        "seed": 0,
    }
    return Pretraining(**(fields | changes))


def question(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "probe": "knn",
        "settings": {"k": 5},
        "train": TRAIN,
        "scored": TEST,
        "split": "test",
        "transform": Transform(),
        "precision": "float32",
        "seed": None,
    }
    return fields | changes


def evaluation(of: Pretraining, **changes: Any) -> Evaluation:
    return Evaluation(pretraining=of.id, **question(**changes))


def monitor(**changes: Any) -> Monitor:
    return Monitor(every_epochs=changes.pop("every_epochs", 1), **question(**changes))


def provenance(**changes: Any) -> Provenance:
    fields: dict[str, Any] = {
        "code": {"method w_mse": "m", "training on cpu": "t"},
        "commit": None,
        "dirty": None,
        "versions": {"python": "3.11.1"},
        "device": "cpu",
        "threads": 2,
        "host": "here",
        "platform": "Linux",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
    }
    return Provenance(**(fields | changes))


FAILURE = Failure(kind="RuntimeError", message="no", traceback="...", epoch=1, step=3)
COST = TrainingCost(
    train_seconds=10.0,
    monitor_seconds=1.0,
    steps=40,
    views_seen=10240,
    peak_memory_bytes=1000,
    energy_joules=None,
    unknown={"energy_joules": "the device does not tell"},
)


class Shelf:
    """A store that tests fill by hand."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def trained(
        self, spec: Pretraining | None = None, encoder: bytes | None = b"weights", **changes: Any
    ) -> PretrainingRecord:
        """A pretraining that is done, with its encoder (None: it has no weights)."""
        spec = spec or pretraining()
        file = None if encoder is None else self.store.write_encoder(spec.id, encoder)
        fields: dict[str, Any] = {
            "id": spec.id,
            "spec": spec,
            "status": "done",
            "encoder": file,
            "cost": COST,
            "provenance": provenance(),
        }
        record = PretrainingRecord(**(fields | changes))
        self.store.save_curve(
            Curve(id=spec.id, points=(CurvePoint(epoch=1, step=10, values={"loss": 1.5}, seconds=2.5),))
        )
        self.store.save_pretraining(record)
        return record

    def ended(self, status: str, spec: Pretraining | None = None) -> PretrainingRecord:
        """A pretraining that failed or was pruned."""
        failure = FAILURE if status == "failed" else None
        return self.trained(spec, None, status=status, cost=None, failure=failure)

    def described(self, record: PretrainingRecord, **changes: Any) -> Description:
        """Its description, with spectra."""
        fields: dict[str, Any] = {
            "id": record.id,
            "encoder": record.encoder.sha256 if record.encoder else None,
            "status": "done",
            "encoder_flops_per_view": 100,
            "train_flops": 2000,
            "parameters": 10,
            "features": 8,
            "diagnostics": {"h_std": 0.9, "h_rankme": 6.0, "h_dimensions": 8.0},
            "seconds": 0.5,
            "provenance": provenance(code={"method w_mse": "m", "description": "x"}),
        }
        description = Description(**(fields | changes))
        self.store.save_arrays(record.id, "spectra", Arrays(id=record.id, spectra={"h": [2.0, 1.0]}))
        self.store.save_description(description)
        return description

    def evaluated(self, record: PretrainingRecord, asked: Evaluation | None = None, **changes: Any) -> EvaluationRecord:
        """An answer of 75 %: three of four images right, with hits and a sample of the scored features."""
        asked = asked or evaluation(record.spec)
        hits = np.array([True, True, False, True])
        fields: dict[str, Any] = {
            "id": asked.id,
            "spec": asked,
            "encoder": record.encoder.sha256 if record.encoder else None,
            "status": "done",
            "metrics": {"top1": 75.0},
            "titles": {"top1": "5-NN %"},
            "images": 4,
            "seconds": 0.25,
            "provenance": provenance(code={f"probe {asked.probe}": asked.probe[0], "evaluation": "e"}),
        }
        answer = EvaluationRecord(**(fields | changes))
        self.store.save_arrays(record.id, f"hits-{asked.id}", Arrays(id=asked.id, hits={"top1": pack_hits(hits)}))
        components = np.array([[1.0, 0.5], [-1.0, 0.25], [0.0, 0.0], [0.5, -2.0]])
        sample = Sample(
            images=4, dimensions=2, components=pack_components(components), labels=(0, 1, 0, 1), explained=0.9
        )
        self.store.save_arrays(record.id, sample_name(asked), Arrays(id=record.id, sample=sample))
        self.store.save_evaluation(answer)
        return answer

    def monitored(self, record: PretrainingRecord, asked: Monitor, *points: CurvePoint) -> Curve:
        """The curve of a monitor."""
        curve = Curve(id=record.id, monitor=asked, points=points)
        self.store.save_curve(curve)
        return curve


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "cells")


@pytest.fixture
def store(shelf: Shelf) -> Store:
    return shelf.store


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    """A cell with an evaluation called knn5 and one called linear."""

    def make(spec: Pretraining | None = None, monitors: dict[str, Monitor] | None = None) -> Cell:
        spec = spec or pretraining()
        asked = {"knn5": evaluation(spec), "linear": evaluation(spec, probe="linear", settings={}, seed=0)}
        return Cell(seed=0, dataset="digits", pretraining=spec, evaluations=asked, monitors=monitors or {})

    return make


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
