"""Pruners: whom a trial is compared with, and what they say."""

import pytest
from optuna.trial import TrialState, create_trial

from harness.store.result import CurvePoint
from harness.suite.cell import KnnSpec
from harness.suite.search import SweepSpec
from harness.sweep.pruning import Judge, readings
from tests.sweep.fakes import SWEEP, Bench


@pytest.fixture
def cell(tmp_path):
    cell = Bench(tmp_path, SWEEP).rows()[0].trial({})
    evaluation = cell.evaluation.model_copy(update={"knn": KnnSpec(k=5, every_epochs=1)})
    return cell.model_copy(update={"epochs": 9, "evaluation": evaluation})


def ended(curve, state=TrialState.COMPLETE):
    return create_trial(state=state, value=curve[-1], intermediate_values=dict(enumerate(curve, start=1)))


def point(epoch, value):
    return CurvePoint(epoch=epoch, step=epoch, values={"knn5_top1": value} if value is not None else {"loss": 1.0})


def judge(cell, pruner, before, index=None):
    return Judge(SweepSpec(pruner=pruner), cell, "study", len(before) if index is None else index, before)


def test_the_median_of_the_trials_before(cell):
    before = [ended([value, value + 10]) for value in (10, 20, 30, 40)]
    assert judge(cell, "median", before)(point(1, 24.9))  # the median at epoch 1 is 25
    assert not judge(cell, "median", before)(point(1, 25.1))


def test_too_few_trials_prune_nothing(cell):
    assert not judge(cell, "median", [ended([50, 60])] * 3)(point(1, 1.0))


def test_trials_that_run_now_are_no_comparison(cell):
    running = create_trial(state=TrialState.RUNNING, intermediate_values={1: 99.0})
    before = [*(ended([10, 20]) for _ in range(4)), running]
    assert not judge(cell, "median", before)(point(1, 11.0))
    later = [*before, *(ended([90, 95]) for _ in range(20))]  # entered after this one: told meanwhile
    assert not judge(cell, "median", later, index=5)(point(1, 11.0))


def test_a_third_goes_on_from_each_rung(cell):
    before = [ended([v, v, v]) for v in (10, 20, 30, 40, 50)]
    # six reach the first rung, of which two go on: those with 50 and 40
    assert judge(cell, "successive_halving", before)(point(1, 39.0))
    assert not judge(cell, "successive_halving", before)(point(1, 41.0))


def test_between_rungs_nothing_is_decided(cell):
    before = [ended([v, v, v]) for v in (10, 20, 30, 40, 50)]
    verdict = judge(cell, "successive_halving", before)
    assert not verdict(point(1, 60.0))
    assert not verdict(point(2, 0.0))  # rungs are at 1, 3 and 9
    assert verdict(point(3, 0.0))


def test_a_point_without_an_accuracy_decides_nothing(cell):
    before = [ended([50, 60]) for _ in range(5)]
    assert not judge(cell, "median", before)(point(1, None))


def test_hyperband_prunes_and_always_alike(cell):
    before = [ended([v] * 9) for v in range(10, 40)]
    verdicts = [judge(cell, "hyperband", before[:n])(point(1, 0.0)) for n in range(30)]
    assert verdicts == [judge(cell, "hyperband", before[:n])(point(1, 0.0)) for n in range(30)]
    assert 0 < sum(verdicts) < 30  # only one bracket has its first rung at the first epoch


def test_readings_are_the_accuracies_of_the_curve(cell):
    assert readings(cell, [point(1, 3.0), point(2, None), point(3, 4.0)]) == {1: 3.0, 3: 4.0}
