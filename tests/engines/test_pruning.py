"""Pruners: whom a trial is compared with, and what they say."""

import pytest
from optuna.trial import TrialState, create_trial

from harness.engines.pruning import Pruner, PruneRule
from harness.store.records import CurvePoint
from harness.suite.search import SweepSpec
from harness.sweep.pruning import curve_readings, prune_rule
from tests.sweep.fakes import SWEEP, Bench


@pytest.fixture
def cell(tmp_path):
    return Bench(tmp_path, SWEEP + "defaults: {epochs: 9}\n").rows()[0].trial({})


def ended(curve, state=TrialState.COMPLETE):
    return create_trial(state=state, value=curve[-1], intermediate_values=dict(enumerate(curve, start=1)))


def point(epoch, value):
    return CurvePoint(epoch=epoch, step=epoch, values={"knn5_top1": value} if value is not None else {"loss": 1.0})


def decision(cell, pruner, before, index=None):
    """Of the trial after these, by a rule that has travelled as a job's does."""
    rule = prune_rule(SweepSpec(pruner=pruner), cell, "study", len(before) if index is None else index, before)
    return Pruner(PruneRule.model_validate_json(rule.model_dump_json()))


def test_the_median_of_the_trials_before(cell):
    before = [ended([value, value + 10]) for value in (10, 20, 30, 40)]
    assert decision(cell, "median", before)(point(1, 24.9))  # the median at epoch 1 is 25
    assert not decision(cell, "median", before)(point(1, 25.1))


def test_too_few_trials_prune_nothing(cell):
    assert not decision(cell, "median", [ended([50, 60])] * 3)(point(1, 1.0))


def test_trials_that_run_now_are_no_comparison(cell):
    running = create_trial(state=TrialState.RUNNING, intermediate_values={1: 99.0})
    before = [*(ended([10, 20]) for _ in range(4)), running]
    assert not decision(cell, "median", before)(point(1, 11.0))
    later = [*before, *(ended([90, 95]) for _ in range(20))]  # entered after this one: told meanwhile
    assert not decision(cell, "median", later, index=5)(point(1, 11.0))


def test_a_third_goes_on_from_each_rung(cell):
    before = [ended([v, v, v]) for v in (10, 20, 30, 40, 50)]
    # six reach the first rung, of which two go on: those with 50 and 40
    assert decision(cell, "successive_halving", before)(point(1, 39.0))
    assert not decision(cell, "successive_halving", before)(point(1, 41.0))


def test_between_rungs_nothing_is_decided(cell):
    before = [ended([v, v, v]) for v in (10, 20, 30, 40, 50)]
    verdict = decision(cell, "successive_halving", before)
    assert not verdict(point(1, 60.0))
    assert not verdict(point(2, 0.0))  # rungs are at 1, 3 and 9
    assert verdict(point(3, 0.0))


def test_a_point_without_an_accuracy_decides_nothing(cell):
    before = [ended([50, 60]) for _ in range(5)]
    assert not decision(cell, "median", before)(point(1, None))


def test_hyperband_prunes_and_always_alike(cell):
    before = [ended([v] * 9) for v in range(10, 40)]
    verdicts = [decision(cell, "hyperband", before[:n])(point(1, 0.0)) for n in range(30)]
    assert verdicts == [decision(cell, "hyperband", before[:n])(point(1, 0.0)) for n in range(30)]
    assert 0 < sum(verdicts) < 30  # only one bracket has its first rung at the first epoch


def test_readings_are_the_accuracies_of_the_curve(cell):
    assert curve_readings(cell, [point(1, 3.0), point(2, None), point(3, 4.0)]) == {1: 3.0, 3: 4.0}


def test_the_first_knn_monitor_is_read_under_the_name_that_it_has(tmp_path):
    monitors = "{knn5: null, ridge: {probe: linear, every_epochs: 1}, near: {probe: knn, k: 1}, far: {probe: knn}}"
    cell = Bench(tmp_path, SWEEP + f"defaults: {{monitors: {monitors}}}\n").rows()[0].trial({})
    values = {"ridge_top1": 1.0, "near_top1": 2.0, "far_top1": 3.0}
    assert curve_readings(cell, [CurvePoint(epoch=4, step=9, values=values)]) == {4: 2.0}
    before = [create_trial(state=TrialState.COMPLETE, value=9.0, intermediate_values={4: 2.5})] * 4
    assert decision(cell, "median", before)(CurvePoint(epoch=4, step=9, values=values))
    assert curve_readings(cell.model_copy(update={"monitors": {}}), [CurvePoint(epoch=4, step=9, values=values)]) == {}


def test_rungs_are_where_the_monitor_reads(tmp_path):
    more = SWEEP + "defaults: {epochs: 18, monitors: {knn5: {every_epochs: 2}}}\n"
    cell = Bench(tmp_path, more).rows()[0].trial({})
    before = [
        create_trial(state=TrialState.COMPLETE, value=v, intermediate_values={2: v, 4: v, 6: v})
        for v in (10.0, 20.0, 30.0, 40.0, 50.0)
    ]
    verdict = decision(cell, "successive_halving", before)
    assert not verdict(point(2, 60.0))
    assert not verdict(point(4, 0.0))  # rungs are at 2, 6 and 18
    assert verdict(point(6, 0.0))
