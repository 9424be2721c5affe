"""Processes that end without a word: killed after any write, or with nobody left to read what they print."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store.store import Store
from tests.conftest import write_suite
from tests.engines.toy import Command

ONE = "methods: {untrained: null}\naxes: {seeds: 1}\n"
STEPS, STAGES = 6, ["describing", "evaluating linear", "evaluating knn5"]
ROOT = Path(__file__).parents[2]
SECONDS = 250


@pytest.fixture(scope="module")
def moments(tmp_path_factory, data_dir):
    """A run that writes a checkpoint a step, and what is on the disk after each write of a record or an encoder."""
    directory = tmp_path_factory.mktemp("moments")
    command = Command(write_suite(directory, ONE, "one.yaml"), data_dir, directory / "cells")
    task, taken, replace = command.task(), {}, os.replace

    def replaced(source, target):
        replace(source, target)
        name = Path(target).name
        if Path(target).is_relative_to(command.store.root) and name not in ("progress.json", "spec.json"):
            taken[name] = directory / f"{len(taken)} {name}"
            shutil.rmtree(taken[name], ignore_errors=True)
            shutil.copytree(command.store.root, taken[name])

    os.replace = replaced
    try:
        command.run(checkpoint_seconds=0.0)
    finally:
        os.replace = replace
    return command, task, taken


def names_of(task):
    """What a file of the store is called in a test -> its name."""
    linear, knn5 = task.cells[0].evaluations.values()
    (monitor,) = task.monitors.values()
    return {
        "a checkpoint": "checkpoint.pt",
        "the encoder": "encoder.safetensors",
        "the heads": "heads.safetensors",
        "the training's curve": "training.json",
        "the monitor's curve": f"{monitor.id}.json",
        "the record": "pretraining.json",
        "the spectra": "spectra.json",
        "the description": "description.json",
        "hits": f"hits-{linear.id}.json",
        "an evaluation": f"{linear.id}.json",
        "hits of the last": f"hits-{knn5.id}.json",
        "the last evaluation": f"{knn5.id}.json",
    }


@pytest.mark.parametrize(
    ("last", "left"),
    [
        ("a checkpoint", None),
        ("the encoder", None),
        ("the heads", None),
        ("the training's curve", None),
        ("the monitor's curve", None),
        ("the record", STAGES),
        ("the spectra", STAGES),
        ("the description", STAGES[1:]),
        ("hits", STAGES[1:]),
        ("an evaluation", STAGES[2:]),
        ("hits of the last", STAGES[2:]),
        ("the last evaluation", []),
    ],
)
def test_killed_after_any_write_the_next_run_does_only_what_is_missing(moments, tmp_path, last, left):
    whole, task, taken = moments
    shutil.copytree(taken[names_of(task)[last]], tmp_path / "cells")
    command = Command.__new__(Command)
    command.__dict__ = whole.__dict__ | {"store": Store(tmp_path / "cells")}
    before = command.files(task)
    notes = command.run()
    if left is None:  # from the last step, or, where its checkpoint was not yet written, the one before
        assert notes.steps <= 1
        assert notes.stages == STAGES
    else:
        assert notes.did == (0, left)
    assert notes.result[task.id].state == "done"
    after = command.files(task)
    records = {name for name in before if name.startswith(("evaluations/", "pretraining", "description"))}
    assert all(after[name] == before[name] for name in records)
    assert set(after) - {"progress.json"} == set(whole.files(task))
    assert command.encoder(task) == whole.encoder(task)
    assert command.result(task).metrics == whole.result(task).metrics
    assert command.result(task).sample == whole.result(task).sample
    assert [p.values for p in command.result(task).curves] == [p.values for p in whole.result(task).curves]


KILLS_ITSELF = """
import os, signal, sys
from pathlib import Path
import torch
from harness.store.store import Store
from tests.engines.toy import Command
save = Store.save_pretraining

def save_and_die(self, record):
    save(self, record)
    os.kill(os.getpid(), signal.SIGKILL)

Store.save_pretraining = save_and_die
torch.set_num_threads(1)
Command(*map(Path, sys.argv[1:])).run()
"""


def test_a_real_kill_leaves_the_encoder_and_no_lock(fresh, original, tmp_path, data_dir):
    command = fresh(more=ONE)
    arguments = [sys.executable, "-c", KILLS_ITSELF, tmp_path / "more.yaml", data_dir, tmp_path / "cells"]
    done = subprocess.run(arguments, cwd=ROOT, timeout=SECONDS, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    task = command.task()
    assert command.store.state(task.id) == "done"
    assert (command.store.directory(task.id) / "heads.safetensors").exists()
    assert command.run().did == (0, STAGES)
    assert command.result(task).metrics == original.result(original.task("w_mse")).metrics
    assert command.result(task).diagnostics == original.result(original.task("w_mse")).diagnostics


def test_a_run_goes_on_when_nobody_reads_it_any_more(fresh, tmp_path, data_dir):
    command = fresh(more="axes: {seeds: 1}\n")
    run = f"{sys.executable} -m harness run {tmp_path / 'more.yaml'} --results {tmp_path} --data-dir {data_dir}"
    line = f"set -o pipefail; {run} --device cpu --threads 1 | head -1"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, timeout=SECONDS, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert {command.result(task).status for task in command.tasks} == {"done"}
    assert all(command.result(task).failures == {} for task in command.tasks)
    assert command.run().did == (0, [])
