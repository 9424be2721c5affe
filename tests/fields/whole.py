"""Whole cells of a few steps on a small set of images, and the fields of what can be asked: the rest of this folder
changes one field at a time and looks whether anything comes out otherwise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
import safetensors.torch
from pydantic import BaseModel

from harness.backbones import build_encoder
from harness.data.packed import PackedWriter, building
from harness.engines.execution import Execution
from harness.engines.job import Job
from harness.engines.run_task import run_task
from harness.engines.task import Task
from harness.registry import all_methods
from harness.spec.models import Backbone, Cell, Input, Pretraining, Source
from harness.store.cell_result import CellResult, read_cell
from harness.store.provenance import Code
from harness.store.store import Store
from harness.training.trainer import Interrupted
from methods.entry import MethodEntry
from tests.engines.toy import Notes

M = TypeVar("M", bound=BaseModel)
SPLITS = {"train": 48, "unlabeled": 16, "test": 200}
CLASSES, SIDE, WIDTH = 7, 12, 4
BACKBONE = {"name": "resnet18", "stem": "small", "width": WIDTH}
INPUT = Input(size=8, channels=3, mean=(0.5, 0.45, 0.4), std=(0.25, 0.2, 0.3))


class Images:
    """Two sets of noisy images, `stl10` and `cifar10`, and a file of weights."""

    def __init__(self, directory: Path) -> None:
        self.data_dir, self.weights = directory / "data", directory / "weights.safetensors"
        self.content = {seed: self._write(name, seed) for seed, name in enumerate(("stl10", "cifar10"))}
        safetensors.torch.save_file(build_encoder(Backbone(**BACKBONE), 3, 8, seed=99).state_dict(), self.weights)
        self.sha = hashlib.sha256(self.weights.read_bytes()).hexdigest()

    def _write(self, name: str, seed: int) -> Any:
        draw, total = np.random.default_rng(seed), sum(SPLITS.values())
        labels = np.arange(total) % CLASSES
        means = draw.integers(40, 215, (CLASSES, 3))[labels][:, None, None]
        pixels = np.clip(means + draw.normal(0, 60, (total, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        with (
            building(name, self.data_dir) as folder,
            PackedWriter(folder, name, pixels.shape, tuple("abcdefg"[:CLASSES])) as writer,
        ):
            first = 0
            for split, count in SPLITS.items():
                part = slice(first, first := first + count)
                writer.add(split, pixels[part], np.full(count, -1) if split == "unlabeled" else labels[part])
            return writer.close()

    def source(self, split: str, **more: Any) -> Source:
        manifest = self.content[0]
        shas = {"images": (manifest.images[split],), "labels": (manifest.labels[split],)}
        return Source(**{"name": "stl10", "splits": (split,), **shas, **more})

    def pretraining(self, method: str, settings: Mapping[str, Any], **training: Any) -> Pretraining:
        """One epoch in batches of 16 on the training images, unless `training` says otherwise."""
        plain = {"views": 2, "augmentation": {}, "optimiser": {}, "schedule": {}, "epochs": 1, "batch_size": 16}
        return Pretraining.model_validate(
            {
                "method": method,
                "settings": settings,
                "input": INPUT,
                "source": self.source("train"),
                "backbone": BACKBONE,
                "training": {**plain, "precision": "float32", **training},
                "seed": 0,
            }
        )

    def run(self, root: Path, cell: Cell, entry: MethodEntry | None = None) -> CellResult:
        """What is stored of a cell once it has run in this process; without its description if it has no evaluation.

        Args:
            entry: in the place of the method that the cell names.
        """
        task = Task(cells=(cell,), label="cell")
        job = Job(
            tasks=(task,),
            store=root,
            execution=Execution(self.data_dir, "cpu"),
            code=CODE,
            weights={self.sha: self.weights},
        )
        store = Store(root)
        context = job.context(Notes(), lambda: not cell.evaluations and store.pretraining(task.id) is not None)
        with suppress(Interrupted):
            run_task(task, entry or all_methods()[cell.method], context)
        result = read_cell(store, cell)
        assert result is not None
        return result


CODE = Code.read()


def changed(model: M, changes: Mapping[str, Any]) -> M:
    """The model with other values at paths such as `training.optimiser.lr`, validated anew.

    Raises:
        ValidationError: it refuses one.
    """
    values = model.model_dump()
    for path, value in changes.items():
        *parents, last = path.split(".")
        part = values
        for parent in parents:
            part = part[parent]
        assert last in part, path
        part[last] = value.model_dump() if isinstance(value, BaseModel) else value
    return type(model).model_validate(values)


def field_paths(model: type[BaseModel], expanded: set[type] | None = None, prefix: str = "") -> Iterator[str]:
    """Every field of a model and of the models in its fields; a model's own only where it stands first."""
    expanded = set() if expanded is None else expanded
    expanded.add(model)
    for name, field in model.model_fields.items():
        inner = [part for part in models_in(field.annotation) if part not in expanded]
        if not inner:
            yield prefix + name
        for part in inner:
            yield from field_paths(part, expanded, f"{prefix}{name}.")


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Model classes in a field's type: `Schedule` in `Schedule | None`, `Views` in `tuple[Views, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def encoder_of(result: CellResult) -> str:
    """SHA-256 of what was trained."""
    assert result.pretraining.encoder is not None, result.failures
    return result.pretraining.encoder.sha256


def canonical(model: BaseModel) -> str:
    return json.dumps(model.model_dump(mode="json"), sort_keys=True)


def cell_of(pretraining: Pretraining, **more: Any) -> Cell:
    return Cell(seed=0, dataset="stl10", pretraining=pretraining, **{"evaluations": {}, **more})
