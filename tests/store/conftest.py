"""A small cell and its result, as every test of the store needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.store.result import Cost, CurvePoint, Failure, Provenance, Result
from harness.suite.cell import (
    AugmentationSpec,
    BackboneSpec,
    Cell,
    DatasetSpec,
    EvaluationSpec,
    OptimiserSpec,
    ScheduleSpec,
)


def _cell(**changes: Any) -> Cell:
    fields: dict[str, Any] = {
        "method": "w_mse",
        "settings": {"sub_batch_size": 64, "temperature": None},
        "views": 2,
        "dataset": DatasetSpec(name="digits", image_size=16, channels=1, mean=(0.3,), std=(0.37,)),
        "backbone": BackboneSpec(stem="small", width=8),
        "augmentation": AugmentationSpec(),
        "optimiser": OptimiserSpec(),
        "schedule": ScheduleSpec(),
        "epochs": 4,
        "batch_size": 128,
        "precision": "float32",
        "seed": 0,
        "evaluation": EvaluationSpec(),
    }
    return Cell(**(fields | changes))


def _provenance(**changes: Any) -> Provenance:
    fields: dict[str, Any] = {
        "method_digest": "m" * 64,
        "shared_digest": "s" * 64,
        "commit": None,
        "dirty": None,
        "versions": {"python": "3.11.1"},
        "device": "cpu",
        "threads": 2,
        "host": "here",
        "platform": "Linux",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "resumed": 0,
    }
    return Provenance(**(fields | changes))


def _result(cell: Cell | None = None, **changes: Any) -> Result:
    cell = cell or _cell()
    fields: dict[str, Any] = {
        "id": cell.id,
        "cell": cell,
        "status": "done",
        "metrics": {"linear_top1": 91.5},
        "diagnostics": {"collapsed": False},
        "curves": (CurvePoint(epoch=1, step=10, values={"loss": 1.5}),),
        "cost": Cost(
            train_seconds=10.0,
            evaluation_seconds=1.0,
            steps=40,
            views_seen=10240,
            views_per_second=1024.0,
            peak_memory_bytes=1000,
            encoder_flops_per_view=None,
            parameters=10,
        ),
        "provenance": _provenance(),
    }
    return Result(**(fields | changes))


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    return _cell


@pytest.fixture
def make_result() -> Callable[..., Result]:
    return _result


@pytest.fixture
def make_provenance() -> Callable[..., Provenance]:
    return _provenance


@pytest.fixture
def failed(make_cell: Callable[..., Cell]) -> Result:
    failure = Failure(kind="RuntimeError", message="no", traceback="...", epoch=1, step=3)
    return _result(status="failed", metrics={}, cost=None, failure=failure)
