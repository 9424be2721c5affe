"""Tasks one after another: each once, failures kept, other processes respected, older code only on request."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from harness.engines.execution import DeviceError, Execution
from harness.engines.task import Task
from harness.store.provenance import Code
from harness.store.store import Store
from tests.engines.toy import METRICS, Command

STEPS, STAGES = 6, ["describing", "evaluating linear", "evaluating knn5"]
ONE = "methods: {untrained: null}\naxes: {seeds: 1}\n"

BROKEN = '''
"""A method whose loss breaks at its third step."""
from methods.composed import Composed
from methods.entry import MethodEntry
from methods.w_mse import METHOD as W_MSE

class Breaks(Composed):
    calls = 0
    def loss(self, batch, step):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("the third step is too much")
        return super().loss(batch, step)

METHOD = MethodEntry(name="breaks", summary="breaks", source="this test", settings=W_MSE.settings, build=Breaks)
'''


def changed(code: Code, *parts: str) -> Code:
    """The code after these parts of it were edited."""
    assert set(parts) <= set(code.digests)
    return Code({**code.digests, **dict.fromkeys(parts, "edited")}, None, None)


def test_every_cell_is_done_and_measured(original):
    assert len(original.tasks) == 4
    assert {outcome.state for outcome in original.last.result.values()} == {"done"}
    for task in original.tasks:
        result = original.result(task)
        assert set(result.metrics) == METRICS
        assert {answer.images for answer in result.evaluations.values()} == {360}
        assert not (original.store.directory(task.id) / "checkpoint.pt").exists()
        trained = task.pretraining.method == "w_mse"
        assert result.cost.views_seen == (2 * 64 * 3 * 2 if trained else 0)  # d x batch x steps an epoch x epochs
        assert result.cost.steps == (6 if trained else 0)
        assert [point.epoch for point in result.curves] == ([1, 2] if trained else [])
        assert result.cost.encoder_flops_per_view > 0
        assert {"h_std", "h_rankme"} <= set(result.diagnostics)
        assert ("v_std" in result.diagnostics) == trained


def test_running_again_runs_nothing(original):
    again = original.run()
    assert (again.began, again.steps) == ([], 0)
    assert again.already == [task.id for task in original.tasks]
    assert {outcome.state for outcome in again.result.values()} == {"done"}


def test_a_task_that_is_given_twice_runs_once(fresh):
    command = fresh()
    task = command.task("untrained")
    assert command.run([task, Task(cells=task.cells, label="another label")]).began == [task.id]


# Older code


def test_results_of_older_code_stand_until_asked_to_run_again(finished):
    command = finished(more=ONE)
    task = command.task()
    before = command.files(task)
    other = changed(command.code, "method w_mse")
    assert command.run(code=other).began == []
    assert command.run(code=other, rerun_stale=True).did == (STEPS, ["describing"])  # the encoder came out the same
    record = command.store.pretraining(task.id)
    assert record.provenance.code["method w_mse"] == "edited"
    assert record.encoder.sha256 == before["encoder.safetensors"][0]
    assert command.result(task).stale(other) is None
    assert command.run(code=other, rerun_stale=True).began == []


@pytest.mark.parametrize(
    ("part", "done"),
    [
        ("probe knn", (0, ["evaluating knn5"])),
        ("evaluation", (0, ["evaluating linear", "evaluating knn5"])),
        ("description", (0, ["describing"])),
        ("method byol", (0, [])),
        ("training on cuda", (0, [])),
    ],
)
def test_an_edit_ages_only_what_it_could_change(finished, part, done):
    command = finished(more=ONE)
    assert command.run(code=changed(command.code, part), rerun_stale=True).did == done


def test_a_description_that_is_repeated_later_says_what_it_lacks(finished, original):
    command = finished(more=ONE)
    task = command.task()
    command.run(code=changed(command.code, "description"), rerun_stale=True)
    description = command.store.read_description(task.id).record
    before = original.store.read_description(task.id).record
    assert description.unknown["v"] == "the heads are not kept"
    assert (description.train_flops, description.parameters) == (before.train_flops, before.parameters)
    assert description.initial == before.initial
    assert not any(name.startswith("v_") for name in description.diagnostics)


# Failures


@pytest.fixture
def breaking(tmp_path, fresh):
    (tmp_path / "breaks.py").write_text(BROKEN)
    return fresh(more="extensions: [breaks.py]\nmethods: {breaks: {}, w_mse: null}\naxes: {seeds: 1}\n")


def test_a_failure_is_stored_the_rest_goes_on_and_the_next_command_tries_again(breaking):
    notes = breaking.run()
    states = {task.pretraining.method: notes.result[task.id].state for task in breaking.tasks}
    assert states == {"breaks": "failed", "untrained": "done"}
    task = breaking.task("breaks")
    result = breaking.result(task)
    assert (result.status, result.metrics) == ("failed", {})
    failure = result.failures["training"]
    assert (failure.kind, failure.message) == ("RuntimeError", "the third step is too much")
    assert (failure.step, failure.epoch) == (2, 0)
    assert "in loss" in failure.traceback
    assert breaking.run().began == [task.id]


def test_a_task_that_another_process_fails_meanwhile_is_not_tried_again(breaking):
    task, other = breaking.task("breaks"), breaking.task("untrained")
    elsewhere = Command.__new__(Command)
    elsewhere.__dict__ = breaking.__dict__ | {"store": Store(breaking.store.root.parent / "elsewhere")}
    elsewhere.run([task])
    held = ExitStack()
    held.enter_context(breaking.store.lock(task.id))

    def other_process_ends(seconds):
        time.sleep(seconds)
        breaking.store.save_pretraining(elsewhere.store.pretraining(task.id))
        held.close()

    notes = breaking.run([task, other], sleep=other_process_ends)
    assert notes.began == [other.id]
    assert notes.result[task.id].state == "failed"
    assert notes.result[task.id].message == "training: RuntimeError: the third step is too much"


# Interruptions


def test_after_an_interruption_nothing_else_starts(fresh):
    notes = fresh().run(should_stop=lambda: True)
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
