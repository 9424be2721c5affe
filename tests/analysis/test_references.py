import csv
from importlib import resources

import pytest

from harness.analysis.references import for_cell, load, lookup
from harness.registry import all_methods
from tests.analysis.conftest import EVALUATIONS, KNN5, LINEAR

REFERENCES = load()


def test_every_line_of_the_file_is_a_reference():
    text = resources.files("harness.analysis").joinpath("references.csv").read_text()
    assert len(REFERENCES) == len(list(csv.reader(text.splitlines()))) - 1 == 77


def test_only_verified_numbers_enter_verdicts():
    assert {r.confidence for r in REFERENCES if r.enters_verdicts} == {"verified"}
    stl10 = lookup(REFERENCES, dataset="stl10", method="contrastive", d=2, metric="linear_top1")
    assert [(r.value, r.recalled, r.enters_verdicts) for r in stl10] == [(90.51, True, False)]


def test_a_lookup_agrees_in_everything_given():
    wanted = {"dataset": "imagenet", "method": "byol", "d": 2, "metric": "linear_top1"}
    assert [(r.value, r.confidence) for r in lookup(REFERENCES, **wanted)] == [(69.3, "verified"), (66.5, "recalled")]
    assert lookup(REFERENCES, **wanted, epochs=400) == []
    assert lookup(REFERENCES, **wanted, backbone="resnet18") == []
    assert lookup(REFERENCES, **(wanted | {"d": None})) == []


def test_the_published_recipe_has_its_number(bench):
    reference, same = for_cell(REFERENCES, bench.plan(), "linear_top1")
    assert (reference.value, reference.table, same) == (91.55, "1", True)
    assert for_cell(REFERENCES, bench.plan(views=4), "knn5_top1")[0].value == 89.87
    assert for_cell(REFERENCES, bench.plan(views=3), "knn5_top1") is None
    assert for_cell(REFERENCES, bench.plan(), "lbfgs_top1") is None


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 200},
        {"backbone": {"name": "resnet34"}},
        {"backbone": {"width": 8}},
        {"backbone": {"weights": "given.safetensors"}},
        {"dataset": {"train_images": 5000}},
        {"dataset": {"validation_fraction": 0.1}},
        {"split": "validation", "dataset": {"validation_fraction": 0.1}},
        {"evaluations": {"linear": {**LINEAR, "label_fraction": 0.1}}},
        {"settings": {"pair_loss": {"kind": "mse"}}},
        {"settings": {"transform": {"kind": "whitening", "variant": "zca"}}},
        {"settings": {"transform": {"kind": "whitening", "eps": 0.01}}},
        {"settings": {"predictor": {"predictor_hidden": 64}}},
        {"settings": {"transform": None}},
    ],
)
def test_another_recipe_has_none_unless_asked_for(bench, change):
    placed = bench.plan(**change)
    assert for_cell(REFERENCES, placed, "linear_top1") is None
    reference, same = for_cell(REFERENCES, placed, "linear_top1", any_recipe=True)
    assert (reference.value, same) == (91.55, False)


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("contrastive", {"pair_loss": {"kind": "nt_xent", "l2_normalise": False}}),
        ("contrastive", {"transform": {"kind": "whitening"}}),
        ("byol", {"transform": {"kind": "whitening"}}),
        ("byol", {"target": None}),
        ("byol", {"regulariser": {"variance_weight": 1.0}}),
    ],
)
def test_a_changed_method_is_not_the_published_one(bench, method, change):
    settings = all_methods()[method].settings().model_dump(mode="json")
    assert for_cell(REFERENCES, bench.plan(method=method, settings=settings), "linear_top1")[1]
    changed = bench.plan(method=method, settings=settings | change)
    assert for_cell(REFERENCES, changed, "linear_top1") is None


def test_a_cell_without_an_encoder_has_none(bench):
    placed = bench.plan(method="pixels")
    assert for_cell(REFERENCES, placed, "linear_top1", any_recipe=True) is None


def test_a_metric_is_looked_up_by_its_probe_whatever_it_is_called(bench):
    placed = bench.plan(evaluations={"near": KNN5, "linear": {"probe": "knn", "k": 20}, "fit": LINEAR})
    assert for_cell(REFERENCES, placed, "near_top1")[0].value == 89.69
    assert for_cell(REFERENCES, placed, "fit_top1")[0].value == 91.55
    assert for_cell(REFERENCES, placed, "linear_top1", any_recipe=True) is None  # 20 neighbours in truth
    assert for_cell(REFERENCES, placed, "knn5_top1") is None  # no evaluation of that name


def test_transfer_to_another_dataset_has_none(bench):
    placed = bench.plan(evaluations={**EVALUATIONS, "linear": {**LINEAR, "dataset": "stl10"}})
    assert for_cell(REFERENCES, placed, "linear_top1", any_recipe=True) is None
    assert for_cell(REFERENCES, placed, "knn5_top1")[0].value == 89.69
