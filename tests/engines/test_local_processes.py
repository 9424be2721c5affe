"""Cells in worker processes: the same numbers, one death touches no other cell, the parent decides.

A worker takes seconds to import torch, so most tests share one pool.
"""

import os
import signal
import time
from concurrent.futures import wait
from multiprocessing import Pipe

import pytest

from harness.engines import in_process
from harness.engines.cell_run import Surroundings
from harness.engines.execution import Execution
from harness.engines.in_process import Task
from harness.engines.local_processes import Pool, WorkersLost, run
from harness.engines.local_worker import Link, Setup, work
from harness.store.provenance import Code
from harness.store.store import Store
from tests.conftest import write_suite
from tests.engines import workers_that_fail
from tests.engines.test_in_process import Command, Notes

DIES = '''
"""W-MSE that once, at its fifth step, sends its own process the signal that a file beside this one names."""
import os, pathlib
from methods.composed import Composed
from methods.method import MethodEntry
from methods.w_mse import METHOD as W_MSE

ORDER = pathlib.Path(__file__).with_name("signal")

class Dies(Composed):
    calls = 0
    def loss(self, views, labels, generator):
        self.calls += 1
        if self.calls == 5 and ORDER.exists():
            number = int(ORDER.read_text())
            ORDER.unlink()
            os.kill(os.getpid(), number)
        return super().loss(views, labels, generator)

METHOD = MethodEntry(name="dies", summary="dies", source="this test", settings=W_MSE.settings, build=Dies)
'''
SECONDS = 200  # far more than anything takes


class Bench:
    """A suite with a user's own method, and one pool that runs its cells."""

    def __init__(self, directory, data_dir):
        (directory / "dies.py").write_text(DIES)
        suite = write_suite(directory, "method_files: [dies.py]\nmethods: {dies: {}}\naxes: {seeds: 4}\n", "more.yaml")
        self.command = Command(suite, data_dir, directory / "cells")
        self.files = (directory / "dies.py",)
        self.directory, self.store, self.notes = directory, self.command.store, Notes()
        self.around = self.surroundings(self.notes)
        self.pool = Pool(2, self.around, self.files)

    def surroundings(self, notes, store=None, code=None, should_stop=lambda: False):
        execution = Execution(self.command.data_dir, "cpu", threads=1, checkpoint_seconds=0.0)
        return Surroundings(store or self.store, code or self.command.code, execution, notes, should_stop)

    def cell(self, method, seed):
        return next(t.cell for t in self.command.tasks if (t.cell.method, t.cell.seed) == (method, seed))

    def task(self, method, seed, **more):
        return Task(self.cell(method, seed), f"{method} {seed}", **more)

    def outcome(self, *task, **more):
        return self.pool.submit(self.task(*task, **more)).result(SECONDS)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, data_dir):
    made = Bench(tmp_path_factory.mktemp("bench"), data_dir)
    with made.pool:
        yield made


@pytest.fixture(scope="module")
def reference(bench, tmp_path_factory):
    """The results of w_mse with seeds 0 and 1, and of an untrained encoder, from this process."""
    store = Store(tmp_path_factory.mktemp("reference"))
    tasks = [bench.task("w_mse", 0), bench.task("w_mse", 1), bench.task("untrained", 0)]
    outcomes = in_process.run(tasks, bench.command.methods, bench.surroundings(Notes(), store))
    return {cell_id: outcome.result for cell_id, outcome in outcomes.items()}


def same(result, other):
    """Whether the numbers are the same, to the bit; what they cost need not be."""
    return (result.metrics, result.hits, [p.values for p in result.curves]) == (
        other.metrics,
        other.hits,
        [p.values for p in other.curves],
    )


def test_two_at_once_give_the_numbers_of_one_process(bench, reference):
    futures = {cell_id: bench.pool.submit(Task(result.cell, "x")) for cell_id, result in reference.items()}
    for cell_id, future in futures.items():
        outcome = future.result(SECONDS)
        assert outcome.state == "done"
        assert same(outcome.result, reference[cell_id])
        assert outcome.result == bench.store.result(cell_id)
        assert bench.notes.outcomes[cell_id] == "done"
    assert bench.pool.width == 2
    assert any(reading.steps == 6 for reading in bench.notes.readings)


def test_what_is_done_stands_without_a_worker(bench, reference):
    task = bench.task("w_mse", 0)
    bench.pool.submit(task).result(SECONDS)
    began = list(bench.notes.began)
    future = bench.pool.submit(task)
    assert future.done()
    assert future.result().state == "done"
    assert bench.notes.already[-1] == task.cell.id
    assert bench.notes.began == began


@pytest.mark.parametrize(
    ("number", "seed", "words", "traceback"),
    [
        (signal.SIGKILL, 0, "killed (SIGKILL)", ""),
        (signal.SIGSEGV, 1, "crashed in compiled code (SIGSEGV)", "dies.py"),
    ],
)
def test_a_workers_death_is_its_cells_failure_and_touches_no_other(bench, reference, number, seed, words, traceback):
    (bench.directory / "signal").write_text(str(int(number)))
    victim, other = bench.task("dies", seed), bench.task("untrained", 2 + seed)
    futures = [bench.pool.submit(victim), bench.pool.submit(other)]
    wait(futures, SECONDS)
    failed, done = (future.result() for future in futures)
    assert (failed.state, done.state) == ("failed", "done")
    stored = bench.store.result(victim.cell.id)
    assert stored == failed.result
    assert stored.failure.kind == "WorkerDied"
    assert words in stored.failure.message
    assert traceback in stored.failure.traceback
    assert [point.epoch for point in stored.curves] == [1]
    assert (stored.provenance.device, stored.provenance.threads) == ("cpu", 1)
    assert bench.notes.outcomes[victim.cell.id] == "failed"
    assert (bench.store.directory(victim.cell.id) / "checkpoint.pt").exists()
    assert bench.outcome("dies", seed).state == "failed"  # once a command
    again = in_process.run([victim], bench.command.methods, bench.surroundings(Notes()))[victim.cell.id]
    assert again.state == "done"
    assert again.result.provenance.resumed == 1
    assert again.result.hits == reference[bench.cell("w_mse", seed).id].hits


def test_a_users_own_method_runs_in_a_worker(bench, reference):
    outcome = bench.outcome("dies", 2)
    assert outcome.state == "done"
    assert outcome.result.provenance.method_digest == bench.command.code.methods["dies"]


def test_the_parent_decides_at_each_point_whether_to_give_up(bench):
    asked = []

    def give_up(point):
        asked.append((os.getpid(), point.epoch))
        return point.epoch == 1

    outcome = bench.outcome("w_mse", 2, give_up=give_up)
    assert outcome.state == "pruned"
    assert asked == [(os.getpid(), 1)]
    assert [point.epoch for point in outcome.result.curves] == [1]
    assert bench.outcome("w_mse", 2, give_up=lambda point: asked.append(point.epoch)).state == "done"
    assert asked[1:] == [1, 2]


def test_a_decision_that_fails_is_the_cells_failure(bench):
    def give_up(point):
        raise KeyError("no such study")

    outcome = bench.outcome("w_mse", 3, give_up=give_up)
    assert outcome.state == "failed"
    assert outcome.result.failure.message == "KeyError: 'no such study'"


def test_a_cell_that_another_process_has_is_waited_for(bench):
    task = bench.task("untrained", 1)
    with bench.store.lock(task.cell.id):
        future = bench.pool.submit(task)
        assert bench.outcome("dies", 3).state == "done"  # meanwhile
        time.sleep(0.5)
        assert not future.done()
    assert future.result(SECONDS).state == "done"


def test_a_wish_to_stop_leaves_a_checkpoint_and_starts_nothing(bench, reference, tmp_path):
    store, notes = Store(tmp_path / "cells"), Notes()
    tasks = [bench.task("w_mse", seed) for seed in (0, 1)]
    running = tasks[0].cell.id
    around = bench.surroundings(notes, store, should_stop=lambda: running in notes.outcomes or bool(notes.readings))
    outcomes = run(tasks, around, workers=1, method_files=bench.files)
    assert [outcome.state for outcome in outcomes.values()] == ["interrupted", "interrupted"]
    assert notes.began == [running]
    assert store.state(running) == "interrupted"
    resumed = in_process.run(tasks[:1], bench.command.methods, bench.surroundings(Notes(), store))[running]
    assert resumed.result.provenance.resumed == 1
    assert same(resumed.result, reference[running])


def test_a_worker_refuses_to_run_other_code_than_its_parent_read(bench):
    code = Code("another digest", bench.command.code.methods, None, None)
    ours, theirs = Pipe()
    work(Link(theirs), Setup(bench.store.root, bench.around.execution, code, bench.files))
    assert "the code has changed since this command began" in ours.recv().reason


@pytest.mark.parametrize(
    ("life", "text", "starts"),
    [
        (workers_that_fail.refuse, "the worker says why", 1),
        (workers_that_fail.exit_at_once, "end before they can work, the last with exit code 7", 3),
    ],
)
def test_workers_that_cannot_start_are_an_error_with_its_reason(bench, tmp_path, monkeypatch, life, text, starts):
    monkeypatch.setattr("harness.engines.local_slots.serve", life)
    notes = Notes()
    around = bench.surroundings(notes, Store(tmp_path / "cells"))
    with pytest.raises(WorkersLost, match=text):
        run([bench.task("w_mse", 0)], around, workers=8, method_files=bench.files)
    assert notes.said == ["starting 1 worker process"] * starts


def test_a_closed_pool_says_so(bench, tmp_path):
    with Pool(1, bench.surroundings(Notes(), Store(tmp_path / "cells"))) as pool:
        pass
    with pytest.raises(RuntimeError, match="this pool of workers is closed"):
        pool.submit(bench.task("w_mse", 0))
