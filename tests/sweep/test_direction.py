"""A sweep for a metric of which less is better finds the lowest, shows its samplers which way is up, and says its unit."""

import pytest

from harness.evaluation.probes import probes
from harness.sweep import sampling
from harness.sweep.plots import _limits
from harness.sweep.progress import best, standing
from tests.evaluation.probes.own import PROBE
from tests.sweep import fakes
from tests.sweep.fakes import SWEEP, Bench, only, points

LOSS = SWEEP.replace("sweep:", "defaults: {evaluations: {fit: {probe: log_loss}}}\nsweep:\n  metric: fit_nll")


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setitem(probes(), "log_loss", PROBE)


@pytest.fixture
def losing(monkeypatch):
    """Every evaluation gives what is lacking to 100 as a loss."""

    def answer(asked, value, done):
        found = given(asked, value, done)
        return found.model_copy(update={"metrics": {"nll": 100 - value}}) if asked.probe == "log_loss" else found

    given = fakes._answer
    monkeypatch.setattr(fakes, "_answer", answer)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_trials_are_those_of_the_same_search_for_the_most(tmp_path, losing, sampler):
    way = f"  sampler: {sampler}\n  trials: 14"
    most = only(Bench(tmp_path / "most", SWEEP.replace("  trials: 10", way)).run())
    least = only(Bench(tmp_path / "least", LOSS.replace("  trials: 10", way)).run())
    assert points(most)[:4] == points(least)[:4]  # drawn at random
    losses = [trial.value for trial in least.all()]
    assert best(least.all()).value == min(losses)
    assert least.study.best_value == min(losses)
    late = losses[8:]
    assert sum(late) / len(late) < sum(losses[:8]) / 8  # it has looked where losses are low
    assert f"best {min(losses):.4g} nats (" in standing(least.all())


def test_samplers_see_losses_turned_and_accuracies_as_they_are(tmp_path, losing):
    for text, sign in ((SWEEP, 1), (LOSS, -1)):
        study = only(Bench(tmp_path / str(sign), text).run(trials=4))
        (first, *_) = study.all()
        shown = sampling._the_more_the_better(first.frozen, study.row)
        assert shown.value == sign * first.value
        assert (shown is first.frozen) == (sign == 1)
        assert first.frozen.value == first.value


def test_colours_are_for_the_better_part():
    assert _limits(-__import__("numpy").arange(11.0)) == (-9.0, 0.0)
