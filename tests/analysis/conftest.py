"""A plan and a store that tests fill by hand: `bench.plan(...)` plans a cell, `bench.done(...)` stores its records too.

Fields are given in the words of a suite. Every cell is evaluated by `linear` and `knn5` unless a test says otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from harness.analysis.frame import DEFAULT_RULE, Record, gather, metrics_of
from harness.data.facts import DatasetFacts, SplitFacts
from harness.registry import all_probes
from harness.spec.collapse import CollapseRule
from harness.spec.models import Augmentation, Backbone, Cell, Input, Optimiser, Schedule
from harness.store.cell_result import CellResult, read_cell
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
    TrainingCost,
    pack_hits,
)
from harness.store.store import Store
from harness.suite.assemble import assemble, fields_without_use
from harness.suite.facts import Catalogue
from harness.suite.planned import Expansion, Planned, Skipped
from harness.suite.row import BackboneFields, EvaluationFields, MonitorFields, RowFields

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
LINEAR, KNN5 = {"probe": "linear"}, {"probe": "knn", "k": 5}
EVALUATIONS = {"linear": LINEAR, "knn5": KNN5}
MONITORS = {"knn5": {**KNN5, "every_epochs": 5}}
SOUND = {"h_std": 1.0, "h_rankme": 400.0, "h_dimensions": 512.0, "v_std": 1.0, "v_rankme": 60.0, "v_dimensions": 64.0}
_CHOICES = frozenset(
    (*("collapsed", "provenance", "evaluated", "seconds", "hits", "curve", "to_do", "failing"), "monitor_seconds")
)
COLLAPSED = SOUND | {"v_std": 0.01, "v_rankme": 1.2}


class AnySettings(BaseModel):
    """Of methods that exist for these tests alone."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def identity(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def problem(self, views: int, batch_size: int) -> str | None:
        return None


@dataclass(frozen=True)
class Method:
    """As a suite sees one."""

    name: str
    summary: str = "a method of these tests"
    settings: type[BaseModel] = AnySettings
    kind: str = "method"
    min_views: int = 2
    reads_labels: bool = False
    needs_weights: bool = False

    @property
    def trains(self) -> bool:
        return self.name not in ("untrained", "pixels")

    @property
    def represents(self) -> str:
        return "pixels" if self.name == "pixels" else "encoder"


@dataclass(frozen=True)
class Dataset:
    """As a suite sees one."""

    name: str
    channels: int = 3
    pretrain: tuple[str, ...] = ("train",)


class Named(dict[str, Any]):
    """One of each name that is asked for."""

    def __init__(self, make: type[Any]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, name: str) -> Any:
        return self.make(name)


class BenchFacts:
    """Ten classes, 50,000 training images and known content of every dataset, unless `copies` says otherwise: another
    text stands for another content, None for an unknown one."""

    def __init__(self) -> None:
        self.copies: dict[str, str | None] = {}

    def dataset(self, name: str) -> DatasetFacts:
        copy = self.copies.get(name, "the one")

        def sha(what: str) -> str | None:
            return None if copy is None else hashlib.sha256(f"{name} {copy} {what}".encode()).hexdigest()

        counts = {"train": 50_000, "test": 10_000}
        splits = {split: SplitFacts(n, sha(f"{split} images"), sha(f"{split} labels")) for split, n in counts.items()}
        return DatasetFacts(copy is not None, splits, 10)

    def weights(self, path: str) -> str:
        return hashlib.sha256(path.encode()).hexdigest()

    def backbone_problem(self, backbone: Backbone, fed: Input) -> str | None:
        return None


def catalogue() -> Catalogue:
    """Any method, any dataset, and the probes in use."""
    return Catalogue(Named(Method), all_probes(), Named(Dataset))  # type: ignore[arg-type]


class Bench:
    """Plans and records, in the order in which they are given."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / "cells")
        self.facts = BenchFacts()
        self.planned: list[Planned] = []
        self.skipped: list[Skipped] = []

    def fields(self, **changes: Any) -> RowFields:
        """What a suite would say: parts are changed key by key, settings, evaluations and monitors as a whole."""
        method = Method(changes.get("method", "w_mse"))
        dataset = {"name": "cifar10", "image_size": 32, "channels": 3, "mean": (0.5,) * 3, "std": (0.2,) * 3}
        parts = {
            "dataset": dataset,
            "backbone": BackboneFields(stem="small").model_dump(),
            "augmentation": Augmentation().model_dump(),
            "optimiser": Optimiser().model_dump(),
            "schedule": Schedule().model_dump(),
        }
        values: dict[str, Any] = {
            "method": method.name,
            "settings": W_MSE,
            "views": 2,
            **{name: part | (changes.pop(name, None) or {}) for name, part in parts.items()},
            "epochs": 1000,
            "batch_size": 512,
            "precision": "float32",
            "seed": 0,
            "split": "test",
            "evaluations": EVALUATIONS,
            "monitors": {},
        }
        values |= changes
        values["evaluations"] = {name: _written_out(asked) for name, asked in values["evaluations"].items()}
        values["monitors"] = {name: _written_out(asked) for name, asked in values["monitors"].items()}
        nothing = {name: {} if name == "monitors" else None for name in fields_without_use(method)}  # type: ignore[arg-type]
        return RowFields.model_validate(values | nothing)

    def cell(self, **changes: Any) -> Cell:
        return assemble(self.fields(**changes), catalogue(), self.facts)

    def plan(
        self, label: str = "W-MSE", axes: dict[str, Any] | None = None, missing: str | None = None, **changes: Any
    ) -> Planned:
        fields = self.fields(**changes)
        cell = assemble(fields, catalogue(), self.facts)
        planned = Planned(cell, fields, label, cell.dataset, axes or {}, missing_data=missing)
        self.planned.append(planned)
        return planned

    def skip(self, reason: str, label: str = "W-MSE", axes: dict[str, Any] | None = None, **changes: Any) -> None:
        fields = self.fields(**changes)
        cell = assemble(fields, catalogue(), self.facts)
        self.skipped.append(Skipped(cell, fields, label, cell.dataset, axes or {}, reason=reason))

    def provenance(self, code: Mapping[str, str], **changes: Any) -> Provenance:
        fields: dict[str, Any] = {
            "code": dict(code),
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

    def done(self, metrics: Mapping[str, float], **fields_and_choices: Any) -> CellResult:
        """Plan a cell, from the words of a suite, and store records of it; the other choices are those of `keep`."""
        choices = {name: fields_and_choices.pop(name) for name in _CHOICES & fields_and_choices.keys()}
        return self.keep(self.plan(**fields_and_choices).cell, metrics, **choices)

    def keep(
        self,
        cell: Cell,
        metrics: Mapping[str, float],
        *,
        collapsed: bool | None = False,
        provenance: Mapping[str, Any] | None = None,
        evaluated: Mapping[str, Any] | None = None,
        seconds: float = 10.0,
        hits: Mapping[str, Any] | None = None,
        curve: Sequence[CurvePoint] = (),
        to_do: Collection[str] = (),
        failing: Mapping[str, str] | None = None,
        monitor_seconds: float = 0.0,
    ) -> CellResult:
        """Store records of a cell whose encoder is there.

        Args:
            metrics: of its evaluations; one of which none is given has measured nothing.
            collapsed: None: there are no diagnostics.
            provenance, evaluated: what differs of the provenance of all stages; of the evaluations alone.
            curve: readings with `loss` and, under NAME_METRIC, those of the cell's monitors.
            to_do: evaluations that are not there.
            failing: message of the RuntimeError of evaluations that failed.
        """
        made = dict(provenance or {})
        code = {f"method {cell.method}": "m", "training on cpu": "t"} | made.pop("code", {})
        encoder = None
        if cell.pretraining.backbone is not None:
            encoder = self.store.write_encoder(cell.pretraining.id, f"weights of {cell.pretraining.id}".encode())
        trained = cell.training is not None
        cost = TrainingCost(
            train_seconds=seconds if trained else 0.0,
            monitor_seconds=monitor_seconds,
            steps=100 if trained else 0,
            views_seen=51200 if trained else 0,
            peak_memory_bytes=3 * 2**20,
            energy_joules=None,
        )
        self._save_curves(cell, curve)
        record = PretrainingRecord(
            id=cell.pretraining.id,
            spec=cell.pretraining,
            status="done",
            encoder=encoder,
            monitors=tuple(monitor.id for monitor in cell.monitors.values()),
            cost=cost,
            provenance=self.provenance(code, **made),
        )
        self.store.save_pretraining(record)
        described = Description(
            id=record.id,
            encoder=encoder.sha256 if encoder else None,
            status="done",
            encoder_flops_per_view=1_000_000,
            train_flops=153_600_000_000 if trained else 0,
            parameters=11,
            diagnostics={} if collapsed is None else COLLAPSED if collapsed else SOUND,
            seconds=1.0,
            provenance=self.provenance({f"method {cell.method}": "m", "description": "d"}, **made),
        )
        self.store.save_description(described)
        for name in cell.evaluations:
            if name not in to_do:
                failed = (failing or {}).get(name)
                self._save_evaluation(record, cell, name, metrics, hits or {}, failed, made | (evaluated or {}))
        result = read_cell(self.store, cell)
        assert result is not None
        return result

    def _save_evaluation(
        self,
        record: PretrainingRecord,
        cell: Cell,
        name: str,
        metrics: Mapping[str, float],
        hits: Mapping[str, Any],
        failing: str | None,
        made: Mapping[str, Any],
    ) -> None:
        question = cell.evaluations[name]
        own = {key.removeprefix(f"{name}_"): value for key, value in metrics.items() if key.startswith(f"{name}_")}
        stored = {key.removeprefix(f"{name}_"): value for key, value in hits.items() if key.startswith(f"{name}_")}
        images = {len(value) for value in stored.values()} or {10_000}
        code = {f"probe {question.probe}": "p", "evaluation": "e"} | dict(made.get("code", {}))
        failure = Failure(kind="RuntimeError", message=failing, traceback="...") if failing else None
        measured = {metric.name: metric for metric in metrics_of(question)}
        answer = EvaluationRecord(
            id=question.id,
            spec=question,
            encoder=record.encoder.sha256 if record.encoder else None,
            status="failed" if failure else "done",
            metrics={} if failure else own,
            titles={} if failure else {key: metric.heading for key, metric in measured.items() if key in own},
            units={} if failure else {key: metric.unit for key, metric in measured.items() if key in own},
            lower_is_better=tuple(key for key, metric in measured.items() if not metric.higher_is_better),
            images=images.pop(),
            seconds=0.5,
            provenance=self.provenance(code, **{key: value for key, value in made.items() if key != "code"}),
            failure=failure,
        )
        self.store.save_evaluation(answer)
        if stored:
            packed = {key: pack_hits(np.asarray(value, dtype=bool)) for key, value in stored.items()}
            self.store.save_arrays(record.id, f"hits-{answer.id}", Arrays(id=answer.id, hits=packed))

    def _save_curves(self, cell: Cell, points: Sequence[CurvePoint]) -> None:
        names = tuple(f"{name}_" for name in cell.monitors)
        id_ = cell.pretraining.id
        own = [
            p.model_copy(update={"values": {k: v for k, v in p.values.items() if not k.startswith(names)}})
            for p in points
        ]
        if points:
            self.store.save_curve(Curve(id=id_, points=tuple(own)))
        for name, monitor in cell.monitors.items():
            read = [
                p.model_copy(
                    update={
                        "values": {
                            k.removeprefix(f"{name}_"): v for k, v in p.values.items() if k.startswith(f"{name}_")
                        }
                    }
                )
                for p in points
            ]
            self.store.save_curve(Curve(id=id_, monitor=monitor, points=tuple(p for p in read if p.values)))

    def failed(self, kind: str, message: str, **changes: Any) -> None:
        """Plan a cell whose training failed."""
        cell = self.plan(**changes).cell
        failure = Failure(kind=kind, message=message, traceback="...", epoch=1, step=7)
        code = {f"method {cell.method}": "m", "training on cpu": "t"}
        record = PretrainingRecord(
            id=cell.pretraining.id,
            spec=cell.pretraining,
            status="failed",
            provenance=self.provenance(code),
            failure=failure,
        )
        self.store.save_pretraining(record)

    @property
    def expansion(self) -> Expansion:
        return Expansion(tuple(self.planned), tuple(self.skipped))

    def records(self, code: Code | None = None, rule: CollapseRule = DEFAULT_RULE) -> list[Record]:
        return gather(self.expansion, self.store, code, rule)


def code(**changed: str) -> Code:
    """The code that `bench.done` names, but for what a test changes: `code(method_w_mse="new")`."""
    parts = {
        "method w_mse": "m",
        "method byol": "m",
        "training on cpu": "t",
        "description": "d",
        "probe linear": "p",
        "probe knn": "p",
        "evaluation": "e",
    }
    return Code(parts | {_part(name, parts): digest for name, digest in changed.items()}, None, None)


def _part(name: str, parts: Mapping[str, str]) -> str:
    return next(part for part in parts if part.replace(" ", "_") == name)


def _written_out(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A question with every default, as a suite's expansion has it."""
    known = EvaluationFields.model_fields.keys() | MonitorFields.model_fields.keys()
    said = {key: value for key, value in asked.items() if key in known}
    settings = all_probes()[asked["probe"]].settings(**{key: v for key, v in asked.items() if key not in known})
    return {"dataset": None, "label_fraction": None, **said, **settings.model_dump()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
