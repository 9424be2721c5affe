"""What is to do is priced by like runs, stage by stage; what is done costs nothing."""

import pytest

from harness.analysis.estimate import Estimator, estimated_seconds, training_images
from tests.analysis.conftest import EVALUATIONS, KNN5, LINEAR, MONITORS

A_VIEW = 10.0 / 51_200  # as `bench.done` has it; an evaluation takes 0.5 s, a description 1.0 s
VIEWS = 50_000 // 512 * 512 * 2 * 1000  # whole batches of two views, 1000 epochs


def _seconds(bench):
    """Of the last planned cell."""
    record = bench.records()[-1]
    return Estimator.of(bench.store).seconds(record, training_images(record.cell, bench.facts))


def test_a_new_cell_takes_training_by_the_view_description_and_every_evaluation(bench):
    bench.done({}, seed=0)
    bench.plan(seed=1)
    assert _seconds(bench) == pytest.approx(A_VIEW * VIEWS + 1.0 + 2 * 0.5)
    bench.plan(seed=1, epochs=10, dataset={"train_images": 5_000, "validation_fraction": 0.1})
    assert Estimator.of(bench.store).seconds(bench.records()[-1], 5_000) is None  # no probe on so few images has run
    bench.plan(seed=1, epochs=10, evaluations={})
    assert _seconds(bench) == pytest.approx(A_VIEW * VIEWS / 100 + 1.0)


def test_evaluations_alone_cost_no_training(bench):
    bench.done({}, seed=0)
    bench.done({}, seed=1, to_do=["knn5"])
    assert _seconds(bench) == 0.5
    bench.done({}, seed=2, failing={"linear": "the loss is not finite", "knn5": "no"})
    assert _seconds(bench) == 1.0


def test_what_is_done_costs_nothing(bench):
    bench.done({})
    assert _seconds(bench) == 0.0


def test_nothing_is_said_where_one_stage_has_nothing_like_it(bench):
    bench.done({}, seed=0, evaluations={"linear": LINEAR})
    bench.done({}, seed=1, evaluations=EVALUATIONS, to_do=["knn5"])
    assert _seconds(bench) is None
    bench.plan(seed=2, backbone={"width": 8}, evaluations={"linear": LINEAR})
    assert _seconds(bench) is None
    bench.plan(seed=2, dataset={"name": "stl10"}, evaluations={})
    assert _seconds(bench) is None


def test_an_evaluation_that_failed_prices_none(bench):
    bench.done({}, seed=0, failing={"knn5": "no"})
    bench.done({}, seed=1, to_do=["knn5"])
    assert _seconds(bench) is None


def test_the_most_alike_counts_first(bench):
    bench.done({}, seed=0, seconds=10.0, method="byol", settings={}, evaluations={})
    bench.plan(seed=0, evaluations={})
    assert _seconds(bench) == pytest.approx(A_VIEW * VIEWS + 1.0)  # another method on the same encoder
    bench.done({}, seed=1, seconds=20.0, evaluations={})
    bench.plan(seed=2, evaluations={})
    assert _seconds(bench) == pytest.approx(2 * A_VIEW * VIEWS + 1.0)


def test_an_untrained_encoder_is_only_evaluated(bench):
    bench.done({}, method="untrained", settings={}, seed=0)
    bench.plan(method="untrained", settings={}, seed=1)
    assert _seconds(bench) == 1.0 + 2 * 0.5


def test_a_probe_of_other_settings_is_alike_where_no_other_has_run(bench):
    bench.done({}, seed=0, evaluations={"knn5": KNN5})
    bench.done({}, seed=1, evaluations={"knn20": {"probe": "knn", "k": 20}}, to_do=["knn20"])
    assert _seconds(bench) == 0.5


def test_stages_that_cells_share_are_counted_once(bench):
    bench.done({}, seed=0)
    bench.planned.clear()
    first = bench.plan(label="A", seed=1, evaluations={"linear": LINEAR})
    second = bench.plan(label="B", seed=1)
    found = estimated_seconds(bench.records(), bench.store, bench.facts)
    assert found[first.id] == pytest.approx(A_VIEW * VIEWS + 1.0 + 0.5)
    assert found[second.id] == 0.5  # knn5: the rest is done with the first


def test_monitors_cost_by_the_epoch(bench):
    bench.done({}, seed=0, epochs=100, monitors=MONITORS, monitor_seconds=30.0)
    bench.plan(seed=1, epochs=200, monitors=MONITORS)
    training = A_VIEW * VIEWS * 200 / 1000
    assert _seconds(bench) == pytest.approx(training + 2 * 30.0 + 1.0 + 2 * 0.5)
    bench.plan(seed=1, epochs=200)
    assert _seconds(bench) == pytest.approx(training + 1.0 + 2 * 0.5)
