import io
import math
import subprocess
import sys

import pandas as pd
import pytest

from harness.analysis.frame import expected_metrics, first_metrics, frame, planned_metrics
from harness.spec.collapse import CollapseRule
from harness.store.store import ENCODER
from tests.analysis.conftest import EVALUATIONS, KNN5, LINEAR, code


def test_a_row_for_each_cell_and_metric_with_its_cost(bench):
    result = bench.done({"linear_top1": 91.5, "knn5_top1": 89.0}, axes={"seed": 0, "d": 2})
    table = frame(bench.records())
    assert table["metric"].tolist() == ["linear_top1", "knn5_top1"]
    assert table["value"].tolist() == [91.5, 89.0]
    row = table.iloc[0]
    assert row[["label", "dataset", "method", "views", "seed", "axis.d", "pretraining_id", "status"]].tolist() == [
        "W-MSE", "cifar10", "w_mse", 2, 0, "2", result.id, "done",
    ]  # fmt: skip
    assert table["evaluation_id"].tolist() == [question.id for question in result.cell.evaluations.values()]
    assert row[["views_seen", "train_seconds", "steps", "device", "collapsed"]].tolist() == [
        51200,
        10.0,
        100,
        "cpu",
        False,
    ]
    assert row["train_flops"] == 153_600_000_000


def test_what_has_no_number_has_rows_with_a_status(bench):
    bench.plan(axes={"seed": 0})
    bench.failed("RuntimeError", "singular", axes={"seed": 1}, seed=1)
    bench.skip("512 images are not divisible by 100", axes={"seed": 0}, batch_size=100)
    bench.plan(label="BYOL", method="byol", missing="fetch it")
    interrupted = bench.plan(seed=5)
    bench.store.write_checkpoint(interrupted.cell.pretraining.id, b"x")
    table = frame(bench.records())
    asked = ["linear_top1", "linear_top5", "linear_balanced", "knn5_top1", "knn5_balanced"]
    assert table["metric"].tolist() == asked * 5
    assert all(math.isnan(value) for value in table["value"])
    one = table[table["metric"] == "linear_top1"]
    assert one["status"].tolist() == ["pending", "failed", "no data", "interrupted", "skipped"]
    assert one["reason"].tolist() == [
        None, "RuntimeError: singular", "fetch it", None, "512 images are not divisible by 100",
    ]  # fmt: skip


def test_a_running_cell_is_running(bench):
    planned = bench.plan()
    with bench.store.lock(planned.cell.pretraining.id):
        assert [record.status for record in bench.records()] == ["running"]


def test_a_cell_whose_evaluations_are_being_made_is_running(bench):
    result = bench.done({"linear_top1": 1.0}, to_do=["knn5"])
    with bench.store.lock(result.id):
        (record,) = bench.records()
    assert (record.status, record.status_of("linear_top1"), record.status_of("knn5_top1")) == (
        "running",
        "done",
        "running",
    )


def test_a_result_that_is_not_believed_is_pending_with_the_reason(bench):
    result = bench.done({"linear_top1": 1.0})
    path = bench.store.directory(result.id) / "pretraining.json"
    path.write_text(path.read_text()[:100])
    (record,) = bench.records()
    assert (record.status, record.reason) == ("pending", "pretraining.json is truncated or not JSON")
    assert record.to_do == ("training", "description", "linear", "knn5")


def test_an_answer_that_is_not_believed_is_to_do_with_the_reason_and_the_other_stands(bench):
    result = bench.done({"linear_top1": 1.0, "knn5_top1": 2.0})
    path = bench.store.directory(result.id) / "evaluations" / f"{result.cell.evaluations['knn5'].id}.json"
    path.write_text(path.read_text()[:100])
    (record,) = bench.records()
    assert (record.status, record.to_do, record.result.metrics) == ("pending", ("knn5",), {"linear_top1": 1.0})
    assert record.reason == f"knn5: {path.name} is truncated or not JSON"


def test_what_is_to_do_is_told_by_stage(bench):
    bench.done({"linear_top1": 1.0}, seed=0)
    bench.done({"linear_top1": 1.0}, seed=1, to_do=["knn5"])
    bench.done({"linear_top1": 1.0}, seed=2, failing={"linear": "the loss is not finite"})
    bench.failed("ValueError", "singular", seed=3)
    bench.plan(seed=4)
    bench.skip("cannot", seed=5)
    everything = ("training", "description", "linear", "knn5")
    assert [(record.status, record.to_do) for record in bench.records()] == [
        ("done", ()),
        ("pending", ("knn5",)),
        ("failed", ("linear",)),
        ("failed", everything),
        ("pending", everything),
        ("skipped", ()),
    ]


def test_without_its_encoder_a_cell_is_trained_again_for_a_new_question_alone(bench):
    result = bench.done({"linear_top1": 1.0}, to_do=["knn5"])
    bench.store.drop(result.id, ENCODER)
    assert bench.records()[0].to_do == ("training", "description", "linear", "knn5")
    bench.planned.clear()
    done = bench.done({"linear_top1": 1.0}, seed=1)
    bench.store.drop(done.id, ENCODER)
    assert bench.records()[0].to_do == ()


def test_a_metric_has_its_own_status_and_reason(bench):
    bench.done({"linear_top1": 91.5}, failing={"knn5": "k exceeds the training images"})
    bench.done({"linear_top1": 92.5}, seed=1, to_do=["knn5"])
    table = frame(bench.records())
    assert table[["metric", "status", "value", "reason"]].astype(object).fillna("").to_numpy().tolist() == [
        ["linear_top1", "done", 91.5, ""],
        ["knn5_top1", "failed", "", "RuntimeError: k exceeds the training images"],
        ["knn5_balanced", "failed", "", "RuntimeError: k exceeds the training images"],
        ["linear_top1", "done", 92.5, ""],
        ["knn5_top1", "pending", "", ""],
        ["knn5_balanced", "pending", "", ""],
    ]
    assert [record.reason for record in bench.records()] == ["knn5: RuntimeError: k exceeds the training images", None]


def test_cells_that_share_a_pretraining_share_its_results(bench):
    for seed in (0, 1):
        bench.done(
            {"linear_top1": 40.0 + seed, "knn5_top1": 30.0}, label="pixels", method="pixels", settings={}, seed=seed
        )
    first, second = bench.records()
    assert first.cell.pretraining.id == second.cell.pretraining.id
    assert first.placed.id != second.placed.id
    assert [record.result.metrics["linear_top1"] for record in (first, second)] == [40.0, 41.0]
    assert [record.result.metrics["knn5_top1"] for record in (first, second)] == [30.0, 30.0]


def test_collapse_is_by_the_rule_that_is_given(bench):
    bench.done({"linear_top1": 1.0}, seed=0)  # RankMe 60 of 64
    bench.done({"linear_top1": 1.0}, seed=1, collapsed=True)
    bench.done({"linear_top1": 1.0}, method="untrained", settings={}, collapsed=True)  # was not trained
    assert [record.collapsed for record in bench.records()] == [False, True, False]
    strict = bench.records(rule=CollapseRule(min_rank_fraction=0.95))
    assert [record.collapsed for record in strict] == [True, True, False]


def test_stale_results_are_marked_only_where_code_is_given(bench):
    bench.done({"linear_top1": 1.0})
    assert [record.stale for record in bench.records()] == [None]
    changed = code(method_w_mse="other")
    assert [record.stale for record in bench.records(code())] == [None]
    assert [record.stale for record in bench.records(changed)] == ["the code of method w_mse has changed since"]
    assert frame(bench.records(changed))["stale"].tolist() == ["the code of method w_mse has changed since"]


def test_a_changed_probe_makes_its_own_metrics_stale(bench):
    bench.done({"linear_top1": 1.0, "knn5_top1": 2.0})
    (record,) = bench.records(code(probe_knn="other"))
    assert (record.stale, record.stale_metrics) == ("the code of probe knn has changed since", {"knn5_top1"})
    (record,) = bench.records(code(training_on_cpu="other"))
    assert record.stale_metrics == {"linear_top1", "knn5_top1"}


def test_what_is_done_stands_without_the_images_and_what_is_not_says_what_to_fetch(bench):
    bench.done({"linear_top1": 91.5}, missing="fetch it")
    bench.plan(seed=1, missing="fetch it")
    bench.done({"linear_top1": 90.5}, seed=2, missing="fetch it", to_do=["knn5"])
    first, second, third = bench.records()
    assert (first.status, first.result.metrics) == ("done", {"linear_top1": 91.5})
    assert (second.status, second.reason) == ("no data", "fetch it")
    assert (third.status, third.reason, third.result.metrics) == ("no data", "fetch it", {"linear_top1": 90.5})
    assert [third.status_of(name) for name in ("linear_top1", "knn5_top1")] == ["done", "no data"]


def test_results_on_two_copies_of_the_images_are_not_chosen_from(bench):
    for copy in ("one", "another"):
        bench.facts.copies["cifar10"] = copy
        bench.done({"linear_top1": 91.5})
    bench.facts.copies["cifar10"] = None
    bench.plan(missing="fetch it")
    record = bench.records()[-1]
    assert (record.status, record.reason) == ("no data", "there are results on 2 different copies of the dataset")


@pytest.mark.parametrize(
    ("evaluations", "names"),
    [
        (EVALUATIONS, ["linear_top1", "linear_top5", "linear_balanced", "knn5_top1", "knn5_balanced"]),
        (
            {"knn20": {"probe": "knn", "k": 20}, "second": {"probe": "lbfgs"}},
            ["knn20_top1", "knn20_balanced", "second_top1", "second_balanced"],
        ),
        ({}, []),
    ],
)
def test_metrics_asked_for(bench, evaluations, names):
    assert expected_metrics(bench.cell(evaluations=evaluations)) == names


def test_metrics_of_a_plan_are_headed_by_their_probes_the_first_of_each_evaluation_first(bench):
    bench.plan(label="A")
    bench.plan(label="B", evaluations={"near": KNN5, "linear": LINEAR})
    found = {name: metric.heading for name, metric in planned_metrics(bench.records()).items()}
    assert found == {
        "linear_top1": "linear top-1 %",
        "knn5_top1": "5-NN %",
        "near_top1": "5-NN %",
        "linear_top5": "linear top-5 %",
        "linear_balanced": "linear top-1, balanced %",
        "knn5_balanced": "5-NN, balanced %",
        "near_balanced": "5-NN, balanced %",
    }
    assert list(found)[:3] == first_metrics(bench.records())
    assert first_metrics(bench.records()) == ["linear_top1", "knn5_top1", "near_top1"]


def test_the_longest_name_of_an_evaluation_owns_a_metric(bench):
    few = {"probe": "linear", "label_fraction": 0.1}
    bench.done({"linear_few_top1": 5.0}, evaluations={"linear": LINEAR, "linear_few": few}, failing={"linear": "no"})
    (record,) = bench.records()
    assert [record.status_of(name) for name in ("linear_top1", "linear_few_top1")] == ["failed", "done"]


def test_the_frame_survives_csv(bench):
    bench.done({"linear_top1": 91.5}, axes={"d": 2, "lr": 1e-3})
    bench.failed("ValueError", 'two\nlines, with "quotes"', label="B", method="byol")
    table = frame(bench.records())
    back = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert len(back) == 6
    assert back["value"].tolist()[0] == 91.5
    assert back["reason"].tolist()[1] == 'ValueError: two\nlines, with "quotes"'
    assert back["axis.lr"].tolist()[0] == 0.001


def test_an_empty_plan_is_an_empty_frame(bench):
    table = frame(bench.records())
    assert len(table) == 0
    assert {"label", "metric", "value", "status"} <= set(table.columns)


def test_no_torch():
    names = ("markdown", "render", "live_view", "compare_tables", "claims", "latex")
    modules = ", ".join(f"harness.analysis.{name}" for name in names)
    program = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
