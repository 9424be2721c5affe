"""`harness run` as processes: killed, interrupted, two at once. Each cell runs once, and the numbers are the same."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.store.store import Store
from tests.conftest import write_suite

# one cell of some hundred steps, so that there is time to interrupt it
LONG = "epochs=40", "seeds=1"


def start(suite: Path, data_dir: Path, *arguments: str, settings=LONG, session=False) -> subprocess.Popen:
    sets = [part for setting in settings for part in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(suite), "--results", "results", *sets, *arguments],
        cwd=suite.parent,
        env=os.environ | {"HARNESS_DATA": str(data_dir), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=session,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_for_checkpoint(directory: Path, process: subprocess.Popen) -> Path:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = list((directory / "results" / "cells").glob("*/checkpoint.pt"))
        if found:
            return found[0]
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError("no checkpoint was written")


def metrics(directory: Path) -> dict[str, dict[str, float]]:
    """Evaluation -> its numbers."""
    store = Store(directory / "results" / "cells")
    answers = [store.read_evaluation(id_, e).record for id_ in store.ids() for e in store.evaluation_ids(id_)]
    return {answer.id: answer.metrics for answer in answers if answer is not None}


@pytest.fixture(scope="module")
def only_w_mse():
    return "methods: {untrained: null}\n"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data_dir, only_w_mse):
    directory = tmp_path_factory.mktemp("whole")
    suite = write_suite(directory, only_w_mse, "long.yaml")
    code, out, err = finish(start(suite, data_dir))
    assert code == 0, err
    return metrics(directory), out


def test_plain_lines_and_tables_when_the_output_is_no_terminal(uninterrupted):
    _, out = uninterrupted
    assert "[1/1] w_mse on digits, seed 0: started" in out
    assert re.search(r"\[1/1\] w_mse on digits, seed 0: .*linear_top1 \d+\.\d\d %", out)
    assert "\x1b" not in out
    written = re.search("^written: (.*)$", out, re.MULTILINE)
    assert written
    paths = written[1].split(", ")
    assert {Path(path).name for path in paths} >= {"table.csv", "table.md", "table.tex", "statistics.csv"}
    assert {Path(path).parent.as_posix() for path in paths} == {"results/long"}


def test_killed_at_any_moment_and_run_again_the_numbers_are_the_same(uninterrupted, tmp_path, data_dir, only_w_mse):
    suite = write_suite(tmp_path, only_w_mse, "long.yaml")
    process = start(suite, data_dir, "--checkpoint-seconds", "0")
    wait_for_checkpoint(tmp_path, process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert metrics(tmp_path) == {}  # nothing half done passes for a result
    code, _, err = finish(start(suite, data_dir))
    assert code == 0, err
    assert metrics(tmp_path) == uninterrupted[0]
    assert [record.provenance.resumed for record in Store(tmp_path / "results" / "cells").pretrainings()] == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_at_a_checkpoint_and_says_how_to_go_on(
    number, uninterrupted, tmp_path, data_dir, only_w_mse
):
    suite = write_suite(tmp_path, only_w_mse, "long.yaml")
    process = start(suite, data_dir, "--checkpoint-seconds", "0")
    wait_for_checkpoint(tmp_path, process)
    process.send_signal(number)
    code, out, err = finish(process)
    assert code == 130
    assert "stopping at a checkpoint" in err
    assert f"go on with: harness run {suite}" in err
    assert "w_mse on digits, seed 0: interrupted" in out
    code, _, err = finish(start(suite, data_dir))
    assert code == 0, err
    assert metrics(tmp_path) == uninterrupted[0]


def test_two_at_once_run_each_cell_once(tmp_path, data_dir):
    suite = write_suite(tmp_path)
    both = [start(suite, data_dir, settings=("epochs=6",)) for _ in range(2)]
    outcomes = [finish(process) for process in both]
    assert [code for code, *_ in outcomes] == [0, 0], outcomes
    started = [line for _, out, _ in outcomes for line in re.findall(r"started \((\w+)\)", out)]
    assert len(started) == len(set(started)) == 4
    assert len(metrics(tmp_path)) == 8  # two questions a cell


def test_a_failed_cell_makes_the_exit_code_1_and_the_table_says_so(tmp_path, data_dir):
    suite = write_suite(
        tmp_path, "methods: {untrained: null}\noptimiser: {}\n".replace("optimiser: {}\n", ""), "bad.yaml"
    )
    code, out, err = finish(start(suite, data_dir, settings=("seeds=1", "lr=1e30", "settings.transform.eps=1.0")))
    assert code == 1
    assert "1 failed; `harness show ID` tells why" in err
    assert "FAILED" in out
    assert "failed" in (tmp_path / "results" / "bad" / "table.md").read_text()
