"""Curves as the page draws them: the final evaluation as the last point, thinned, rounded, common to all seeds."""

import pytest

from harness.analysis.curves import recorded_measures, rounded, thin, training_curve
from harness.analysis.row_results import group_by_row, measured_metrics, monitored_metrics
from tests.analysis.conftest import KNN5, LINEAR, Bench
from tests.analysis.report.conftest import CONTROLS, run


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def row(bench):
    (found,) = group_by_row(bench.records(), CONTROLS)
    return found


def test_the_final_evaluation_is_the_last_point(bench):
    run(bench, "w", 0, [40.0, 50.0, 61.0], seconds=15.0)
    run(bench, "w", 1, [42.0, 52.0, 63.0], seconds=30.0)
    assert training_curve(row(bench), "knn5_top1") == {
        "epoch": [1, 2, 3],
        "views": [100, 200, 300],
        "seconds": [7.5, 15.0, 22.5],
        "seeds": [0, 1],
        "values": [[40.0, 50.0, 61.0], [42.0, 52.0, 63.0]],
    }


def test_diagnostics_at_the_end_join_those_on_the_way(bench):
    run(bench, "w", 0, [40.0, 50.0, 61.0])
    assert training_curve(row(bench), "h_std")["values"] == [[0.5, 0.5, 0.6]]
    assert training_curve(row(bench), "h_rankme")["values"] == [[3.0]]


def test_what_was_read_once_is_no_curve_and_accuracies_come_first(bench):
    run(bench, "w", 0, [40.0, 50.0, 61.0])
    assert recorded_measures([row(bench)]) == ["knn5_top1", "loss", "h_std"]
    assert training_curve(row(bench), "nothing") is None


def test_the_last_reading_is_of_the_evaluation_that_asks_the_same_whatever_it_is_called(bench):
    named = {"linear": LINEAR, "neighbours": KNN5}
    run(bench, "w", 0, [40.0, 50.0, 61.0], evaluations=named, metrics={"neighbours_top1": 66.0})
    assert training_curve(row(bench), "knn5_top1")["values"] == [[40.0, 50.0, 66.0]]


def test_an_evaluation_of_a_monitors_name_that_asks_something_else_is_no_reading_of_it(bench):
    other = {"linear": LINEAR, "knn5": KNN5 | {"label_fraction": 0.1}}
    run(bench, "w", 0, [40.0, 50.0, 61.0], evaluations=other)
    assert training_curve(row(bench), "knn5_top1")["values"] == [[40.0, 50.0]]


def test_only_monitored_metrics_are_monitored(bench):
    run(bench, "w", 0, [40.0, 50.0, 61.0])
    run(bench, "none", 0, [30.0], method="untrained", settings={})
    found = group_by_row(bench.records(), CONTROLS)
    assert (monitored_metrics(found), monitored_metrics(found[1:])) == (["knn5_top1"], [])
    assert measured_metrics(found) == ["linear_top1", "knn5_top1"]


def test_only_epochs_that_every_seed_has(bench):
    run(bench, "w", 0, [40.0, 50.0, 61.0])
    run(bench, "w", 1, [42.0, 63.0], epochs=3)
    assert training_curve(row(bench), "loss")["epoch"] == [1, 2]


def test_seconds_unless_a_run_lacks_them(bench):
    result = run(bench, "w", 0, [40.0, 50.0, 61.0])
    stored = bench.store.read_curve(result.id).record
    points = tuple(point.model_copy(update={"seconds": None}) for point in stored.points)
    bench.store.save_curve(stored.model_copy(update={"points": points}))
    assert training_curve(row(bench), "loss")["seconds"] == [None, None, None]


def test_thinning_keeps_both_ends():
    kept = thin(list(range(1, 1001)), 120)
    assert (kept[0], kept[-1], len(kept)) == (1, 1000, 120)
    assert thin([1, 2], 120) == [1, 2]


def test_rounding():
    assert [rounded(v) for v in (1.23456789, 123456.7, float("nan"), None, True)] == [
        1.2346,
        123460.0,
        None,
        None,
        None,
    ]
