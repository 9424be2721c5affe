import pytest

from harness.analysis.layout import arrange
from harness.analysis.notes import notes
from harness.spec.collapse import CollapseRule
from tests.analysis.conftest import code

READ = "How to read it"
CODE = "Code, libraries and devices"


def _notes(records, measures=(), **choices):
    cells = arrange(records, ("method",), ("dataset",)).cells
    return {note.heading: list(note.lines) for note in notes(cells, ("method",), ("dataset",), measures, **choices)}


def test_seeds_and_spread_are_stated(bench):
    bench.plan(seed=0)
    assert _notes(bench.records())[READ] == ["Entries are single runs (seed 0): there is no spread."]
    bench.plan(seed=3)
    bench.plan(label="B", seed=0)
    assert _notes(bench.records())[READ] == [
        "Entries are mean ± sample standard deviation over n = 1 or 2 runs (seeds 0, 3); a single run has no spread."
    ]


def test_cells_that_differ_by_more_than_their_seed_are_told_of(bench):
    first = bench.plan(seed=0).cell.pretraining
    bench.plan(seed=1, epochs=10)
    assert (
        f"The entry of W-MSE (cifar10, seed 0, cell {first.id}) mixes cells that differ by more than their seed."
        in (_notes(bench.records())[READ])
    )


def test_the_rule_of_collapse_is_stated_where_it_applied(bench):
    bench.done({"linear_top1": 10.0}, collapsed=True)
    rule = (
        "Collapsed: std x sqrt(D) of the normalised features below 0.1, or RankMe below 5 % of D, on 3 "
        "readings in a row (all, if fewer)."
    )
    assert rule in _notes(bench.records())[READ]
    strict = CollapseRule(min_std=0.2, min_rank_fraction=0.1, consecutive=1)
    assert any("below 0.2, or RankMe below 10 %" in line for line in _notes(bench.records(), rule=strict)[READ])


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
    changed = {"method w_mse": "n", "training on cpu": "u"}
    bench.done({"linear_top1": 1.0}, seed=2, provenance=other | {"code": changed})
    assert _notes(bench.records())[CODE] == [
        "All 3 results: threads 2, python 3.11.1.",
        "Mixed device: cpu (2 results); cuda: H100 (1 result)",
        "Mixed torch: 2.10.0 (1 result); 2.9.0 (2 results)",
        "Mixed commit: cccccccccccc (2 results); dddddddddddd with changes not committed (1 result)",
        "Mixed code: method w_mse (2 versions), training on cpu (2 versions).",
    ]


def test_mixed_code_of_a_probe_is_named_and_of_two_devices_is_not_mixed(bench):
    bench.done({"linear_top1": 1.0}, seed=0)
    bench.done({"linear_top1": 1.0}, seed=1, evaluated={"code": {"probe knn": "q"}})
    bench.done({"linear_top1": 1.0}, seed=2, provenance={"code": {"training on cuda": "other"}})
    assert _notes(bench.records())[CODE][1:] == ["Mixed code: probe knn (2 versions)."]


def test_evaluations_made_otherwise_than_their_training_are_told_of(bench):
    bench.done({"linear_top1": 1.0}, seed=0, evaluated={"device": "cuda: H100", "commit": "d" * 40})
    bench.done({"linear_top1": 1.0}, seed=1)
    assert _notes(bench.records())[CODE] == [
        "All 2 results: device cpu, threads 2, python 3.11.1, torch 2.9.0, commit cccccccccccc.",
        "Evaluated with another device than trained: cuda: H100 (2 evaluations)",
        "Evaluated with another commit than trained: dddddddddddd (2 evaluations)",
    ]


def test_a_result_made_outside_a_checkout_has_no_commit(bench):
    bench.done({"linear_top1": 1.0}, provenance={"commit": None, "dirty": None})
    assert _notes(bench.records())[CODE][0].endswith("commit none.")


def test_failures_skips_missing_data_and_the_rest_are_listed(bench):
    bench.failed("WhiteningError", "slice of 64:\n  singular", axes={"d": 4}, views=4)
    bench.skip("not divisible", seed=0)
    bench.skip("not divisible", seed=1, label="B")
    bench.plan(label="C", missing="fetch it")
    bench.plan(label="D", seed=8)
    bench.plan(label="D", seed=9)
    everything = (*bench.planned, *bench.skipped)
    failed, absent, _, _, skipped, other = (item.cell.pretraining.id for item in everything)
    found = _notes(bench.records())
    assert found["Failed"] == [f"W-MSE d=4 (cifar10, seed 0, cell {failed}): WhiteningError: slice of 64: singular"]
    assert found["Skipped"] == [
        f"W-MSE (cifar10, seed 0, cell {skipped}), B (cifar10, seed 1, cell {other}): not divisible"
    ]
    assert found["No data"] == [f"C (cifar10, seed 0, cell {absent}): fetch it"]
    assert found["Not done"] == ["2 pending"]


def test_what_is_trained_and_not_evaluated_says_what_is_to_do(bench):
    bench.plan(seed=0)
    bench.done({"linear_top1": 1.0}, seed=1, to_do=["knn5"])
    assert _notes(bench.records())["Not done"] == ["2 pending", "1 of them trained, with knn5 to do"]


def test_a_failed_evaluation_is_listed_by_its_name(bench):
    result = bench.done({"linear_top1": 1.0}, failing={"knn5": "k exceeds\nthe images"})
    assert _notes(bench.records())["Failed"] == [
        f"W-MSE (cifar10, seed 0, cell {result.id}): knn5: RuntimeError: k exceeds the images"
    ]


def test_a_result_that_is_not_used_is_told_of(bench):
    result = bench.done({"linear_top1": 1.0})
    (bench.store.directory(result.id) / "pretraining.json").write_text("{")
    assert _notes(bench.records())["Not done"] == [
        "1 pending",
        f"W-MSE (cifar10, seed 0, cell {result.id}): its result is not used: pretraining.json is truncated or not JSON",
    ]


def test_stale_results_are_listed_with_the_reason(bench):
    result = bench.done({"linear_top1": 1.0})
    assert _notes(bench.records(code(evaluation="new")))["Stale"] == [
        f"W-MSE (cifar10, seed 0, cell {result.id}): the code of evaluation has changed since"
    ]


@pytest.mark.parametrize("heading", ["Stale", "Failed", "Skipped", "No data", "Not done"])
def test_what_did_not_happen_has_no_heading(bench, heading):
    bench.done({"linear_top1": 1.0})
    assert heading not in _notes(bench.records())


def test_what_a_cost_is_stands_below_a_table_that_shows_it(bench):
    bench.done({"linear_top1": 1.0})
    assert len(_notes(bench.records(), ("linear_top1", "train_seconds"))[READ]) == 1
    flops, memory = _notes(bench.records(), ("train_flops", "peak_memory_bytes"))[READ][1:]
    assert flops.startswith("Training FLOPs are those of all forward and backward passes")
    assert memory.startswith("Peak memory on a CPU is the process's largest resident set during the cell")
