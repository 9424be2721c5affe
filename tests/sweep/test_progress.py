"""What a sweep shows: a line a study, or a bar a study."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.progress import PlainWatcher, RichWatcher
from harness.sweep.progress import SweepProgress, describe
from tests.sweep.fakes import SWEEP, Bench, FakeEngine


@pytest.fixture
def study(tmp_path):
    bench = Bench(tmp_path, SWEEP)
    too_fast = FakeEngine(bench.store, status=lambda m: "failed" if m.training.optimiser.lr > 0.03 else "done")
    (study,) = bench.run(too_fast)
    return study


def test_the_best_is_the_highest_and_of_equals_the_first(study):
    result, trials = study.result(), [trial for trial in study.trials() if trial.value is not None]
    assert result.best.value == max(trial.value for trial in trials)
    again = replace(trials[0])
    assert replace(result, trials=[trials[0], again]).best is trials[0]
    assert replace(result, trials=[]).best is None


def test_a_study_in_a_line(study):
    trials = study.trials()
    failed = sum(trial.outcome == "failed" for trial in trials)
    leader = study.result().best
    line = describe(study.result())
    assert line.startswith(f"{10 - failed} done, ")
    assert (f"{failed} failed" in line) == bool(failed)
    assert f"best {leader.value:.2f} % (optimiser.lr={leader.values['optimiser.lr']:g}, " in line


def test_what_was_entered_but_not_begun_is_not_running(tmp_path):
    (study,) = Bench(tmp_path, SWEEP).studies()
    study.add_trials([])
    assert describe(study.result()) == ""
    study.claim(study.trials()[0], "someone")
    assert describe(study.result()) == "1 running"


def test_plain_lines_when_a_trial_has_ended(study):
    text = io.StringIO()
    watcher = PlainWatcher(10, text)
    progress = SweepProgress(watcher, [study])
    progress.update(study.result())
    assert text.getvalue() == ""  # nothing new
    progress.update(replace(study.result(), trials=study.trials()[:5]))
    assert "w_mse on digits: 5/10 trials, " in text.getvalue()


def test_a_bar_a_study_in_a_terminal(study):
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    watcher = RichWatcher(10, console)
    SweepProgress(watcher, [study])
    bar = watcher.bars.tasks[-1]
    assert (bar.description, bar.completed, bar.total) == ("w_mse on digits", 10, 10)
    assert "best " in bar.fields["state"]
