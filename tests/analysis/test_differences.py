from harness.analysis.differences import differences
from harness.analysis.layout import arrange


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
    bench.plan(label="pixels", method="pixels", settings={}, views=None, backbone=None, optimiser=None, epochs=None)
    assert _differences(bench.records()) == ["pixels has no views, backbone, optimiser, epochs"]


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


def test_different_copies_of_a_dataset_are_a_difference(bench):
    bench.plan(label="A", dataset={"fingerprint": "one"})
    bench.plan(label="B", dataset={"fingerprint": "two"})
    assert _differences(bench.records()) == ["dataset.fingerprint: one in A; two in B"]


def test_rows_without_the_method_are_called_by_their_axes(bench):
    for epochs in (10, 20):
        for size in (64, 128):
            bench.plan(axes={"d": 2 if epochs == 10 else 4, "batch_size": size}, epochs=epochs, batch_size=size)
    records = bench.records()
    assert _differences(records, rows=("d",), columns=("batch_size",)) == ["epochs: 10 in d=2; 20 in d=4"]
    assert _differences(records, rows=("method", "d"), columns=("batch_size",)) == [
        "epochs: 10 in W-MSE d=2; 20 in W-MSE d=4"
    ]
