import pytest

from harness.analysis.differences import notes
from harness.analysis.layout import arrange
from harness.store.provenance import Code

BESIDES = "What differs between rows besides the method"
READ = "How to read it"
CODE = "Code, libraries and devices"


def _notes(records, rows=("method",), columns=("dataset",)):
    return {note.heading: list(note.lines) for note in notes(arrange(records, rows, columns).cells, rows, columns)}


def test_rows_that_differ_by_method_alone_differ_in_nothing_else(bench):
    bench.plan()
    bench.plan(label="BYOL", method="byol", settings={"target": {"target_momentum": 0.99}})
    assert _notes(bench.records())[BESIDES] == ["nothing"]


def test_each_field_that_differs_is_named_with_its_rows(bench):
    bench.plan(label="A", seed=0)
    bench.plan(label="A", seed=1)
    bench.plan(label="B", method="byol", settings={}, batch_size=256, optimiser={"lr": 0.002})
    assert _notes(bench.records())[BESIDES] == [
        "optimiser.lr: 0.003 in A; 0.002 in B",
        "batch_size: 512 in A; 256 in B",
    ]


def test_the_commonest_of_many_is_said_once(bench):
    for label in "ABCDE":
        bench.plan(label=label, epochs=100 if label == "C" else 1000)
    assert _notes(bench.records())[BESIDES] == ["epochs: 100 in C; 1000 in the other rows"]


def test_axes_that_the_table_shows_are_not_repeated(bench):
    bench.plan(axes={"d": 2}, views=2)
    bench.plan(axes={"d": 4}, views=4)
    assert _notes(bench.records(), rows=("method", "d"))[BESIDES] == ["nothing"]
    bench.plan(label="B", method="byol", settings={}, views=4)
    assert _notes(bench.records())[BESIDES] == ["views: 2 in W-MSE; 4 in W-MSE, B"]


def test_what_a_control_does_not_have_is_one_line(bench):
    bench.plan()
    bench.plan(label="pixels", method="pixels", settings={}, views=None, backbone=None, optimiser=None, epochs=None)
    assert _notes(bench.records())[BESIDES] == ["pixels has no views, backbone, optimiser, epochs"]


def test_heads_are_compared_across_methods_and_other_settings_within_one(bench):
    transform = {"kind": "whitening", "sub_batch_size": 128}
    bench.plan(label="A", settings={"projector": {"embedding_size": 64}, "transform": transform})
    bench.plan(
        label="B", settings={"projector": {"embedding_size": 64}, "transform": transform | {"sub_batch_size": 256}}
    )
    bench.plan(label="C", method="byol", settings={"projector": {"embedding_size": 128}, "transform": None})
    assert _notes(bench.records())[BESIDES] == [
        "projector.embedding_size: 64 in A, B; 128 in C",
        "w_mse: transform.sub_batch_size: 128 in A; 256 in B",
    ]


def test_columns_are_compared_apart_and_common_lines_said_once(bench):
    for name in ("cifar10", "stl10"):
        bench.plan(label="A", dataset={"name": name, "image_size": 32 if name == "cifar10" else 64})
        bench.plan(label="B", batch_size=256, epochs=1000 if name == "cifar10" else 2000,
                   dataset={"name": name, "image_size": 32 if name == "cifar10" else 64})  # fmt: skip
    assert _notes(bench.records())[BESIDES] == [
        "batch_size: 512 in A; 256 in B",
        "stl10: epochs: 1000 in A; 2000 in B",
    ]


def test_different_copies_of_a_dataset_are_a_difference(bench):
    bench.plan(label="A", dataset={"fingerprint": "one"})
    bench.plan(label="B", dataset={"fingerprint": "two"})
    assert _notes(bench.records())[BESIDES] == ["dataset.fingerprint: one in A; two in B"]


def test_seeds_and_spread_are_stated(bench):
    bench.plan(seed=0)
    assert _notes(bench.records())[READ] == ["Entries are single runs (seed 0): there is no spread."]
    bench.plan(seed=3)
    bench.plan(label="B", seed=0)
    assert _notes(bench.records())[READ] == [
        "Entries are mean ± sample standard deviation over n = 1 or 2 runs (seeds 0, 3); n = 1 has no spread."
    ]


def test_cells_that_differ_by_more_than_their_seed_are_told_of(bench):
    first = bench.plan(seed=0)
    bench.plan(seed=1, epochs=10)
    assert (
        f"The entry of W-MSE (cifar10, seed 0, cell {first.id}) mixes cells that differ by more than their seed."
        in (_notes(bench.records())[READ])
    )


def test_the_rule_of_collapse_is_stated_where_it_applied(bench):
    bench.done({"linear_top1": 10.0}, collapsed=True)
    rule = (
        "Collapsed: std x sqrt(D) of the normalised features below 0.1, or RankMe below 5 % of D, on 3 "
        "evaluations in a row (all, if fewer)."
    )
    assert rule in _notes(bench.records())[READ]


def test_shared_versions_in_one_line(bench):
    bench.done({"linear_top1": 1.0}, seed=0)
    bench.done({"linear_top1": 1.0}, seed=1)
    assert _notes(bench.records())[CODE] == [
        "All 2 results: device cpu, threads 2, python 3.11.1, torch 2.9.0, commit cccccccccccc."
    ]


def test_mixed_versions_devices_and_commits_are_counted(bench):
    bench.done({"linear_top1": 1.0}, seed=0)
    bench.done({"linear_top1": 1.0}, seed=1)
    other = {
        "device": "cuda: H100",
        "commit": "d" * 40,
        "dirty": True,
        "versions": {"python": "3.11.1", "torch": "2.10.0"},
    }
    bench.done({"linear_top1": 1.0}, seed=2, provenance=other | {"method_digest": "n", "shared_digest": "t"})
    assert _notes(bench.records())[CODE] == [
        "All 3 results: threads 2, python 3.11.1.",
        "Mixed device: cpu (2 results); cuda: H100 (1 result)",
        "Mixed torch: 2.10.0 (1 result); 2.9.0 (2 results)",
        "Mixed commit: cccccccccccc (2 results); dddddddddddd with changes not committed (1 result)",
        "Mixed code: results were made with 2 versions of the code that all methods share.",
        "Mixed code of methods: w_mse (2 versions).",
    ]


def test_a_result_made_outside_a_checkout_has_no_commit(bench):
    bench.done({"linear_top1": 1.0}, provenance={"commit": None, "dirty": None})
    assert _notes(bench.records())[CODE][0].endswith("commit none.")


def test_failures_skips_missing_data_and_the_rest_are_listed(bench):
    bench.failed("WhiteningError", "slice of 64:\n  singular", axes={"d": 4}, views=4)
    bench.skip("not divisible", seed=0)
    bench.skip("not divisible", seed=1, label="B")
    bench.plan(label="C", missing="fetch it", dataset={"fingerprint": None})
    bench.plan(label="D", seed=8)
    bench.plan(label="D", seed=9)
    failed, _, _, _, skipped, other = (item.id for item in (*bench.planned, *bench.skipped))
    found = _notes(bench.records())
    assert found["Failed"] == [f"W-MSE d=4 (cifar10, seed 0, cell {failed}): WhiteningError: slice of 64: singular"]
    assert found["Skipped"] == [
        f"W-MSE (cifar10, seed 0, cell {skipped}), B (cifar10, seed 1, cell {other}): not divisible"
    ]
    assert found["No data"] == [f"C (cifar10, seed 0, cell {bench.planned[1].id}): fetch it"]
    assert found["Not done"] == ["2 pending"]


def test_a_result_that_is_not_used_is_told_of(bench):
    result = bench.done({"linear_top1": 1.0})
    (bench.store.directory(result.id) / "result.json").write_text("{")
    assert _notes(bench.records())["Not done"] == [
        "1 pending",
        f"W-MSE (cifar10, seed 0, cell {result.id}): its result is not used: result.json is truncated or not JSON",
    ]


def test_stale_results_are_listed_with_the_reason(bench):
    result = bench.done({"linear_top1": 1.0})
    code = Code(shared="new", methods={"w_mse": "m"}, commit=None, dirty=None)
    assert _notes(bench.records(code))["Stale"] == [
        f"W-MSE (cifar10, seed 0, cell {result.id}): the code shared by all methods has changed since"
    ]


@pytest.mark.parametrize("heading", ["Stale", "Failed", "Skipped", "No data", "Not done"])
def test_what_did_not_happen_has_no_heading(bench, heading):
    bench.done({"linear_top1": 1.0})
    assert heading not in _notes(bench.records())
