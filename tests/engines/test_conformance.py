"""What every engine owes to whoever submits: each way in which a task can end, told and stored alike.

A worker process takes seconds to import torch, so all cases of an engine share one, and those that end it come last.
"""

import signal
import threading

import pytest

from harness.engines.inline import Inline
from harness.engines.local import LocalProcesses
from harness.engines.pruning import EarlierTrial, PruneRule
from harness.store.atomic import StoreError
from harness.store.store import Store
from tests.engines.acting import SECONDS, Place, ended

ENGINES = {
    "inline": lambda place: Inline(place.command.methods, place.notes, lambda: False),
    "local": lambda place: LocalProcesses(1, place.job().execution, place.notes, lambda: False, SECONDS),
}


@pytest.fixture(scope="module", params=ENGINES)
def place(request, tmp_path_factory, data_dir):
    made = Place(tmp_path_factory.mktemp(request.param), data_dir, ENGINES[request.param])
    with made.engine:
        yield made


@pytest.fixture
def processes(place):
    """The same, for a case that only an engine with processes of its own can be put to."""
    if isinstance(place.engine, Inline):
        pytest.skip("inline: what kills the task kills the command")
    return place


def failure(place, task):
    return place.store.pretraining(task.id).failure


def test_done(place):
    task, other = place.task("w_mse", 0), place.task("untrained", 0)
    assert [outcome.state for outcome in place.outcomes(task, other)] == ["done", "done"]
    assert place.notes.began == [task.id, other.id]
    assert place.notes.outcomes == {task.id: "done", other.id: "done"}
    assert place.notes.texts[task.id].startswith("knn5_top1 ")
    assert [(id_, point.epoch) for id_, point in place.notes.points] == [(task.id, 1), (task.id, 2)]
    assert place.notes.points[0][1] == place.command.result(task).curves[0]
    assert {reading.steps for reading in place.notes.readings} <= {6}  # none where it is over within half a second
    assert {"describing", "evaluating knn5", "evaluating lbfgs"} <= set(place.notes.stages)
    assert [outcome.state for outcome in place.outcomes(task)] == ["done"]  # it stands
    assert place.notes.already == [task.id]


def test_failed(place):
    place.order("raise")
    task, other = place.task("acts", 0), place.task("untrained", 1)
    failed, done = place.outcomes(task, other)
    assert (failed.state, failed.message) == ("failed", "training: RuntimeError: the fifth step is too much")
    assert done.state == "done"
    assert (failure(place, task).kind, failure(place, task).step) == ("RuntimeError", 4)
    assert place.outcomes(task)[0].state == "failed"  # by the same command once


@pytest.mark.parametrize(("earlier", "state"), [(101.0, "pruned"), (-1.0, "done")])
def test_pruned_by_the_rule_that_the_job_brings(place, earlier, state):
    before = (EarlierTrial(state="complete", value=earlier, readings={1: earlier, 2: earlier}),) * 4
    rule = PruneRule(pruner="median", reading="knn5_top1", every_epochs=1, epochs=2, study="study", before=before)
    task = place.task("w_mse", 1, prune=rule)
    assert place.outcomes(task)[0].state == state
    record = place.store.pretraining(task.id)
    assert (record.status, record.cost.steps) == (state, 3 if state == "pruned" else 6)


def test_a_cell_that_another_runner_has(place):
    task, other = place.task("untrained", 2), place.task("untrained", 3)
    began = list(place.notes.began)
    with place.store.lock(task.id):
        assert [outcome.state for outcome in place.outcomes(task, other)] == ["running elsewhere", "done"]
    assert place.notes.began == [*began, other.id]


def test_a_store_that_cannot_be_written_is_no_cells_failure(place, tmp_path):
    (tmp_path / "cells").write_text("a file")
    with pytest.raises(StoreError, match=f"cannot make the directory {tmp_path}/cells/.*A file stands where"):
        ended(place.submit(place.task("untrained", 0), store=Store(tmp_path / "cells")))


def test_a_full_disk_is_no_cells_failure(place):
    place.order("fill the disk")
    task = place.task("acts", 1)
    with pytest.raises(StoreError, match=r"cannot write .*some cache: No space left on device; .* MiB are free"):
        ended(place.submit(task))
    assert place.store.pretraining(task.id) is None
    assert place.outcomes(task)[0].state == "done"  # the engine works on


def test_interrupted(place):
    place.order("wait")
    task, other = place.task("acts", 2), place.task("acts", 3)
    handle = place.submit(task, other)

    def stop(task_id, point):
        handle.stop()
        threading.Timer(1.0, (place.directory / "go").touch).start()

    place.notes.point = stop
    try:
        endings = ended(handle)
    finally:
        del place.notes.point
    assert [endings[t.id].state for t in (task, other)] == ["interrupted", "interrupted"]
    assert place.store.state(task.id) == "interrupted"
    assert other.id not in place.notes.began
    (place.directory / "in step").unlink(missing_ok=True)
    assert place.outcomes(task)[0].state == "done"
    assert place.store.pretraining(task.id).provenance.resumed == 1


def test_died(processes):
    processes.order(int(signal.SIGKILL))
    task, other = processes.task("acts", 3), processes.task("w_mse", 2)
    failed, done = processes.outcomes(task, other)
    assert (failed.state, done.state) == ("failed", "done")  # the rest of a job goes on in another process
    assert failure(processes, task).kind == "WorkerDied"
    assert "killed (SIGKILL)" in failed.message
    assert processes.notes.outcomes[task.id] == "failed"


def test_hung(processes):
    processes.order("hang")
    task = processes.task("acts", 4)
    handle = processes.submit(task)
    processes.engine.hung_after_seconds = 6.0
    (failed,) = ended(handle).values()
    processes.engine.hung_after_seconds = SECONDS
    assert failed.state == "failed"
    assert failure(processes, task).kind == "WorkerHung"
    assert "no step and no stage, and was killed" in failed.message
    assert 'acts.py", line' in failure(processes, task).traceback
    assert "in obey" in failure(processes, task).traceback
    assert (processes.store.directory(task.id) / "checkpoint.pt").exists()
