"""Cells through the whole way: each once, failures kept, interruptions resumed exactly, other processes respected."""

import json
from pathlib import Path

import pytest
import torch

from harness.data.datasets import DATASETS
from harness.data.packed import fingerprint
from harness.engines.cell_run import Surroundings
from harness.engines.execution import DeviceError, Execution
from harness.engines.in_process import Task, run
from harness.store.provenance import Code
from harness.store.store import Store
from harness.suite.expand import expand
from harness.suite.suite import load_suite
from methods import catalogue
from tests.conftest import write_suite

BROKEN = '''
"""A method whose loss breaks at its third step."""
from methods.method import MethodEntry
from methods.w_mse import METHOD as W_MSE
from methods.composed import Composed

class Breaks(Composed):
    calls = 0
    def loss(self, views, labels, generator):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("the third step is too much")
        return super().loss(views, labels, generator)

METHOD = MethodEntry(
    name="breaks", summary="breaks", source="this test", settings=W_MSE.settings,
    build=Breaks,
)
'''


class Notes:
    """A watcher that writes down what happens."""

    def __init__(self):
        self.began, self.outcomes, self.readings, self.said, self.already = [], {}, [], [], []

    def settled(self, cell_id):
        self.already.append(cell_id)

    def started(self, cell_id, label):
        self.began.append(cell_id)

    def training(self, cell_id, reading):
        self.readings.append(reading)

    def stage(self, cell_id, what):
        pass

    def ended(self, cell_id, outcome, result):
        self.outcomes[cell_id] = outcome

    def note(self, text):
        self.said.append(text)


class Command:
    """One `harness run`, in this process."""

    def __init__(self, suite: Path, data_dir: Path, store: Path):
        loaded = load_suite(suite)
        self.methods = catalogue(loaded.method_files)
        planned = expand(loaded, self.methods, DATASETS, lambda spec: fingerprint(spec.name, data_dir)).planned
        self.tasks = [Task(item.cell, item.row) for item in planned]
        self.store, self.data_dir = Store(store), data_dir
        self.code = Code.read(loaded.method_files)

    def run(self, should_stop=lambda: False, tasks=None, code=None, wait=None, **choices):
        notes = Notes()
        execution = Execution(self.data_dir, "cpu", checkpoint_seconds=choices.pop("checkpoint_seconds", 120.0))
        around = Surroundings(self.store, code or self.code, execution, notes, should_stop)
        options = choices if wait is None else choices | {"wait": wait}
        notes.result = run(tasks or self.tasks, self.methods, around, **options)
        return notes


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    """The toy suite, run once for the tests that only look."""
    directory = tmp_path_factory.mktemp("finished")
    command = Command(write_suite(directory), data_dir, directory / "cells")
    return command, command.run()


def test_every_cell_is_done_and_measured(finished):
    command, notes = finished
    assert len(command.tasks) == 4
    assert {outcome.state for outcome in notes.result.values()} == {"done"}
    for task in command.tasks:
        result = command.store.result(task.cell.id)
        assert set(result.metrics) == {"linear_top1", "linear_top5", "knn5_top1"}
        assert result.evaluation_images == 360
        assert not (command.store.directory(task.cell.id) / "checkpoint.pt").exists()
        trained = task.cell.method == "w_mse"
        assert result.cost.views_seen == (2 * 64 * 3 * 2 if trained else 0)  # d x batch x steps an epoch x epochs
        assert result.cost.steps == (6 if trained else 0)
        assert [point.epoch for point in result.curves] == ([1, 2] if trained else [])
        assert ("knn5_top1" in result.curves[0].values) if trained else True
        assert result.cost.encoder_flops_per_view > 0
        assert {"h_std", "h_rankme", "collapsed"} <= set(result.diagnostics)
        assert ("v_std" in result.diagnostics) == trained


def test_running_again_runs_nothing(finished):
    command, _ = finished
    again = command.run()
    assert again.began == []
    assert again.already == [task.cell.id for task in command.tasks]
    assert {outcome.state for outcome in again.result.values()} == {"done"}


def test_the_same_cell_under_two_labels_runs_once(finished):
    command, _ = finished
    task = command.tasks[0]
    elsewhere = Command.__new__(Command)
    elsewhere.__dict__ = command.__dict__ | {"store": Store(command.store.root.parent / "other")}
    assert elsewhere.run(tasks=[task, Task(task.cell, "another label")]).began == [task.cell.id]


def test_results_of_older_code_stand_until_asked_to_run_again(finished, tmp_path):
    command, _ = finished
    other = Code("another digest", command.code.methods, None, None)
    assert command.run(code=other).began == []
    rerun = command.run(code=other, rerun_stale=True, tasks=command.tasks[:1])
    assert rerun.began == [command.tasks[0].cell.id]
    assert command.store.result(command.tasks[0].cell.id).provenance.shared_digest == "another digest"


def test_interrupted_after_any_step_and_resumed_gives_the_same_numbers(finished, tmp_path):
    command, _ = finished
    task = command.tasks[0]
    whole = command.store.result(task.cell.id)
    command.store = Store(tmp_path)
    looks = iter(range(1000))
    try:
        stopped = command.run(should_stop=lambda: next(looks) >= 5, tasks=[task])
        assert stopped.result[task.cell.id].state == "interrupted"
        assert command.store.state(task.cell.id) == "interrupted"
        resumed = command.run(tasks=[task])
        assert resumed.began == [task.cell.id]
        again = command.store.result(task.cell.id)
    finally:
        command.store = Store(tmp_path / ".." / "unused")
    assert again.metrics == whole.metrics
    assert again.hits == whole.hits
    assert again.provenance.resumed == 1
    assert [p.values for p in again.curves] == [p.values for p in whole.curves]


def test_a_checkpoint_of_older_code_is_not_resumed(data_dir, toy_suite, tmp_path):
    command = Command(toy_suite, data_dir, tmp_path / "cells")
    looks = iter(range(1000))
    command.run(should_stop=lambda: next(looks) >= 5, tasks=command.tasks[:1])
    other = Code("another digest", command.code.methods, None, None)
    resumed = command.run(tasks=command.tasks[:1], code=other)
    assert "the code has changed since its checkpoint was written; training starts over" in resumed.said[0]
    assert command.store.result(command.tasks[0].cell.id).provenance.resumed == 0


def test_a_failure_is_a_result_the_rest_goes_on_and_the_next_command_tries_again(data_dir, tmp_path):
    (tmp_path / "breaks.py").write_text(BROKEN)
    suite = write_suite(
        tmp_path, "method_files: [breaks.py]\nmethods: {breaks: {}, w_mse: null}\naxes: {seeds: 1}\n", "b.yaml"
    )
    command = Command(suite, data_dir, tmp_path / "cells")
    notes = command.run()
    states = {task.cell.method: notes.result[task.cell.id].state for task in command.tasks}
    assert states == {"breaks": "failed", "untrained": "done"}
    broken = next(task.cell.id for task in command.tasks if task.cell.method == "breaks")
    result = command.store.result(broken)
    assert (result.status, result.metrics) == ("failed", {})
    assert (result.failure.kind, result.failure.message) == ("RuntimeError", "the third step is too much")
    assert (result.failure.step, result.failure.epoch) == (2, 0)
    assert "in loss" in result.failure.traceback
    assert command.run().began == [broken]


def test_a_cell_that_another_process_fails_meanwhile_is_not_tried_again(data_dir, tmp_path, toy_suite):
    command = Command(toy_suite, data_dir, tmp_path / "cells")
    task = command.tasks[2]
    holder = command.store.lock(task.cell.id)
    holder.__enter__()

    def other_process_ends(seconds):
        done = command.store.result(command.tasks[3].cell.id)
        raw = json.loads(done.model_dump_json()) | {
            "id": task.cell.id,
            "cell": task.cell.model_dump(),
            "status": "failed",
        }
        command.store.save(type(done).model_validate(raw))
        holder.__exit__(None, None, None)

    notes = command.run(tasks=[task, command.tasks[3]], wait=other_process_ends)
    assert notes.began == [command.tasks[3].cell.id]
    assert notes.result[task.cell.id].state == "failed"


def test_after_an_interruption_nothing_else_starts(data_dir, tmp_path, toy_suite):
    command = Command(toy_suite, data_dir, tmp_path / "cells")
    notes = command.run(should_stop=lambda: True)
    assert notes.began == []
    assert {outcome.state for outcome in notes.result.values()} == {"interrupted"}


def test_devices_that_are_not_there_are_named():
    for name, message in [
        ("cuda:9", "CUDA devices that torch can use"),
        ("quantum", "no such device; write cpu, cuda"),
        ("meta", "only cpu and cuda"),
    ]:
        with pytest.raises(DeviceError, match=message):
            Execution(Path(), name).torch_device()
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert Execution(Path()).torch_device().type == expected
