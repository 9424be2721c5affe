"""The suites in the repository, with the methods and datasets of the repository."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.analysis.frame import gather
from harness.analysis.references import load
from harness.analysis.tables import Table, build
from harness.data.datasets import DATASETS
from harness.data.facts import training_count
from harness.registry import all_methods, all_probes
from harness.spec.models import Augmentation, Source
from harness.store.store import Store
from harness.suite.expand import expand
from harness.suite.facts import Catalogue
from harness.suite.planned import Expansion, Planned
from harness.suite.row import RowFields
from harness.suite.suite import Suite, load_suite
from tests.suite.fakes import FakeFacts

DIRECTORY = Path(__file__).parents[2] / "suites"
SUITES = sorted(DIRECTORY.glob("*.yaml"))


def expanded(suite: Suite) -> Expansion:
    catalogue = Catalogue(all_methods(suite.extensions), all_probes(), DATASETS)
    return expand(suite, catalogue, FakeFacts(DATASETS))


def planned(name: str, preset: str | None = None, *settings: str) -> Expansion:
    """A shipped suite's cells, with nothing skipped."""
    expansion = expanded(load_suite(DIRECTORY / f"{name}.yaml", preset, settings))
    assert expansion.skipped == ()
    return expansion


def rows(name: str, preset: str | None = None) -> dict[str, Planned]:
    """The cells of seed 0 on a suite's one dataset, by row."""
    found = [placed for placed in planned(name, preset).planned if placed.fields.seed == 0]
    assert len({placed.dataset for placed in found}) == 1
    return {placed.row: placed for placed in found}


def steps_per_epoch(fields: RowFields) -> int:
    data = fields.dataset
    images = data.train_images or trained_on(data.name, data.validation_fraction)
    assert fields.batch_size is not None
    return images // fields.batch_size


def trained_on(name: str, validation_fraction: float = 0.0) -> int:
    """Images that a method sees of a whole dataset."""
    info = DATASETS[name]
    source = Source(name=name, splits=info.pretrain, validation_fraction=validation_fraction)
    images = training_count(source, info.splits)
    assert images is not None
    return images


def views_seen(fields: RowFields) -> int:
    assert fields.epochs is not None
    assert fields.batch_size is not None
    assert fields.views is not None
    return steps_per_epoch(fields) * fields.epochs * fields.batch_size * fields.views


def tables_without_results(name: str, preset: str | None, tmp_path: Path) -> list[Table]:
    """A suite's tables where nothing has been run."""
    suite = load_suite(DIRECTORY / f"{name}.yaml", preset)
    expansion = planned(name, preset)
    records = gather(expansion, Store(tmp_path))
    return build(suite.title, suite.content.tables, records, load(), metrics=expansion.metrics)


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_and_preset_expands(path: Path) -> None:
    for preset in [None, *load_suite(path).content.presets]:
        suite = load_suite(path, preset)
        expansion = expanded(suite)
        assert expansion.planned, (path, preset)
        assert expansion.skipped == () or path.stem == "precision", (path, preset)
        assert expansion.renamed == {}
        for placed in expansion.planned:
            assert {"linear", "knn5"} <= set(placed.cell.evaluations)


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_the_tiny_preset_is_tiny_and_watches_nothing(path: Path) -> None:
    if "tiny" not in load_suite(path).content.presets:
        assert path.stem == "quickstart"
        return
    for placed in expanded(load_suite(path, "tiny")).planned:
        fields = placed.fields
        assert (fields.dataset.name, fields.dataset.train_images, fields.dataset.image_size) == ("digits", 320, 8)
        assert placed.cell.monitors == {}
        assert placed.cell.evaluations["linear"].settings["epochs"] == 20
        assert (fields.epochs, fields.batch_size) == ((1, 64) if placed.cell.training else (None, None))


def test_the_quickstart_has_every_method_two_view_counts_and_two_seeds() -> None:
    suite = load_suite(SUITES[[path.stem for path in SUITES].index("quickstart")])
    expansion = expanded(suite)
    assert expansion.skipped == ()
    assert {planned.fields.method for planned in expansion.planned} == set(all_methods()) - {"given_weights"}
    whitened = [planned.fields for planned in expansion.planned if planned.fields.method == "w_mse"]
    assert {fields.views for fields in whitened} == {2, 4}
    assert len({fields.settings["transform"]["slicing_iterations"] for fields in whitened}) == 2
    assert {planned.fields.seed for planned in expansion.planned} >= {0, 1}


@dataclass(frozen=True)
class Published:
    """Section 1 of the protocol: one row of its table."""

    epochs: int
    lr: float
    embedding: int
    sub_batch: int
    iterations: tuple[int, int]
    stem: str
    size: int
    steps: tuple[int, int]
    """In an epoch, with batches of 512 and of 256."""


PAPER = {
    "cifar10": Published(1000, 3e-3, 64, 128, (1, 1), "small", 32, (97, 195)),
    "cifar100": Published(1000, 3e-3, 64, 128, (1, 1), "small", 32, (97, 195)),
    "stl10": Published(2000, 2e-3, 128, 256, (4, 1), "small_max_pool", 64, (205, 410)),
    "tiny_imagenet": Published(1000, 2e-3, 128, 256, (4, 1), "small_max_pool", 64, (195, 390)),
    "imagenet100": Published(240, 2e-3, 128, 256, (1, 1), "standard", 224, (247, 494)),
}
SMALL_JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "jitter_probability": 0.8}
LARGE_JITTER = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "jitter_probability": 0.8}
SMALL = Augmentation(
    **SMALL_JITTER, greyscale_probability=0.1, crop_scale=(0.2, 1.0), flip_probability=0.5, blur_probability=0.0
)
LARGE = Augmentation(
    **LARGE_JITTER,
    greyscale_probability=0.2,
    crop_scale=(0.08, 1.0),
    flip_probability=0.5,
    blur_probability=0.5,
    blur_sigma=(0.1, 2.0),
)
PROBES = {
    "linear": {"epochs": 500, "batch_size": 1000, "lr": 1e-2, "final_lr": 1e-6, "weight_decay": 5e-6},
    "knn5": {"k": 5},
}


@pytest.mark.parametrize(("suite", "labels"), [("paper_table", 4), ("imagenet100", 2)])
def test_the_papers_cells_have_the_protocols_numbers(suite: str, labels: int) -> None:
    here = planned(suite).planned
    datasets = {placed.dataset for placed in here}
    assert datasets == ({"imagenet100"} if suite == "imagenet100" else set(PAPER) - {"imagenet100"})
    assert len({(placed.label, placed.dataset) for placed in here}) == labels * len(datasets)
    for placed in here:
        fields, paper = placed.fields, PAPER[placed.dataset]
        four = fields.views == 4
        assert fields.batch_size == (256 if four else 512)
        assert steps_per_epoch(fields) == paper.steps[four]
        assert (fields.epochs, fields.precision) == (paper.epochs, "float32")
        assert fields.backbone.model_dump() == {
            "name": "resnet18",
            "stem": paper.stem,
            "width": None,
            "zero_init_last": False,
            "options": {},
            "weights": None,
        }
        optimiser = fields.optimiser
        assert (optimiser.name, optimiser.lr, optimiser.weight_decay) == ("adam", paper.lr, 1e-6)
        assert (optimiser.betas, optimiser.eps, optimiser.decay_bias_and_norm) == ((0.9, 0.999), 1e-8, True)
        schedule = fields.schedule
        assert (schedule.name, schedule.warmup_steps) == ("step", 500)
        assert (schedule.drops, schedule.drop_factor) == ((50, 25), 0.2)
        assert fields.augmentation == (LARGE if placed.dataset == "imagenet100" else SMALL)
        assert fields.augmentation.crop_ratio == (3 / 4, 4 / 3)
        assert {name: asked.settings for name, asked in placed.cell.evaluations.items()} == PROBES
        assert (fields.split, placed.cell.monitors) == ("test", {})
        assert placed.cell.evaluations["linear"].transform.resize == DATASETS[placed.dataset].eval_resize
        assert fields.dataset.image_size == paper.size
        head = fields.settings["projector"]
        assert (head["hidden"], head["embedding_size"], head["output_norm"]) == ([1024], paper.embedding, "none")
        assert [head[part] for part in ("batch_norm", "bias", "output_bias")] == [True] * 3


def test_the_papers_methods_have_the_protocols_settings() -> None:
    for placed in planned("paper_table").planned:
        settings, paper = placed.fields.settings, PAPER[placed.dataset]
        if placed.fields.method == "w_mse":
            whitening = settings["transform"]
            assert whitening["sub_batch_size"] == paper.sub_batch
            assert whitening["slicing_iterations"] == paper.iterations[placed.fields.views == 4]
            assert (whitening["variant"], whitening["eps"]) == ("cholesky", 0.0)
            assert settings["pair_loss"]["kind"] == "normalised_mse"
            assert placed.label == f"w_mse {placed.fields.views}"
        elif placed.fields.method == "byol":
            assert settings["predictor"]["predictor_hidden"] == 1024
            assert settings["target"]["target_momentum"] == 0.99
            assert (settings["head_scope"], settings["pair_loss"]["directions"]) == ("per_view", "sum")
            assert placed.fields.views == 2
        else:
            assert placed.fields.method == "contrastive"
            assert settings["transform"]["kind"] == "batch_norm"
            loss = {"kind": "nt_xent", "temperature": 0.5, "l2_normalise": True}
            assert settings["pair_loss"] == loss
            assert placed.fields.views == 2


def test_the_datasets_have_the_protocols_crops_splits_and_normalisation() -> None:
    sizes = {name: trained_on(name) for name in PAPER if name != "imagenet100"}
    assert sizes == {"cifar10": 50_000, "cifar100": 50_000, "stl10": 105_000, "tiny_imagenet": 100_000}
    assert [DATASETS[name].splits["test"] for name in sizes] == [10_000, 10_000, 8_000, 10_000]
    assert DATASETS["stl10"].splits["train"] == 5_000  # the probe's
    crops = {name: DATASETS[name].eval_resize for name in PAPER}
    assert crops == {"cifar10": None, "cifar100": None, "stl10": 70, "tiny_imagenet": None, "imagenet100": 256}
    normalised = {name: (DATASETS[name].mean, DATASETS[name].std) for name in PAPER}
    assert normalised == {
        "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        "stl10": ((0.43, 0.42, 0.39), (0.27, 0.26, 0.27)),
        "tiny_imagenet": ((0.480, 0.448, 0.398), (0.277, 0.269, 0.282)),
        "imagenet100": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }


def test_published_numbers_stand_beside_the_papers_rows(tmp_path: Path) -> None:
    table = tables_without_results("paper_table", None, tmp_path)[0]
    linear = [name for name in table.header if "linear" in name and "published" in name]
    assert linear == [f"{name} linear top-1 %, published (ours minus it)" for name in list(PAPER)[:4]]
    shown = {row[0]: [row[table.header.index(name)] for name in linear] for row in table.rows}
    assert shown == {
        "contrastive": ["91.80", "66.83", "90.51 (recalled)", "48.84"],
        "byol": ["91.73", "66.60", "91.99 (recalled)", "51.00"],
        "w_mse 2": ["91.55", "66.10", "90.36 (recalled)", "48.20"],
        "w_mse 4": ["91.99", "67.64", "91.75 (recalled)", "49.20"],
    }
    nearest = table.header.index("cifar10 5-NN %, published (ours minus it)")
    assert [row[nearest] for row in table.rows] == ["88.42", "89.45", "89.69", "89.87"]


@pytest.mark.parametrize(
    ("suite", "preset", "column", "expected"),
    [
        (
            "imagenet100",
            None,
            "linear top-1 %, published (ours minus it)",
            {"w_mse 2": "76.00 (recalled)", "w_mse 4": "79.02 (recalled)"},
        ),
        (
            "equal_compute",
            None,
            "linear top-1 %, published (ours minus it)",
            {"w_mse 2": "91.55", "w_mse 4": "–", "w_mse 8": "–", "w_mse 4, twice the views": "91.99"},
        ),
        (
            "what_prevents_collapse",
            None,
            "none linear top-1 %, published (ours minus it)",
            {
                "BYOL (ME, SG, PR, BN)": "69.30",
                "SimSiam (SG, PR, BN)": "67.90",
                "SimSiam (SG, PR)": "35.10",
                "SimSiam (SG)": "collapse",
                "VICReg (PR)": "collapse",
                "VICReg (PR, BN)": "collapse",
                "VICReg (BN)": "collapse",
                "VICReg (nothing)": "collapse",
            },
        ),
    ],
)
def test_published_numbers_stand_beside_the_right_rows(
    suite: str, preset: str | None, column: str, expected: dict[str, str], tmp_path: Path
) -> None:
    table = tables_without_results(suite, preset, tmp_path)[0]
    assert {row[0]: row[table.header.index(column)] for row in table.rows} == expected


@pytest.mark.parametrize(
    ("suite", "preset"),
    [
        ("paper_table", "tiny"),
        ("slicing", None),
        ("contrastive_whitening", None),
        ("euclidean", None),
        ("what_prevents_collapse", "cifar10"),
        ("asymmetry_and_whitening", None),
        ("fashion_mnist", None),
    ],
)
def test_no_published_number_stands_beside_another_recipe(suite: str, preset: str | None, tmp_path: Path) -> None:
    tables = tables_without_results(suite, preset, tmp_path)
    assert not [name for table in tables for name in table.header if "published" in name]


def test_euclidean_rows_have_no_number_of_the_cosine_ones(tmp_path: Path) -> None:
    table = tables_without_results("euclidean", "paper", tmp_path)[0]
    column = table.header.index("cifar10 linear top-1 %, published (ours minus it)")
    assert [(row[0], row[1], row[column]) for row in table.rows] == [
        ("w_mse 2", "cosine", "91.55"),
        ("w_mse 2", "Euclidean", "–"),
        ("w_mse 4", "cosine", "91.99"),
        ("w_mse 4", "Euclidean", "–"),
    ]


def test_slicing_is_a_full_grid() -> None:
    cells = [placed.fields for placed in planned("slicing", None, "seeds=1").planned]
    whitenings = [fields.settings["transform"] for fields in cells]
    crossed = [
        (fields.views, whitening["slicing_iterations"], whitening["sub_batch_size"])
        for fields, whitening in zip(cells, whitenings, strict=True)
    ]
    assert sorted(crossed) == [(d, i, s) for d in (2, 4, 8) for i in (1, 2, 4) for s in (128, 256, 512)]


def test_equal_compute_is_equal_in_views_and_steps() -> None:
    cells = {row: placed.fields for row, placed in rows("equal_compute").items()}
    assert [cells[row].views for row in ("w_mse 2", "w_mse 4", "w_mse 8")] == [2, 4, 8]
    views = [views_seen(cells[row]) for row in ("w_mse 2", "w_mse 4", "w_mse 8")]
    assert views == [99_328_000, 99_840_000, 99_840_000]
    steps = [steps_per_epoch(cells[row]) * cells[row].epochs for row in ("w_mse 2", "w_mse 4", "w_mse 8")]
    assert steps == [97_000, 97_500, 97_500]
    assert views_seen(cells["w_mse 4, twice the views"]) == 2 * 99_840_000
    paper = {placed.id for placed in planned("paper_table").planned}
    assert {placed.row for placed in planned("equal_compute").planned if placed.id in paper} == {
        "w_mse 2",
        "w_mse 4, twice the views",
    }


@pytest.mark.parametrize("preset", [None, "cifar10"])
def test_vicregs_table_follows_its_rules(preset: str | None) -> None:
    here = rows("what_prevents_collapse", preset)
    assert len(here) == 24
    for row, placed in here.items():
        settings, name = placed.fields.settings, placed.label
        # momentum encoder, stop-gradient, predictor, BN: what the row's name says, BYOL's alone has a target
        has = {part: part in name for part in ("ME", "SG", "PR", "BN")}
        assert (settings["target"] is not None, settings["stop_gradient"]) == (has["ME"], has["SG"])
        assert (settings["predictor"] is not None) == has["PR"]
        assert settings["projector"]["batch_norm"] == has["BN"]
        assert has["BN"] or settings["projector"]["output_norm"] == "none"
        assert not has["PR"] or settings["predictor"]["predictor_batch_norm"] == has["BN"]
        distance = {"byol": "normalised_mse", "simsiam": "negative_cosine", "vicreg": "mse"}
        assert settings["pair_loss"]["kind"] == distance[placed.fields.method]
        vicreg = placed.fields.method == "vicreg"
        assert settings["pair_weight"] == (25.0 if vicreg else 1.0)
        regulariser = settings["regulariser"]
        weights = (regulariser["variance_weight"], regulariser["covariance_weight"]) if regulariser else None
        expected = {
            "none": None,
            "variance": (25.0, 0.0) if vicreg else (1.0, 0.0),
            "variance + covariance": (25.0, 1.0) if vicreg else (1.0, 0.01),
        }
        assert weights == expected[row.partition("regularisation=")[2]]


def test_asymmetry_and_whitening_differ_in_those_alone() -> None:
    here = rows("asymmetry_and_whitening")
    parts = {
        row: (
            placed.fields.method,
            (placed.fields.settings["transform"] or {}).get("kind"),
            placed.fields.settings["predictor"] is not None,
        )
        for row, placed in here.items()
    }
    assert parts == {
        "w_mse": ("w_mse", "whitening", False),
        "byol": ("byol", None, True),
        "byol, whitened": ("byol", "whitening", True),
        "byol, whitened, no predictor": ("byol", "whitening", False),
        "simsiam": ("simsiam", None, True),
        "simsiam, whitened": ("simsiam", "whitening", True),
        "simsiam, whitened, no predictor": ("simsiam", "whitening", False),
    }
    heads = {placed.fields.settings["projector"]["embedding_size"] for placed in here.values()}
    assert heads == {64}


def test_the_contrastive_rows_cross_whitening_and_normalisation() -> None:
    here = rows("contrastive_whitening")
    settings = {row: placed.fields.settings for row, placed in here.items() if row != "w_mse 2"}
    crossed = {(s["transform"]["kind"], s["pair_loss"]["l2_normalise"]) for s in settings.values()}
    assert crossed == {(kind, l2) for kind in ("batch_norm", "whitening") for l2 in (True, False)}
    assert {(s["pair_loss"]["temperature"], s["projector"]["embedding_size"]) for s in settings.values()} == {(0.5, 64)}


@pytest.mark.parametrize(
    ("preset", "images", "epochs", "width", "size"), [(None, 60_000, 200, None, 28), ("cpu", 10_000, 20, 16, 16)]
)
def test_fashion_mnist_has_every_method_in_both_sizes(
    preset: str | None, images: int, epochs: int, width: int | None, size: int
) -> None:
    cells = [placed.fields for placed in planned("fashion_mnist", preset).planned]
    assert {fields.method for fields in cells} == set(all_methods()) - {"given_weights"}
    assert {fields.seed for fields in cells} >= {0, 1}
    assert {fields.views for fields in cells if fields.method == "w_mse"} == {2, 4}
    trained = [fields for fields in cells if fields.epochs is not None]
    used = {fields.dataset.train_images or 60_000 for fields in cells}
    assert (used, {fields.dataset.image_size for fields in cells}) == ({images}, {size})
    assert {(fields.epochs, fields.backbone.width, fields.backbone.name) for fields in trained} == {
        (epochs, width, "resnet18")
    }
    assert all(fields.augmentation == trained[0].augmentation for fields in trained)


def test_the_curves_of_the_quick_sizes_are_more_frequent() -> None:
    def curve(preset: str | None, suite: str = "fashion_mnist") -> set[int]:
        cells = [placed.cell for placed in planned(suite, preset).planned if placed.cell.training]
        return {cell.monitors["knn5"].every_epochs for cell in cells}

    assert (curve(None), curve("cpu")) == ({20}, {5})
    assert [curve(preset, "sweep_lr_subbatch") for preset in (None, "digits", "fashion_mnist")] == [{20}, {3}, {5}]
    assert curve("cifar10", "what_prevents_collapse") == {20}


def test_the_float32_half_of_the_precisions_is_trained_once_for_both_suites() -> None:
    precisions = expanded(load_suite(DIRECTORY / "precision.yaml", "cpu"))
    assert {here.reason for here in precisions.skipped} == {"two views are enough to see it"}
    float32 = {here.cell.pretraining.id for here in precisions.planned if here.fields.precision == "float32"}
    whole = planned("fashion_mnist", "cpu").planned
    same = {here.cell.pretraining.id for here in whole if here.row in ("w_mse d=2", "byol")}
    assert len(float32) == 4  # two methods, two seeds
    assert float32 == same


@pytest.mark.parametrize("imported", ["", "harness.suite.schema, harness.suite.local_facts, "])
def test_planning_needs_neither_torch_nor_pandas(imported: str, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import {imported}harness.suite.expand, harness.suite.suite
print([name for name in ("torch", "pandas", "optuna") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_suite_is_planned_and_its_schema_written_without_torch(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from harness.registry import all_datasets, all_methods, all_probes
from harness.store.store import Store
from harness.suite.expand import expand
from harness.suite.facts import Catalogue
from harness.suite.local_facts import LocalFacts
from harness.suite.schema import json_schema
from harness.suite.suite import load_suite
catalogue = Catalogue(all_methods(), all_probes(), all_datasets())
facts = LocalFacts(Path({str(tmp_path)!r}), Store(Path({str(tmp_path / "cells")!r})))
found = expand(load_suite({str(DIRECTORY / "quickstart.yaml")!r}), catalogue, facts)
print(len({{placed.cell.pretraining.id for placed in found.planned}}), len(found.planned), len(found.skipped))
print("w_mse.settings" in json_schema(catalogue)["$defs"], "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # 13 rows of two seeds; the two of `pixels` are one pretraining
    assert done.stdout.splitlines() == ["25 26 0", "True False"]
