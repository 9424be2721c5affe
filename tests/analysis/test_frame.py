import io
import math
import subprocess
import sys

import pandas as pd
import pytest

from harness.analysis.frame import expected_metrics, frame
from harness.store.provenance import Code
from harness.suite.cell import EvaluationSpec, KnnSpec, LbfgsSpec


def test_a_row_for_each_cell_and_metric_with_its_cost(bench):
    result = bench.done({"linear_top1": 91.5, "knn5_top1": 89.0}, axes={"seed": 0, "d": 2})
    table = frame(bench.records())
    assert table["metric"].tolist() == ["linear_top1", "knn5_top1"]
    assert table["value"].tolist() == [91.5, 89.0]
    row = table.iloc[0]
    assert row[["label", "dataset", "method", "views", "seed", "axis.d", "cell_id", "status"]].tolist() == [
        "W-MSE", "cifar10", "w_mse", 2, 0, "2", result.id, "done",
    ]  # fmt: skip
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
    bench.plan(label="BYOL", method="byol", missing="fetch it", dataset={"fingerprint": None})
    interrupted = bench.plan(seed=5)
    bench.store.write_checkpoint(interrupted.id, b"x")
    table = frame(bench.records())
    asked = ["linear_top1", "linear_top5", "knn5_top1"]
    assert table["metric"].tolist() == asked * 5
    assert all(math.isnan(value) for value in table["value"])
    one = table[table["metric"] == "linear_top1"]
    assert one["status"].tolist() == ["pending", "failed", "no data", "interrupted", "skipped"]
    assert one["reason"].tolist() == [
        None, "RuntimeError: singular", "fetch it", None, "512 images are not divisible by 100",
    ]  # fmt: skip


def test_a_running_cell_is_running(bench):
    planned = bench.plan()
    with bench.store.lock(planned.id):
        assert [record.status for record in bench.records()] == ["running"]


def test_a_result_that_is_not_believed_is_pending_with_the_reason(bench):
    result = bench.done({"linear_top1": 1.0})
    path = bench.store.directory(result.id) / "result.json"
    path.write_text(path.read_text()[:100])
    (record,) = bench.records()
    assert (record.status, record.reason) == ("pending", "result.json is truncated or not JSON")


def test_stale_results_are_marked_only_where_code_is_given(bench):
    bench.done({"linear_top1": 1.0})
    assert [record.stale for record in bench.records()] == [None]
    code = Code(shared="s", methods={"w_mse": "other"}, commit=None, dirty=None)
    assert [record.stale for record in bench.records(code)] == ["the code of the method w_mse has changed since"]
    assert frame(bench.records(code))["stale"].tolist() == ["the code of the method w_mse has changed since"]


def test_results_are_found_on_a_machine_without_the_images(bench):
    bench.done({"linear_top1": 91.5})
    bench.plan(seed=1)
    first, second = bench.as_if_without_data()
    assert (first.status, first.result.metrics) == ("done", {"linear_top1": 91.5})
    assert (second.status, second.reason) == ("no data", "cifar10 is not here")


def test_results_on_two_copies_of_the_images_are_not_chosen_from(bench):
    bench.done({"linear_top1": 91.5})
    bench.done({"linear_top1": 80.0}, dataset={"fingerprint": "another"})
    record, _ = bench.as_if_without_data()
    assert (record.status, record.reason) == ("no data", "there are results on 2 different copies of the dataset")


@pytest.mark.parametrize(
    ("evaluation", "names"),
    [
        (EvaluationSpec(), ["linear_top1", "linear_top5", "knn5_top1"]),
        (EvaluationSpec(knn=KnnSpec(k=20), linear=None, lbfgs=LbfgsSpec()), ["knn20_top1", "lbfgs_top1"]),
        (EvaluationSpec(knn=None, linear=None), []),
    ],
)
def test_metrics_asked_for(bench, evaluation, names):
    assert expected_metrics(bench.cell(evaluation=evaluation)) == names


def test_the_frame_survives_csv(bench):
    bench.done({"linear_top1": 91.5}, axes={"d": 2, "lr": 1e-3})
    bench.failed("ValueError", 'two\nlines, with "quotes"', label="B", views=None)
    table = frame(bench.records())
    back = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert len(back) == 4
    assert back["value"].tolist()[0] == 91.5
    assert back["reason"].tolist()[1] == 'ValueError: two\nlines, with "quotes"'
    assert back["axis.lr"].tolist()[0] == 0.001


def test_an_empty_plan_is_an_empty_frame(bench):
    table = frame(bench.records())
    assert len(table) == 0
    assert {"label", "metric", "value", "status"} <= set(table.columns)


def test_no_torch():
    program = "import sys, harness.analysis.markdown, harness.analysis.render; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
