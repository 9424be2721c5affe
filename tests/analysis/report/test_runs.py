"""What is said of single runs: failures, what is missing, what made the results."""

import pytest

from harness.analysis.report import runs
from harness.store.records import Failure
from tests.analysis.conftest import EVALUATIONS, LINEAR, Bench, code


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_failure_with_its_place_and_traceback(bench):
    bench.failed("ValueError", "no", label="a", seed=3)
    (failed,) = runs.failures(bench.records())
    assert (failed.name, failed.summary) == ("a, cifar10, seed 3", "ValueError: no")
    assert (failed.where, failed.traceback) == ("training, last begun: epoch 1, step 7", "...")


def test_an_evaluation_that_failed_is_told_by_its_name_and_what_is_left_is_to_do(bench):
    asked = EVALUATIONS | {"lbfgs": {"probe": "lbfgs"}}
    bench.done({"linear_top1": 1.0}, label="a", evaluations=asked, failing={"knn5": "no memory"}, to_do=["lbfgs"])
    records = bench.records()
    (failed,) = runs.failures(records)
    assert (failed.summary, failed.where) == ("RuntimeError: no memory", "evaluation knn5")
    assert [(group.heading, group.reason) for group in runs.groups(records)] == [("to do", "lbfgs")]
    told = dict(zip(runs.CELL_COLUMNS, *runs.cells(records), strict=True))
    assert (told["state"], told["failed"], told["to do"]) == ("failed", "knn5", "lbfgs")


def test_a_failed_description_is_no_pending_one(bench):
    result = bench.done({"linear_top1": 1.0, "knn5_top1": 1.0}, label="a")
    failure = Failure(kind="ValueError", message="odd", traceback="...")
    bench.store.save_description(result.description.model_copy(update={"status": "failed", "failure": failure}))
    (failed,) = runs.failures(bench.records())
    assert (failed.summary, failed.where) == ("ValueError: odd", "description of the encoder")
    assert runs.groups(bench.records()) == []


def test_what_is_left_of_a_trained_run_is_pending_by_its_names(bench):
    bench.done({"linear_top1": 1.0}, label="a", to_do=["knn5"])
    (group,) = runs.groups(bench.records())
    assert (group.heading, group.reason, group.names) == ("pending", "to do: knn5", ("a, cifar10, seed 0",))


def test_a_failure_of_an_encoder_that_seeds_share_is_told_once(bench):
    for seed in (0, 1):
        bench.failed("ValueError", "no", label="raw", method="pixels", settings={}, seed=seed, axes={"seed": seed})
    assert [failed.name for failed in runs.failures(bench.records())] == ["raw, cifar10, seed 0"]
    assert len(runs.unique(bench.records())) == 2  # their linear probes are two questions


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
    bench.done({"linear_top1": 1.0, "knn5_top1": 1.0}, label="a")
    (group,) = runs.groups(bench.records(code(evaluation="new")))
    assert (group.heading, group.reason) == ("stale", "the code of evaluation has changed since")


def test_results_are_grouped_by_what_made_them(bench):
    for seed in (0, 1):
        bench.done({"linear_top1": 1.0}, seed=seed, evaluations={"linear": LINEAR})
    later = {"dirty": True, "device": "cuda: big", "code": {"evaluation": "e2"}}
    bench.done({"linear_top1": 1.0}, seed=2, evaluations={"linear": LINEAR}, evaluated=later)
    common, other = runs.provenance(bench.records())
    assert common.results == "3 pretrainings, 3 descriptions, 2 evaluations"
    assert other.results == "1 evaluation"
    assert dict(common.facts)["machine"] == "cpu, 2 threads, host here"
    assert dict(common.facts)["shared code"] == "description d, evaluation e, training on cpu t"
    assert dict(other.facts)["commit"] == "c" * 40 + " with changes not committed"
    assert dict(other.facts)["shared code"] == "evaluation e2"


def test_a_cell_under_two_labels_is_one_run_and_every_cell_has_a_line(bench):
    result = bench.done({"linear_top1": 1.0, "knn5_top1": 1.0}, label="a", seconds=1234.5)
    bench.plan(label="same cell")
    records = runs.unique(bench.records())
    assert runs.statuses(records) == {"done": 1}
    (line,) = runs.cells(records)
    told = dict(zip(runs.CELL_COLUMNS, line, strict=True))
    assert (told["row"], told["state"], told["train s"], told["resumed"]) == ("a", "done", "1,234.5", 0)
    assert (told["cell"], told["failed"], told["to do"]) == (result.id, "", "")
    assert told["code"] == "method w_mse m, training on cpu t"
