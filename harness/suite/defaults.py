"""What a cell has before any suite says anything: the built-in defaults and those of a dataset. Reads no file."""

from __future__ import annotations

from harness.spec.models import Augmentation, Optimiser, Schedule
from harness.suite.facts import DatasetLike
from harness.suite.nodes import Node, marked
from harness.suite.row import BackboneFields


def _built_in() -> Node:
    specs = {
        "backbone": BackboneFields(),
        "augmentation": Augmentation(),
        "optimiser": Optimiser(),
        "schedule": Schedule(),
    }
    parts = {name: spec.model_dump(mode="json") for name, spec in specs.items()}
    single = {
        "views": 2,
        "more_views": [],
        "weight_decay_schedule": None,
        "clip": None,
        "epochs": None,
        "batch_size": None,
        "precision": "float32",
        "seed": 0,
        "split": "test",
        "evaluations": {"linear": {"probe": "linear"}, "knn5": {"probe": "knn", "k": 5}},
        "monitors": {},
    }
    return marked({**parts, **single, "dataset": {}, "settings": {}})


BUILT_IN_CELL = _built_in()


def dataset_defaults(info: DatasetLike) -> Node:
    """The fields of a cell that the dataset's own protocol gives."""
    values = {
        "name": info.name,
        "image_size": info.image_size,
        "channels": info.channels,
        "mean": list(info.mean),
        "std": list(info.std),
        "eval_resize": info.eval_resize,
        "train_images": None,
        "validation_fraction": 0.0,
    }
    return marked({"dataset": values})
