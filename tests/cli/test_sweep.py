"""`harness sweep` from end to end on digits: killed, interrupted, continued, looked at, and its winners run."""

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.store.store import Store
from tests.conftest import write_suite

SWEEP = """
methods: {untrained: null}
sweep:
  space:
    lr: {low: 1e-4, high: 1e-1, log: true}
    sub_batch_size: {choices: [8, 16, 32, 48], divides: batch_size}
  trials: 3
  batch: 2
  final: {seeds: 1}
"""


@pytest.fixture
def suite(tmp_path):
    return write_suite(tmp_path, SWEEP, "search.yaml")


def start(suite, data_dir, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "sweep", str(suite), "--results", "results", *arguments],
        cwd=suite.parent,
        env=os.environ | {"HARNESS_DATA": str(data_dir), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process):
    deadline = time.monotonic() + 250
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.timeout(900)  # five processes' worth of imports, on whatever else the machine does
def test_killed_interrupted_and_continued_it_is_the_same_sweep(harness, suite, tmp_path, data_dir):
    cells = tmp_path / "results" / "cells"
    process = start(suite, data_dir)
    wait_for(lambda: list(cells.glob("*/pretraining.json")), process)
    process.kill()
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in cells.glob("*/pretraining.json")}

    process = start(suite, data_dir, "--resume")
    wait_for(lambda: len(list(cells.glob("*/pretraining.json"))) > len(done), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=280)
    if process.returncode == 130:  # else it had ended just before
        assert "interrupted, no trial is lost; go on with: harness sweep" in err

    code, out = harness("sweep", suite, "--results", "results", "--threads", 1)
    assert code == 0, out
    assert "run the winners with: harness run results/search/best.yaml" in out
    assert "w_mse on digits: 3 done, best" in out
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())  # none was trained again
    assert len(list(cells.glob("*/pretraining.json"))) == 3
    assert not list(cells.glob("*/encoder.safetensors"))
    killed = (tmp_path / "results" / "search" / "trials.csv").read_text()

    code, _ = harness("sweep", suite, "--results", "whole", "--threads", 1)
    assert code == 0
    whole = (tmp_path / "whole" / "search" / "trials.csv").read_text()

    def seconds_aside(text):
        return [line.rpartition(",")[0] for line in text.splitlines()]

    assert seconds_aside(killed) == seconds_aside(whole)

    code, out = harness("status", suite, "--results", "results")
    assert code == 0
    assert out.count(" trial=") == 3
    code, out = harness("table", suite, "--results", "results")
    assert code == 0
    assert "Trials of the sweep, scored on the validation split" in out
    trial = killed.splitlines()[1].split(",")[-3]
    code, out = harness("show", trial, "--results", "results")
    assert (code, "digits, validation" in out, "digits, test" in out) == (0, True, False)

    code, out = harness("report", suite, "--results", "results")
    assert code == 0, out
    page = (tmp_path / "results" / "search" / "report.html").read_text()
    charts = list((tmp_path / "results" / "search" / "search").glob("*.vl.json"))
    assert page.count('id="chart-search-') == len(charts) == 3  # too few for importances
    assert "# The best settings that `harness sweep` found" in page

    code, out = harness("run", "results/search/best.yaml", "--results", "results")
    assert code == 0, out
    store = Store(cells)
    final = [
        record.spec
        for record in store.pretrainings()
        if {store.read_evaluation(record.id, e).record.spec.split for e in store.evaluation_ids(record.id)} == {"test"}
    ]
    assert [(spec.method, spec.seed, spec.source.validation_fraction) for spec in final] == [("w_mse", 1, 0.0)]
    assert [path.parent.name for path in cells.glob("*/encoder.safetensors")] == [final[0].id]


def test_the_time_budget_ends_it_and_more_trials_go_on(harness, suite):
    code, out = harness("sweep", suite, "--time-budget", "0.01s")
    assert code == 0
    assert "the time is up, no trial is lost; go on with: " in out
    code, out = harness("sweep", suite, "--trials", 1, "--time-budget", "10m")
    assert code == 0
    assert "w_mse on digits: 1 done" in out


def test_encoders_of_trials_are_kept_where_that_is_asked_for(harness, suite, tmp_path):
    cells = tmp_path / "results" / "cells"
    assert harness("sweep", suite, "--trials", 1)[0] == 0
    assert [path.name for path in cells.glob("*/*.safetensors")] == []
    assert harness("sweep", suite, "--trials", 2, "--keep-encoders")[0] == 0
    assert [path.name for path in cells.glob("*/*.safetensors")] == ["encoder.safetensors"]  # of the second trial


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "--resume: there is no sweep of search in results/search/study.journal"),
        (["--time-budget", "soon"], "soon is no duration: write 90s, 30m, 8h or 2d"),
        (["--storage", "postgresql://me:secret@localhost:1/x"], "--storage postgresql://me:***@localhost:1/x: "),
        (["--device", "quantum"], "no such device"),
        (["--set", "lr=1e-3"], "search.yaml:6: sweep.space.lr: `lr` is searched, so --set cannot fix it"),
    ],
)
def test_mistakes_exit_with_2(harness, suite, arguments, message):
    code, out = harness("sweep", suite, *arguments)
    assert code == 2, out
    assert message in out
    assert "Traceback" not in out
    assert "secret" not in out


def test_a_suite_without_a_sweep_and_a_changed_space(harness, suite, tmp_path):
    code, out = harness("sweep", tmp_path / "toy.yaml")
    assert (code, "there is nothing to sweep" in out) == (2, True)
    assert harness("sweep", suite, "--trials", 1)[0] == 0
    journal = (tmp_path / "results" / "search" / "study.journal").read_bytes()
    suite.write_text(suite.read_text().replace("high: 1e-1", "high: 1"))
    code, out = harness("sweep", suite, "--trials", 1)
    assert code == 2
    assert "was begun as another search: space.lr was" in out
    assert (tmp_path / "results" / "search" / "study.journal").read_bytes() == journal


def test_rows_without_their_data_are_said(harness, tmp_path):
    suite = write_suite(tmp_path, SWEEP + "datasets: {digits: null, cifar10: {}}\n", "cifar.yaml")
    code, out = harness("sweep", suite)
    assert code == 1
    assert "rows without their data were not swept" in out
    assert "harness data prepare cifar10" in out


def test_two_workers(suite, data_dir, tmp_path):
    process = start(suite, data_dir, "--workers", "2", "--trials", "2", "--threads", "1")
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    assert "w_mse on digits: 2 done" in out
