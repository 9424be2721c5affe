"""`harness run --workers N` as processes: stopped from the terminal, by a signal, or with its parent killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.store.store import Store
from tests.cli.test_processes import finish, start, wait_for_checkpoint
from tests.conftest import write_suite

ENDLESS = "epochs=100000", "seeds=1"


def begin(directory, data_dir):
    """A command with one cell that would take hours, in a session of its own, and its first checkpoint."""
    suite = write_suite(directory, "methods: {untrained: null}\n", "long.yaml")
    process = start(
        suite, data_dir, "--workers", "2", "--threads", "1", "--checkpoint-seconds", "0", settings=ENDLESS, session=True
    )
    return process, wait_for_checkpoint(directory, process)


def wait_until(condition):
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("to", "number"), [("everybody", signal.SIGINT), ("the parent", signal.SIGTERM)])
def test_interrupted_every_worker_stops_at_a_checkpoint(tmp_path, data_dir, to, number):
    process, checkpoint = begin(tmp_path, data_dir)
    if to == "everybody":  # as the terminal does on Ctrl-C
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    code, out, err = finish(process)
    assert code == 130, err
    assert err.count("stopping at a checkpoint") == 1
    assert "interrupted with 1 tasks left; go on with: harness run" in err
    assert "Traceback" not in err
    assert out.count("starting worker process") == 1  # no more than there are cells
    assert "starting worker process 1 of 1\n" in out
    assert "w_mse on digits, seed 0: interrupted" in out
    assert Store(tmp_path / "results" / "cells").state(checkpoint.parent.name) == "interrupted"


def test_a_killed_command_leaves_no_worker_training(tmp_path, data_dir):
    process, checkpoint = begin(tmp_path, data_dir)
    store = Store(tmp_path / "results" / "cells")
    assert store.state(checkpoint.parent.name) == "running"
    process.kill()
    process.wait()
    wait_until(lambda: store.state(checkpoint.parent.name) == "interrupted")  # its lock is free again
    process.stdout.read()  # to its end, which comes when no process has it open any more
    process.stderr.close()


def test_a_number_of_workers_below_one_is_refused(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(write_suite(tmp_path)), "--workers", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Invalid value for '--workers': 0 is not in the range x>=1" in done.stderr
