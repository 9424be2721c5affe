"""A plan and a store that tests fill by hand: `bench.plan(...)` plans a cell, `bench.done(...)` stores a result too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.frame import Record, gather
from harness.store.provenance import Code
from harness.store.result import Cost, Failure, Provenance, Result
from harness.store.store import Store
from harness.suite.cell import (
    AugmentationSpec,
    BackboneSpec,
    Cell,
    DatasetSpec,
    EvaluationSpec,
    OptimiserSpec,
    ScheduleSpec,
)
from harness.suite.planned import Expansion, Planned, Skipped

W_MSE = {
    "projector": {"hidden": [1024], "embedding_size": 64},
    "transform": {
        "kind": "whitening",
        "sub_batch_size": 128,
        "slicing_iterations": 1,
        "variant": "cholesky",
        "eps": 0.0,
    },
    "pair_loss": {"kind": "normalised_mse"},
}


class Bench:
    """Plans and results, in the order in which they are given."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / "cells")
        self.planned: list[Planned] = []
        self.skipped: list[Skipped] = []

    def cell(self, **changes: Any) -> Cell:
        dataset = {
            "name": "cifar10",
            "fingerprint": "f",
            "image_size": 32,
            "channels": 3,
            "mean": (0.5,) * 3,
            "std": (0.2,) * 3,
        }
        fields: dict[str, Any] = {
            "method": "w_mse",
            "settings": W_MSE,
            "views": 2,
            "backbone": BackboneSpec(stem="small"),
            "augmentation": AugmentationSpec(),
            "optimiser": OptimiserSpec(),
            "schedule": ScheduleSpec(),
            "epochs": 1000,
            "batch_size": 512,
            "precision": "float32",
            "seed": 0,
            "evaluation": EvaluationSpec(),
        }
        return Cell(**(fields | {"dataset": DatasetSpec(**(dataset | changes.pop("dataset", {})))} | changes))

    def plan(
        self, label: str = "W-MSE", axes: dict[str, Any] | None = None, missing: str | None = None, **fields: Any
    ) -> Planned:
        cell = self.cell(**fields)
        planned = Planned(cell, label, cell.dataset.name, axes or {}, missing_data=missing)
        self.planned.append(planned)
        return planned

    def skip(self, reason: str, label: str = "W-MSE", axes: dict[str, Any] | None = None, **fields: Any) -> None:
        cell = self.cell(**fields)
        self.skipped.append(Skipped(cell, label, cell.dataset.name, axes or {}, reason=reason))

    def provenance(self, **changes: Any) -> Provenance:
        fields: dict[str, Any] = {
            "method_digest": "m",
            "shared_digest": "s",
            "commit": "c" * 40,
            "dirty": False,
            "versions": {"python": "3.11.1", "torch": "2.9.0"},
            "device": "cpu",
            "threads": 2,
            "host": "here",
            "platform": "Linux",
            "started": "2026-01-01T00:00:00+00:00",
            "finished": "2026-01-01T00:01:00+00:00",
            "resumed": 0,
        }
        return Provenance(**(fields | changes))

    def done(
        self,
        metrics: dict[str, float],
        *,
        collapsed: bool = False,
        provenance: dict[str, Any] | None = None,
        seconds: float = 10.0,
        extra: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Result:
        cell = self.plan(**fields).cell
        cost = Cost(
            train_seconds=seconds,
            evaluation_seconds=2.0,
            steps=100,
            views_seen=51200,
            views_per_second=51200 / seconds,
            peak_memory_bytes=3 * 2**20,
            encoder_flops_per_view=1_000_000,
            train_flops=153_600_000_000,
            parameters=11,
        )
        result = Result(
            id=cell.id,
            cell=cell,
            status="done",
            metrics=metrics,
            diagnostics={"collapsed": collapsed},
            cost=cost,
            provenance=self.provenance(**(provenance or {})),
            **(extra or {}),
        )
        self.store.save(result)
        return result

    def failed(self, kind: str, message: str, **fields: Any) -> None:
        cell = self.plan(**fields).cell
        failure = Failure(kind=kind, message=message, traceback="...", epoch=1, step=7)
        self.store.save(Result(id=cell.id, cell=cell, status="failed", provenance=self.provenance(), failure=failure))

    @property
    def expansion(self) -> Expansion:
        return Expansion(tuple(self.planned), tuple(self.skipped))

    def records(self, code: Code | None = None) -> list[Record]:
        return gather(self.expansion, self.store, code)

    def as_if_without_data(self) -> list[Record]:
        """The same plan on a machine that has no images."""
        planned = []
        for item in self.planned:
            spec = item.cell.dataset.model_copy(update={"fingerprint": None})
            cell = item.cell.model_copy(update={"dataset": spec})
            planned.append(replace(item, cell=cell, missing_data="cifar10 is not here"))
        return gather(Expansion(tuple(planned), ()), self.store)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
