"""What is said of single runs: failures, what is missing, what made the results."""

import pytest

from harness.analysis.report import runs
from harness.store.provenance import Code
from tests.analysis.conftest import Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_failure_with_its_place_and_traceback(bench):
    bench.failed("ValueError", "no", label="a", seed=3)
    (failed,) = runs.failures(bench.records())
    assert (failed.name, failed.summary) == ("a, cifar10, seed 3", "ValueError: no")
    assert (failed.where, failed.traceback) == ("epoch 1, step 7", "...")


def test_what_is_not_there_is_grouped_by_its_reason(bench):
    bench.skip("too few images", label="a", seed=0)
    bench.skip("too few images", label="a", seed=1)
    bench.plan(label="b", missing="fetch it")
    bench.plan(label="c", seed=5)
    found = [(group.heading, group.reason, group.names) for group in runs.groups(bench.records())]
    assert found == [
        ("no data", "fetch it", ("b, cifar10, seed 0",)),
        ("pending", "it has not run", ("c, cifar10, seed 5",)),
        ("skipped", "too few images", ("a, cifar10, seed 0", "a, cifar10, seed 1")),
    ]


def test_stale_results_say_why(bench):
    bench.done({"linear_top1": 1.0}, label="a")
    (group,) = runs.groups(bench.records(Code("other", {"w_mse": "m"}, None, None)))
    assert (group.heading, group.reason) == ("stale", "the code shared by all methods has changed since")


def test_results_are_grouped_by_what_made_them(bench):
    for seed in (0, 1):
        bench.done({"linear_top1": 1.0}, seed=seed)
    bench.done({"linear_top1": 1.0}, seed=2, provenance={"dirty": True, "device": "cuda: big"})
    common, other = runs.provenance(bench.records())
    assert (common.results, other.results) == (2, 1)
    assert dict(common.facts)["machine"] == "cpu, 2 threads, host here"
    assert dict(other.facts)["commit"] == "c" * 40 + " with changes not committed"


def test_a_cell_under_two_labels_is_one_run_and_every_cell_has_a_line(bench):
    bench.done({"linear_top1": 1.0}, label="a", seconds=1234.5)
    bench.plan(label="same cell")
    records = runs.unique(bench.records())
    assert runs.statuses(records) == {"done": 1}
    (line,) = runs.cells(records)
    told = dict(zip(runs.CELL_COLUMNS, line, strict=True))
    assert (told["row"], told["state"], told["train s"], told["resumed"]) == ("a", "done", "1,234.5", 0)
