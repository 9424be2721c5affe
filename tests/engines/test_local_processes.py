"""Tasks in worker processes: the same numbers, one death touches no other task, the parent decides.

A worker takes seconds to import torch, so most tests share one pool.
"""

import os
import signal
import time
from concurrent.futures import wait
from multiprocessing import Pipe

import numpy as np
import pytest

from harness.engines import in_process
from harness.engines.local_processes import Pool, WorkersLost, run
from harness.engines.local_worker import Link, Setup, work
from harness.engines.task import Task
from harness.spec.collapse import CollapseRule
from harness.store.cell_result import read_cell
from harness.store.provenance import Code
from harness.store.store import Store
from tests.conftest import write_suite
from tests.engines import workers_that_fail
from tests.engines.toy import Command, Notes

DIES = '''
"""W-MSE that once, at its fifth step, sends its own process the signal that a file beside this one names; and, in a
worker, a k-NN that does the same where a file says so, as a user's probe might."""
import dataclasses, multiprocessing, os, pathlib
from harness.evaluation.probes import probes
from methods.composed import Composed
from methods.entry import MethodEntry
from methods.w_mse import METHOD as W_MSE

def obey(order):
    path = pathlib.Path(__file__).with_name(order)
    if path.exists():
        number = int(path.read_text())
        path.unlink()
        os.kill(os.getpid(), number)

class Dies(Composed):
    calls = 0
    def loss(self, batch, step):
        self.calls += 1
        if self.calls == 5:
            obey("in step")
        return super().loss(batch, step)

if multiprocessing.current_process().name.startswith("harness-worker"):
    knn = probes()["knn"]
    def run(*arguments):
        obey("in probe")
        return knn.run(*arguments)
    probes()["knn"] = dataclasses.replace(knn, run=run)

METHOD = MethodEntry(name="dies", summary="dies", source="this test", settings=W_MSE.settings, build=Dies)
'''
MORE = """
    method_files: [dies.py]
    defaults: {evaluations: {linear: null, lbfgs: {probe: lbfgs, max_iterations: 5}}}
    methods: {dies: {}}
    axes: {seeds: 4}
"""
SECONDS = 200  # far more than anything takes


class Bench:
    """A suite with a user's own method, and one pool that runs its tasks."""

    def __init__(self, directory, data_dir):
        (directory / "dies.py").write_text(DIES)
        self.command = Command(write_suite(directory, MORE, "more.yaml"), data_dir, directory / "cells")
        self.files = (directory / "dies.py",)
        self.directory, self.store, self.notes = directory, self.command.store, Notes()
        self.context = self.context_of(self.notes)
        self.pool = Pool(2, self.context, self.files)

    def context_of(self, notes, store=None, code=None, should_stop=lambda: False):
        command = Command.__new__(Command)
        command.__dict__ = self.command.__dict__ | {"store": store or self.store}
        return command.context(notes, should_stop, code, threads=1, checkpoint_seconds=0.0)

    def task(self, method, seed, **more):
        task = self.command.task(method, seed)
        return Task(task.cells, f"{method} {seed}", **more)

    def outcome(self, *task, **more):
        return self.pool.submit(self.task(*task, **more)).result(SECONDS)

    def here(self, task, store=None, **choices):
        """The task in this process."""
        return in_process.run([task], self.command.methods, self.context_of(Notes(), store, **choices))[task.id]


@pytest.fixture(scope="module")
def bench(tmp_path_factory, data_dir):
    made = Bench(tmp_path_factory.mktemp("bench"), data_dir)
    with made.pool:
        yield made


@pytest.fixture(scope="module")
def reference(bench, tmp_path_factory):
    """A store with w_mse at seeds 0 and 1, and an untrained encoder, from this process."""
    store = Store(tmp_path_factory.mktemp("reference"))
    tasks = [bench.task("w_mse", 0), bench.task("w_mse", 1), bench.task("untrained", 0)]
    in_process.run(tasks, bench.command.methods, bench.context_of(Notes(), store))
    return store


def same(task, store, other, pretraining=None):
    """Whether the numbers of two stores are the same, to the bit; what they cost need not be."""
    first, second = read_cell(store, task.cells[0]), read_cell(other, (pretraining or task).cells[0])
    return (
        first.pretraining.encoder == second.pretraining.encoder
        and first.metrics == second.metrics
        and all(np.array_equal(first.hits(metric), second.hits(metric)) for metric in first.metrics)
        and [point.values for point in first.curves] == [point.values for point in second.curves]
        and first.diagnostics == second.diagnostics
        and first.spectra == second.spectra
    )


def test_two_at_once_give_the_numbers_of_one_process(bench, reference):
    tasks = [bench.task("w_mse", 0), bench.task("w_mse", 1), bench.task("untrained", 0)]
    futures = [(task, bench.pool.submit(task)) for task in tasks]
    for task, future in futures:
        assert future.result(SECONDS).state == "done"
        assert same(task, bench.store, reference)
        assert bench.notes.outcomes[task.id] == "done"
        assert bench.notes.texts[task.id].startswith("knn5_top1 ")
    assert bench.pool.width == 2
    assert any(reading.steps == 6 for reading in bench.notes.readings)
    assert {"describing", "evaluating knn5", "evaluating lbfgs"} <= set(bench.notes.stages)


def test_what_is_done_stands_without_a_worker(bench, reference):
    task = bench.task("w_mse", 0)
    bench.pool.submit(task).result(SECONDS)
    began = list(bench.notes.began)
    future = bench.pool.submit(task)
    assert future.done()
    assert future.result().state == "done"
    assert bench.notes.already[-1] == task.id
    assert bench.notes.began == began


@pytest.mark.parametrize(
    ("number", "seed", "words", "traceback"),
    [
        (signal.SIGKILL, 0, "killed (SIGKILL)", ""),
        (signal.SIGSEGV, 1, "crashed in compiled code (SIGSEGV)", "dies.py"),
    ],
)
def test_a_workers_death_in_training_is_its_pretrainings_failure_and_touches_no_other(
    bench, reference, number, seed, words, traceback
):
    (bench.directory / "in step").write_text(str(int(number)))
    victim, other = bench.task("dies", seed), bench.task("untrained", 2 + seed)
    futures = [bench.pool.submit(victim), bench.pool.submit(other)]
    wait(futures, SECONDS)
    failed, done = (future.result() for future in futures)
    assert (failed.state, done.state) == ("failed", "done")
    record = bench.store.pretraining(victim.id)
    assert (record.status, record.encoder) == ("failed", None)
    assert record.failure.kind == "WorkerDied"
    assert words in record.failure.message
    assert words in failed.message
    assert traceback in record.failure.traceback
    (monitor,) = victim.monitors.values()
    training, own = (bench.store.read_curve(victim.id, name).record for name in ("training", monitor.id))
    assert [point.epoch for point in training.points] == [point.epoch for point in own.points] == [1]
    assert not any(name.startswith(("knn5", "h_")) for name in training.points[0].values)
    assert (record.provenance.device, record.provenance.threads) == ("cpu", 1)
    assert bench.notes.outcomes[victim.id] == "failed"
    assert (bench.store.directory(victim.id) / "checkpoint.pt").exists()
    assert not (bench.store.directory(victim.id) / "progress.json").exists()
    assert bench.outcome("dies", seed).state == "failed"  # once a command
    assert bench.here(victim).state == "done"
    assert bench.store.pretraining(victim.id).provenance.resumed == 1
    digest = bench.store.pretraining(victim.id).provenance.code["method dies"]
    assert digest == bench.command.code.digests["method dies"]
    assert same(victim, bench.store, reference, bench.task("w_mse", seed))


def test_a_workers_death_in_a_probe_costs_that_evaluation_and_what_is_left_goes_on(bench, reference):
    task = bench.task("dies", 2)
    bench.here(task, should_stop=lambda: bench.store.pretraining(task.id) is not None)  # its monitor is a k-NN too
    assert read_cell(bench.store, task.cells[0]).status == "unfinished"
    (bench.directory / "in probe").write_text(str(int(signal.SIGKILL)))
    before = bench.store.pretraining(task.id)
    outcome = bench.pool.submit(task).result(SECONDS)
    assert outcome.state == "failed"
    assert "knn5: WorkerDied: its worker process was killed (SIGKILL)" in outcome.message
    assert bench.store.pretraining(task.id) == before
    result = read_cell(bench.store, task.cells[0])
    assert list(result.failures) == ["knn5"]
    assert (result.failures["knn5"].step, result.failures["knn5"].epoch) == (None, None)
    assert list(result.metrics) == ["lbfgs_top1"]  # by another process
    assert any("what is left of it goes on" in text for text in bench.notes.said)
    assert bench.notes.outcomes[task.id] == "failed"
    assert bench.pool.submit(task).result(SECONDS).state == "failed"  # once a command
    assert bench.here(task).state == "done"
    assert bench.store.pretraining(task.id) == before
    assert set(read_cell(bench.store, task.cells[0]).metrics) == {
        "knn5_top1",
        "knn5_balanced",
        "lbfgs_top1",
        "lbfgs_balanced",
    }


def test_the_parent_decides_at_each_point_whether_to_give_up(bench):
    asked = []

    def give_up(point):
        asked.append((os.getpid(), point.epoch, "knn5_top1" in point.values))
        return point.epoch == 1

    assert bench.outcome("w_mse", 2, give_up=give_up).state == "pruned"
    assert asked == [(os.getpid(), 1, True)]
    record = bench.store.pretraining(bench.task("w_mse", 2).id)
    assert (record.status, record.cost.steps) == ("pruned", 3)
    assert bench.outcome("w_mse", 2, give_up=lambda point: asked.append(point.epoch)).state == "done"
    assert asked[1:] == [1, 2]


def test_a_decision_that_fails_is_the_trainings_failure(bench):
    def give_up(point):
        raise KeyError("no such study")

    assert bench.outcome("w_mse", 3, give_up=give_up).state == "failed"
    record = bench.store.pretraining(bench.task("w_mse", 3).id)
    assert record.failure.message == "KeyError: 'no such study'"


def test_a_task_that_another_process_has_is_waited_for(bench):
    task = bench.task("untrained", 1)
    with bench.store.lock(task.id):
        future = bench.pool.submit(task)
        assert bench.outcome("dies", 3).state == "done"  # meanwhile
        time.sleep(0.5)
        assert not future.done()
    assert future.result(SECONDS).state == "done"


def test_a_wish_to_stop_leaves_a_checkpoint_and_starts_nothing(bench, reference, tmp_path):
    store, notes = Store(tmp_path / "cells"), Notes()
    tasks = [bench.task("w_mse", seed) for seed in (0, 1)]
    running = tasks[0].id
    context = bench.context_of(notes, store, should_stop=lambda: running in notes.outcomes or bool(notes.readings))
    outcomes = run(tasks, context, workers=1, method_files=bench.files)
    assert [outcome.state for outcome in outcomes.values()] == ["interrupted", "interrupted"]
    assert notes.began == [running]
    assert store.state(running) == "interrupted"
    assert bench.here(tasks[0], store).state == "done"
    assert store.pretraining(running).provenance.resumed == 1
    assert same(tasks[0], store, reference)


def test_a_worker_refuses_to_run_other_code_than_its_parent_read(bench):
    code = Code({**bench.command.code.digests, "method w_mse": "another"}, None, None)
    ours, theirs = Pipe()
    work(Link(theirs), Setup(bench.store.root, bench.context.execution, code, bench.files, {}, CollapseRule()))
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
    context = bench.context_of(notes, Store(tmp_path / "cells"))
    with pytest.raises(WorkersLost, match=text):
        run([bench.task("w_mse", 0)], context, workers=8, method_files=bench.files)
    assert notes.said == ["starting 1 worker process"] * starts


def test_a_closed_pool_says_so(bench, tmp_path):
    with Pool(1, bench.context_of(Notes(), Store(tmp_path / "cells"))) as pool:
        pass
    with pytest.raises(RuntimeError, match="this pool of workers is closed"):
        pool.submit(bench.task("w_mse", 0))
