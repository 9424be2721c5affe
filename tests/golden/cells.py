"""Cells of many kinds whose ids must not move, over the real methods and probes and facts that never change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.data.facts import DatasetFacts, SplitFacts
from harness.registry import all_datasets, all_methods, all_probes
from harness.spec.models import Backbone, Cell, Input
from harness.suite.assemble import assemble, fields_without_use
from harness.suite.facts import Catalogue
from harness.suite.nodes import marked, merge, plain
from harness.suite.row import TRAINING_FIELDS, RowFields

IDS = Path(__file__).parent / "ids.json"
Ids = dict[str, dict[str, Any]]


def fingerprint(*words: str) -> str:
    """Stands for content."""
    return hashlib.sha256(" ".join(("golden", *words)).encode()).hexdigest()


class GoldenFacts:
    """Fixed sizes and fingerprints of all datasets but one, of which only the name is known."""

    SIZES = {  # noqa: RUF012
        "digits": {"train": 1437, "test": 360},
        "fashion_mnist": {"train": 60_000, "test": 10_000},
        "cifar10": {"train": 50_000, "test": 10_000},
        "cifar100": {"train": 50_000, "test": 10_000},
        "stl10": {"train": 5_000, "unlabeled": 100_000, "test": 8_000},
        "image_folder": {"train": 100, "test": 20},
    }
    UNKNOWN = "image_folder"

    def dataset(self, name: str) -> DatasetFacts:
        splits = {split: self._split(name, split, count) for split, count in self.SIZES[name].items()}
        return DatasetFacts(True, splits, 10)

    def _split(self, name: str, split: str, count: int) -> SplitFacts:
        if name == self.UNKNOWN:
            return SplitFacts(count, None, None)
        return SplitFacts(count, fingerprint(name, split, "images"), fingerprint(name, split, "labels"))

    def weights(self, path: str) -> str:
        return fingerprint("weights", path)

    def backbone_problem(self, backbone: Backbone, fed: Input) -> str | None:
        return None


CATALOGUE = Catalogue(all_methods(), all_probes(), all_datasets())
COLOUR = {"channels": 3, "mean": (0.49, 0.48, 0.45), "std": (0.2, 0.2, 0.2)}
CIFAR10 = {"name": "cifar10", "image_size": 32, **COLOUR}
STL10 = {"name": "stl10", "image_size": 64, "eval_resize": 70, **COLOUR}
FASHION = {"name": "fashion_mnist", "image_size": 28, "channels": 1, "mean": (0.286,), "std": (0.353,)}
DIGITS = {"name": "digits", "image_size": 8, "channels": 1, "mean": (0.3054,), "std": (0.3753,)}
ASKED = {"linear": {"probe": "linear"}, "knn5": {"probe": "knn", "k": 5}}
COMMON: dict[str, Any] = {
    "settings": {},
    "views": 2,
    "dataset": CIFAR10,
    "backbone": {"name": "resnet18", "stem": "small"},
    "augmentation": {},
    "optimiser": {},
    "schedule": {},
    "epochs": 200,
    "batch_size": 512,
    "precision": "float32",
    "seed": 0,
    "split": "test",
    "evaluations": ASKED,
    "monitors": {},
}
BY_DEFAULT = (
    *("w_mse", "contrastive", "byol", "simsiam", "vicreg", "barlow_twins", "whitened_contrastive"),
    *("plain_mse", "supervised", "untrained", "pixels"),
)
ROWS: dict[str, dict[str, Any]] = {
    **{f"{name}, defaults": {"method": name} for name in BY_DEFAULT},
    "w_mse, four views of digits": {
        "method": "w_mse",
        "dataset": DIGITS,
        "views": 4,
        "batch_size": 64,
        "settings": {"projector": {"hidden": [32], "embedding_size": 8}, "transform": {"sub_batch_size": 32}},
        "seed": 3,
    },
    "vicreg, LARS and a cosine": {
        "method": "vicreg",
        "settings": {
            "projector": {"hidden": [512, 512], "embedding_size": 512},
            "regulariser": {"variance_weight": 1.0, "covariance_weight": 0.01},
        },
        "augmentation": {"blur_probability": 0.5, "solarise_probability": 0.1, "crop_scale": (0.08, 1.0)},
        "optimiser": {"name": "lars", "lr": 0.6, "decay_bias_and_norm": False},
        "schedule": {"name": "cosine", "warmup_steps": 970},
    },
    "byol in bfloat16": {
        "method": "byol",
        "dataset": FASHION,
        "precision": "bfloat16",
        "settings": {"target": {"target_momentum": 0.9}},
    },
    "supervised on a subset": {"method": "supervised", "dataset": CIFAR10 | {"train_images": 1000}, "views": 1},
    "given weights": {"method": "given_weights", "backbone": {"name": "resnet18", "weights": "published.safetensors"}},
    "simsiam from given weights": {
        "method": "simsiam",
        "backbone": {"name": "resnet18", "stem": "small", "weights": "published.safetensors"},
    },
    "a ResNet with options": {
        "method": "w_mse",
        "backbone": {
            "name": "resnet50",
            "stem": "small_max_pool",
            "width": 16,
            "zero_init_last": True,
            "options": {"drop_path_rate": 0.1, "act_layer": "silu", "output_stride": 16, "aa_layer": False},
        },
    },
    "with monitors": {
        "method": "w_mse",
        "monitors": {"knn5": {"probe": "knn", "k": 5, "every_epochs": 20}, "probe": {"probe": "linear", "epochs": 5}},
    },
    "transfer": {
        "method": "w_mse",
        "evaluations": {**ASKED, "cifar100": {"probe": "linear", "dataset": "cifar100"}},
    },
    "few labels": {
        "method": "w_mse",
        "evaluations": {
            "linear": {"probe": "linear", "label_fraction": 0.01},
            "knn5": {"probe": "knn", "k": 5, "label_fraction": 0.1},
        },
    },
    "other probes": {
        "method": "untrained",
        "evaluations": {
            "lbfgs": {"probe": "lbfgs", "c": 0.1},
            "knn5": {"probe": "knn", "k": 20},
            "linear": {"probe": "linear", "epochs": 100, "lr": 0.1, "weight_decay": 0.0},
        },
    },
    "two splits": {"method": "contrastive", "dataset": STL10},
    "a subset of two splits": {"method": "contrastive", "dataset": STL10 | {"train_images": 20_000}},
    "tuned on what is held out": {
        "method": "barlow_twins",
        "dataset": CIFAR10 | {"validation_fraction": 0.1},
        "split": "validation",
    },
    "own images of unknown content": {
        "method": "w_mse",
        "dataset": {"name": "image_folder", "image_size": 16, "eval_resize": 18, **COLOUR},
        "batch_size": 64,
        "settings": {"projector": {"embedding_size": 8}, "transform": {"sub_batch_size": 32}},
    },
}


def golden_cell(said: dict[str, Any]) -> Cell:
    """The cell of a row of `ROWS`."""
    fields = {**COMMON, **said}
    entry = CATALOGUE.methods[fields["method"]]
    defaults = entry.settings().model_dump(mode="json")
    fields["settings"] = plain(merge(marked(defaults), marked(fields["settings"])))  # as a suite does
    unused = fields_without_use(entry)
    fields |= {name: None for name in ("backbone", *TRAINING_FIELDS) if name in unused}
    return assemble(RowFields.model_validate(fields), CATALOGUE, GoldenFacts())


def current_ids() -> Ids:
    """The ids of `ROWS`, as the code has them now."""
    cells = {name: golden_cell(said) for name, said in ROWS.items()}
    return {
        name: {
            "pretraining": cell.pretraining.id,
            "evaluations": {label: evaluation.id for label, evaluation in cell.evaluations.items()},
            **({"monitors": {label: watched.id for label, watched in cell.monitors.items()}} if cell.monitors else {}),
        }
        for name, cell in cells.items()
    }


def pinned_ids() -> Ids:
    """The ids of `ROWS`, as results lie under them."""
    pinned: Ids = json.loads(IDS.read_text())
    return pinned


def moved(pinned: Ids, current: Ids) -> list[str]:
    """What differs, a line each."""
    found = []
    for name in pinned | current:
        old, new = pinned.get(name), current.get(name)
        if old is None or new is None:
            found.append(f"{name}: {'new' if old is None else 'gone'}")
        elif old != new:
            parts = [part for part in old | new if old.get(part) != new.get(part)]
            found.append(f"{name}: {', '.join(parts)}")
    return found
