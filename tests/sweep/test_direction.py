"""A sweep for a metric of which less is better finds the lowest, and its samplers learn which way is up."""

from pathlib import Path

import numpy as np
import pytest

from harness.registry import use
from harness.sweep import sampling
from harness.sweep.plots import colour_limits
from harness.sweep.progress import describe
from tests.evaluation.probes import own
from tests.sweep import fakes
from tests.sweep.fakes import SWEEP, Bench

LOSS = SWEEP.replace("sweep:", "defaults: {evaluations: {fit: {probe: log_loss}}}\nsweep:\n  metric: fit_nll")


@pytest.fixture(autouse=True)
def losing(monkeypatch):
    """The user's probe is installed, and gives the accuracy with its sign turned."""
    given = fakes._answer

    def answer(asked, value, done):
        found = given(asked, value, done)
        return found.model_copy(update={"metrics": {"nll": -value}}) if asked.probe == "log_loss" else found

    use([Path(own.__file__)])
    monkeypatch.setattr(fakes, "_answer", answer)
    yield
    use([])


@pytest.mark.parametrize("more", ["  trials: 14", "  trials: 14\n  pruner: median", "  trials: 9\n  sampler: cmaes"])
def test_the_same_points_are_tried_as_for_the_accuracy_and_the_lowest_wins(tmp_path, more):
    (most,) = Bench(tmp_path / "most", SWEEP.replace("  trials: 10", more)).run()
    (least,) = Bench(tmp_path / "least", LOSS.replace("  trials: 10", more)).run()
    assert [(t.values, t.outcome) for t in least.trials()] == [(t.values, t.outcome) for t in most.trials()]
    values = [trial.value for trial in least.trials() if trial.value is not None]
    assert least.result().best.value == least.study.best_value == min(values)
    assert most.result().best.index == least.result().best.index
    assert f"best {min(values):.4g} nats (" in describe(least.result())


def test_what_samplers_see_turned_is_stored_as_it_is(tmp_path):
    (study,) = Bench(tmp_path, LOSS).run(trials=4)
    first = study.trials()[0]
    assert sampling.as_samplers_see_it(first.frozen, study.row).value == -first.value
    assert first.frozen.value == first.value < 0


def test_colours_are_for_the_better_part():
    assert colour_limits(-np.arange(11.0)) == (-9.0, 0.0)
