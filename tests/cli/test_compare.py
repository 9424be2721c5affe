"""`harness compare`: directories and commits, Markdown, and the exit codes that a CI reads."""

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.cli.session import open_session
from tests.analysis.conftest import Bench
from tests.conftest import write_suite


@pytest.fixture
def harness(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        result = CliRunner().invoke(cli, ["compare", *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call


def fill(root, *values, **fields):
    bench = Bench(root)
    for seed, value in enumerate(values):
        bench.done({"linear_top1": value, "linear_top5": 99.0}, seed=seed, **fields)
    return root


def git(*arguments):
    names = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *names, *arguments], check=True, capture_output=True)


def test_two_directories(harness, tmp_path):
    fill(tmp_path / "a", 90.0, 91.0)
    fill(tmp_path / "b", 92.0, 93.5)
    code, out = harness("a", "b", "--output", "found.md")
    assert code == 0
    assert "+2.25" in out
    assert "linear top-5" not in out
    written = (tmp_path / "found.md").read_text()
    assert "- A: a (2 results)" in written
    assert harness("a", "b/cells", "--output", "again.md")[0] == 0  # the store itself will do


def test_a_drop_is_told_by_the_exit_code(harness, tmp_path):
    fill(tmp_path / "a", 90.0, 90.0, 90.0)
    fill(tmp_path / "b", 80.0, 81.0, 79.0)
    code, out = harness("a", "b", "--fail-on-drop", "5")
    assert code == 1
    assert "w_mse on cifar10: linear top-1 % fell by more than 5 points" in out
    assert harness("a", "b", "--fail-on-drop", "9")[0] == 0  # the interval reaches -7.5
    assert harness("b", "a", "--fail-on-drop", "0")[0] == 0
    assert harness("a", "b")[0] == 0


def test_one_seed_is_not_judged_and_a_new_failure_is(harness, tmp_path):
    fill(tmp_path / "a", 90.0)
    fill(tmp_path / "b", 10.0)
    code, out = harness("a", "b", "--fail-on-drop", "1")
    assert (code, "differences of one seed or none, which are not judged: 1" in out) == (0, True)
    Bench(tmp_path / "c").failed("RuntimeError", "broken")
    code, out = harness("a", "c", "--fail-on-drop", "1")
    assert (code, "cells that were done in A and failed in B: 1" in out) == (1, True)


def test_two_commits_of_a_results_directory(harness, tmp_path):
    git("init", "-q")
    fill(tmp_path / "results", 90.0, 91.0)
    git("add", "results")
    git("commit", "-qm", "first")
    shutil.rmtree(tmp_path / "results")
    fill(tmp_path / "results", 95.0, 96.0)
    (tmp_path / "results" / "cells" / "notes.txt").write_text("no result")
    git("add", "results")
    git("commit", "-qm", "second")
    code, out = harness("HEAD~1", "HEAD")
    assert code == 0
    assert "+5.00" in out
    assert "A: HEAD~1, commit " in out
    shutil.rmtree(tmp_path / "results")  # committed is enough
    assert harness("HEAD~1", "HEAD")[0] == 0


def test_neither_directory_nor_commit(harness, tmp_path):
    fill(tmp_path / "a", 90.0)
    code, out = harness("a", "nowhere")
    assert code == 2
    assert "nowhere: there is no such directory" in out
    (tmp_path / "suite").mkdir()
    code, out = harness("a", "suite")
    assert (code, "suite holds no `cells`: give the directory that `harness run` fills" in out) == (2, True)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "nothing")
    code, out = harness("a", "nowhere")
    assert (code, "and no such commit in" in out) == (2, True)
    code, out = harness("a", "HEAD")
    assert (code, "has no results/cells; results must be committed to be compared" in out) == (2, True)
    assert harness("a", "--help-me")[0] == 2


def test_a_metric_that_nobody_has(harness, tmp_path):
    fill(tmp_path / "a", 90.0)
    code, out = harness("a", "a", "--metric", "knn5_top1")
    assert code == 2
    assert "no pair of cells has the metric `knn5_top1` on both sides; they have: linear_top1, linear_top5" in out


def test_results_that_cannot_be_read_are_counted(harness, tmp_path):
    fill(tmp_path / "a", 90.0, 91.0)
    first, second = sorted((tmp_path / "a" / "cells").glob("*/pretraining.json"))
    first.write_text(json.dumps(json.loads(first.read_text()) | {"status": "failed"}))
    code, out = harness("a", "a")
    assert code == 0
    assert "1 results; 1 not read: pretraining.json is damaged" in " ".join(out.split())
    answer = next((second.parent / "evaluations").iterdir())
    answer.write_text(answer.read_text()[:100])
    code, out = harness("a", "a")
    assert code == 0
    assert "1 results; 2 not read: pretraining.json is damaged" in " ".join(out.split())


def test_results_of_the_first_version_are_counted(harness, tmp_path):
    fill(tmp_path / "a", 90.0)
    old = tmp_path / "a" / "cells" / ("0" * 20)
    old.mkdir()
    (old / "result.json").write_text("{}")
    code, out = harness("a", "a")
    assert code == 0
    assert "1 results; 1 of the first version, which are not read any more" in " ".join(out.split())


def test_a_suite_names_rows_and_evaluations_and_leaves_the_rest_out(harness, tmp_path, monkeypatch, data_dir):
    monkeypatch.setenv("HARNESS_DATA", str(data_dir))
    more = """
        defaults: {evaluations: {knn5: null, fitted: {probe: linear, epochs: 7}}}
    """
    suite = write_suite(tmp_path, more, "suite.yaml")
    planned = open_session(suite, None, (), tmp_path / "a", str(data_dir)).expansion.planned
    for side, value in (("a", 50.0), ("b", 60.0)):
        bench = Bench(tmp_path / side)
        for placed in planned:
            bench.keep(placed.cell, {"linear_top1": value, "fitted_top1": value + placed.cell.seed})
        bench.done({"linear_top1": 1.0}, method="byol", settings={})  # of no row of the suite
    code, out = harness("a", "b", "--suite", suite, "--metric", "fitted_top1")
    assert code == 0
    assert "untrained" in out
    assert "w_mse" in out
    assert "byol" not in out
    assert "linear top-1 %, A" not in " ".join(out.split())
    assert "linear top-1 (fitted) %, A" in " ".join(out.split())
    assert "+10.00" in out
