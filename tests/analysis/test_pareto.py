"""Pareto fronts by hand, and when a row reached an accuracy."""

import itertools
import random

import pytest

from harness.analysis.pareto import accuracy_thresholds, pareto_front, pareto_rows, time_to_accuracy
from harness.analysis.row_results import group_by_row
from tests.analysis.conftest import Bench
from tests.analysis.report.conftest import CONTROLS, run


def test_a_front_by_hand():
    points = [(1.0, 50.0), (2.0, 49.0), (2.0, 60.0), (3.0, 60.0), (4.0, 61.0), (0.5, 10.0)]
    assert pareto_front(points) == [5, 0, 2, 4]
    assert pareto_front([]) == []


def test_equal_points_are_both_on_the_front():
    assert pareto_front([(1.0, 5.0), (1.0, 5.0), (1.0, 4.0)]) == [0, 1]


def test_a_front_is_what_nothing_dominates():
    draw = random.Random(0)
    points = [(float(draw.randrange(8)), float(draw.randrange(8))) for _ in range(40)]

    def dominated(one):
        return any(o[0] <= one[0] and o[1] >= one[1] and o != one for o in points)

    assert sorted(pareto_front(points)) == [i for i, point in enumerate(points) if not dominated(point)]
    costs = [points[i][0] for i in pareto_front(points)]
    assert all(a <= b for a, b in itertools.pairwise(costs))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def rows(bench):
    return group_by_row(bench.records(), CONTROLS)


def test_controls_and_rows_with_a_seed_missing_do_not_compete(bench):
    run(bench, "dear", 0, [1.0, 2.0, 60.0], settings={"k": 0}, flops=2000)
    run(bench, "cheap", 0, [1.0, 2.0, 50.0], settings={"k": 1}, flops=1000)
    run(bench, "labels", 0, [1.0, 2.0, 90.0], method="untrained", settings={}, flops=10)
    run(bench, "half", 0, [1.0, 2.0, 99.0], settings={"k": 2}, flops=1)
    bench.plan(label="half", seed=1, settings={"k": 2}, axes={"seed": 1})
    assert pareto_rows(rows(bench), "train_flops", "linear_top1") == [1, 0]


def test_seconds_have_a_front_for_each_machine_and_flops_have_one(bench):
    gpu = {"device": "cuda: big"}
    run(bench, "slow", 0, [1.0, 2.0, 50.0], settings={"k": 0}, seconds=90.0, flops=10)
    run(bench, "quick", 0, [1.0, 2.0, 60.0], settings={"k": 1}, seconds=1.0, flops=5, provenance=gpu)
    assert pareto_rows(rows(bench), "train_seconds", "linear_top1") == [0, 1]
    assert pareto_rows(rows(bench), "train_flops", "linear_top1") == [1]


def test_seeds_on_different_machines_have_no_common_seconds(bench):
    run(bench, "mixed", 0, [1.0, 2.0, 50.0])
    run(bench, "mixed", 1, [1.0, 2.0, 50.0], provenance={"host": "there"})
    assert pareto_rows(rows(bench), "train_seconds", "linear_top1") == []
    assert time_to_accuracy(rows(bench)[0], "knn5_top1", 2.0).seconds is None


def test_when_an_accuracy_was_reached(bench):
    # ten images a batch, two views, five steps an epoch: a hundred views an epoch; five seconds an epoch
    run(bench, "w", 0, [40.0, 60.0, 70.0], seconds=15.0)
    run(bench, "w", 1, [55.0, 50.0, 65.0], seconds=15.0)
    (row,) = rows(bench)
    found = time_to_accuracy(row, "knn5_top1", 55.0)
    assert (found.runs, found.of, found.epochs, found.views, found.seconds) == (2, 2, 1.5, 150.0, 7.5)
    late = time_to_accuracy(row, "knn5_top1", 70.0)  # the final evaluation counts as the last reading
    assert (late.runs, late.of, late.views) == (1, 2, None)
    assert time_to_accuracy(row, "knn5_top1", 99.0).runs == 0


def test_thresholds_are_whole_accuracies_within_reach(bench):
    run(bench, "w", 0, [40.2, 60.0, 69.7])
    run(bench, "labels", 0, [90.0, 95.0, 99.0], method="untrained", settings={})
    assert accuracy_thresholds(rows(bench), "knn5_top1") == [41.0, 50.0, 60.0, 69.0]
    assert accuracy_thresholds(rows(bench), "linear_top1") == []
