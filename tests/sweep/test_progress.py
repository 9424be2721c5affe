"""What a sweep shows: a line a study, or a bar a study."""

import io

import pytest
from rich.console import Console

from harness.progress import PlainWatcher, RichWatcher
from harness.sweep.progress import Board, best, standing
from tests.sweep.fakes import SWEEP, Bench, FakeEngine, only


@pytest.fixture
def study(tmp_path):
    bench = Bench(tmp_path, SWEEP)
    too_fast = FakeEngine(bench.store, status=lambda m: "failed" if m.training.optimiser.lr > 0.03 else "done")
    (study,) = bench.run(too_fast)
    return study


def test_the_best_is_the_highest_and_of_equals_the_first(study):
    trials = [trial for trial in study.all() if trial.value is not None]
    assert best(trials).value == max(trial.value for trial in trials)
    assert best([trials[0], trials[0]]) is trials[0]
    assert best([]) is None


def test_a_study_in_a_line(study):
    trials = study.all()
    failed = sum(trial.state == "failed" for trial in trials)
    leader = best(trials)
    line = standing(trials)
    assert line.startswith(f"{10 - failed} done, ")
    assert (f"{failed} failed" in line) == bool(failed)
    assert f"best {leader.value:.2f} % (optimiser.lr={leader.values['optimiser.lr']:g}, " in line


def test_what_was_entered_but_not_begun_is_not_running(tmp_path):
    (study,) = Bench(tmp_path, SWEEP).studies()
    study.enter([])
    assert standing(study.all()) == ""
    study.claim(study.all()[0], "someone")
    assert standing(study.all()) == "1 running"


def test_plain_lines_when_a_trial_has_ended(study):
    text = io.StringIO()
    watcher = PlainWatcher(10, text)
    board = Board(watcher, [study])
    board.changed(study, study.all())
    assert text.getvalue() == ""  # nothing new
    board.changed(study, study.all()[:5])
    assert "w_mse on digits: 5/10 trials, " in text.getvalue()


def test_a_bar_a_study_in_a_terminal(study):
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    watcher = RichWatcher(10, console)
    Board(watcher, [study])
    bar = watcher.bars.tasks[-1]
    assert (bar.description, bar.completed, bar.total) == ("w_mse on digits", 10, 10)
    assert "best " in bar.fields["state"]


def test_a_claimed_trial_is_shown_as_running(tmp_path):
    (study,) = Bench(tmp_path, SWEEP).studies()
    study.enter([])
    study.claim(study.all()[0], "someone")
    assert [trial.state for trial in only([study])] == ["running"] * 4
