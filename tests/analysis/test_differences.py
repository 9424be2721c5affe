import pytest

from harness.analysis.differences import differences
from harness.analysis.layout import arrange
from tests.analysis.conftest import LINEAR, MONITORS


def _differences(records, rows=("method",), columns=("dataset",)):
    return differences(arrange(records, rows, columns).cells, rows, columns)


def test_rows_that_differ_by_method_alone_differ_in_nothing_else(bench):
    bench.plan()
    bench.plan(label="BYOL", method="byol", settings={"target": {"target_momentum": 0.99}})
    assert _differences(bench.records()) == ["nothing"]


def test_each_field_that_differs_is_named_with_its_rows(bench):
    bench.plan(label="A", seed=0)
    bench.plan(label="A", seed=1)
    bench.plan(label="B", method="byol", settings={}, batch_size=256, optimiser={"lr": 0.002})
    assert _differences(bench.records()) == [
        "optimiser.lr: 0.003 in A; 0.002 in B",
        "batch_size: 512 in A; 256 in B",
    ]


def test_the_commonest_of_many_is_said_once(bench):
    for label in "ABCDE":
        bench.plan(label=label, epochs=100 if label == "C" else 1000)
    assert _differences(bench.records()) == ["epochs: 100 in C; 1000 in the other rows"]


def test_axes_that_the_table_shows_are_not_repeated(bench):
    bench.plan(axes={"d": 2}, views=2)
    bench.plan(axes={"d": 4}, views=4)
    assert _differences(bench.records(), rows=("method", "d")) == ["nothing"]
    bench.plan(label="B", method="byol", settings={}, views=4)
    assert _differences(bench.records()) == ["views: 2 in W-MSE; 4 in W-MSE, B"]


def test_what_a_control_does_not_have_is_one_line(bench):
    bench.plan()
    bench.plan(label="pixels", method="pixels", settings={})
    assert _differences(bench.records()) == [
        "pixels has no views, backbone, augmentation, optimiser, schedule, epochs, batch_size"
    ]


def test_heads_are_compared_across_methods_and_other_settings_within_one(bench):
    transform = {"kind": "whitening", "sub_batch_size": 128}
    bench.plan(label="A", settings={"projector": {"embedding_size": 64}, "transform": transform})
    bench.plan(
        label="B", settings={"projector": {"embedding_size": 64}, "transform": transform | {"sub_batch_size": 256}}
    )
    bench.plan(label="C", method="byol", settings={"projector": {"embedding_size": 128}, "transform": None})
    assert _differences(bench.records()) == [
        "projector.embedding_size: 64 in A, B; 128 in C",
        "w_mse: transform.sub_batch_size: 128 in A; 256 in B",
    ]


def test_columns_are_compared_apart_and_common_lines_said_once(bench):
    for name in ("cifar10", "stl10"):
        bench.plan(label="A", dataset={"name": name, "image_size": 32 if name == "cifar10" else 64})
        bench.plan(label="B", batch_size=256, epochs=1000 if name == "cifar10" else 2000,
                   dataset={"name": name, "image_size": 32 if name == "cifar10" else 64})  # fmt: skip
    assert _differences(bench.records()) == [
        "batch_size: 512 in A; 256 in B",
        "stl10: epochs: 1000 in A; 2000 in B",
    ]


def test_options_of_the_backbone_are_named_though_one_row_has_none(bench):
    bench.plan(label="A")
    bench.plan(label="B", backbone={"options": {"drop_path_rate": 0.1}})
    bench.plan(label="C", backbone={"options": {"drop_path_rate": 0.1, "drop_rate": 0.5}})
    assert _differences(bench.records()) == [
        "backbone.options.drop_path_rate: – in A; 0.1 in B, C",
        "backbone.options.drop_rate: – in A, B; 0.5 in C",
    ]


def test_evaluations_are_compared_and_monitors_are_not(bench):
    bench.plan(label="A", evaluations={"linear": {"probe": "linear", "epochs": 5}})
    bench.plan(label="B", evaluations={"linear": {"probe": "linear", "label_fraction": 0.1}}, monitors=MONITORS)
    assert _differences(bench.records()) == [
        "evaluations.linear.label_fraction: – in A; 0.1 in B",
        "evaluations.linear.epochs: 5 in A; 500 in B",
    ]


def test_an_evaluation_that_a_row_does_not_have_is_one_line(bench):
    bench.plan(label="A")
    bench.plan(label="B", evaluations={"linear": LINEAR})
    assert _differences(bench.records()) == ['evaluations.knn5: {"probe": "knn", "k": 5} in A; – in B']


CHANGES = {
    "views": 4,
    "dataset": {"image_size": 64},
    "backbone": {"weights": "w.safetensors"},
    "augmentation": {"solarise_probability": 0.2},
    "optimiser": {"betas": (0.9, 0.99)},
    "schedule": {"drops": (10,)},
    "epochs": 10,
    "batch_size": 256,
    "precision": "bfloat16",
    "evaluations": {"linear": {"probe": "linear", "lr": 0.5}, "knn5": {"probe": "knn", "k": 5}},
}


@pytest.mark.parametrize("field", CHANGES)
def test_every_part_of_a_row_can_appear(bench, field):
    bench.plan(label="A")
    bench.plan(label="B", **{field: CHANGES[field]})
    (line,) = _differences(bench.records())
    assert line.startswith(field)


def test_the_split_is_a_difference(bench):
    for label, split in (("A", "test"), ("B", "validation")):
        bench.plan(label=label, split=split, dataset={"validation_fraction": 0.1})
    assert _differences(bench.records()) == ["split: test in A; validation in B"]


def test_a_field_of_the_same_last_name_as_a_shown_axis_is_still_named(bench):
    bench.plan(axes={"epochs": 10}, epochs=10, evaluations={"linear": {"probe": "linear", "epochs": 5}})
    bench.plan(axes={"epochs": 20}, epochs=20, evaluations={"linear": {"probe": "linear", "epochs": 6}})
    assert _differences(bench.records(), rows=("method", "epochs")) == [
        "evaluations.linear.epochs: 5 in W-MSE epochs=10; 6 in W-MSE epochs=20"
    ]


def test_rows_without_the_method_are_called_by_their_axes(bench):
    for epochs in (10, 20):
        for size in (64, 128):
            bench.plan(axes={"d": 2 if epochs == 10 else 4, "batch_size": size}, epochs=epochs, batch_size=size)
    records = bench.records()
    assert _differences(records, rows=("d",), columns=("batch_size",)) == ["epochs: 10 in d=2; 20 in d=4"]
    assert _differences(records, rows=("method", "d"), columns=("batch_size",)) == [
        "epochs: 10 in W-MSE d=2; 20 in W-MSE d=4"
    ]
