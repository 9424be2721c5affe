"""Jobs in worker processes: the same numbers, one death touches no other task, one process serves many jobs.

A worker takes seconds to import torch, so most tests share one engine.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.engines import engine as engines
from harness.engines import worker_slot
from harness.engines.engine import WorkersLost, run
from harness.engines.inline import Inline
from harness.engines.job import Job
from harness.engines.local import LocalProcesses
from harness.engines.work import CANNOT, DONE, INTERRUPTED, Events, _Worker
from harness.store.cell_result import read_cell
from harness.store.provenance import Code
from harness.store.store import Store
from tests.engines.acting import SECONDS, Place, ended
from tests.engines.toy import Notes

ROOT = Path(__file__).parents[2]


def here(place, *tasks, should_stop=lambda: False, **more):
    """Tasks in this process, as a command of its own."""
    notes = Notes()
    return run(Inline(place.command.methods, notes, should_stop), place.job(*tasks, **more), notes)


@pytest.fixture(scope="module")
def place(tmp_path_factory, data_dir):
    def opened(place):
        return LocalProcesses(2, place.job().execution, place.notes, lambda: False, SECONDS)

    made = Place(tmp_path_factory.mktemp("local"), data_dir, opened)
    with made.engine:
        yield made


@pytest.fixture(scope="module")
def reference(place, tmp_path_factory):
    """A store with w_mse at seeds 0 and 1, and an untrained encoder, from this process."""
    store = Store(tmp_path_factory.mktemp("reference"))
    here(place, place.task("w_mse", 0), place.task("w_mse", 1), place.task("untrained", 0), store=store)
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


def test_two_at_once_give_the_numbers_of_one_process(place, reference):
    tasks = [place.task("w_mse", 0), place.task("w_mse", 1), place.task("untrained", 0)]
    outcomes = run(place.engine, place.job(*tasks), place.notes)
    assert {outcome.state for outcome in outcomes.values()} == {"done"}
    assert all(same(task, place.store, reference) for task in tasks)
    assert place.notes.said == ["starting worker process 1 of 2", "starting worker process 2 of 2"]  # three jobs


def test_what_is_done_stands_without_a_worker(place, reference, tmp_path):
    tasks, notes = [place.task("w_mse", 0), place.task("untrained", 0)], Notes()
    with LocalProcesses(2, place.job().execution, notes, lambda: False, SECONDS) as engine:
        outcomes = run(engine, place.job(*tasks, store=reference), notes)
    assert {outcome.state for outcome in outcomes.values()} == {"done"}
    assert notes.already == [task.id for task in tasks]
    assert (notes.began, notes.said) == ([], [])


@pytest.mark.parametrize(
    ("number", "seed", "words", "traceback"),
    [
        (signal.SIGKILL, 0, "killed (SIGKILL)", ""),
        (signal.SIGSEGV, 1, "crashed in compiled code (SIGSEGV)", "acts.py"),
    ],
)
def test_a_workers_death_in_training_is_its_pretrainings_failure_and_touches_no_other(
    place, reference, number, seed, words, traceback
):
    place.order(int(number))
    victim, other = place.task("acts", seed), place.task("untrained", 2 + seed)
    failed, done = ended(place.submit(victim), place.submit(other))
    assert (failed[victim.id].state, done[other.id].state) == ("failed", "done")
    record = place.store.pretraining(victim.id)
    assert (record.status, record.encoder) == ("failed", None)
    assert record.failure.kind == "WorkerDied"
    assert words in record.failure.message
    assert words in failed[victim.id].message
    assert traceback in record.failure.traceback
    (monitor,) = victim.monitors.values()
    training, own = (place.store.read_curve(victim.id, name).record for name in ("training", monitor.id))
    assert [point.epoch for point in training.points] == [point.epoch for point in own.points] == [1]
    assert not any(name.startswith(("knn5", "h_")) for name in training.points[0].values)
    assert (record.provenance.device, record.provenance.threads) == ("cpu", 1)
    assert place.notes.outcomes[victim.id] == "failed"
    assert (place.store.directory(victim.id) / "checkpoint.pt").exists()
    assert not (place.store.directory(victim.id) / "progress.json").exists()
    assert place.outcomes(victim)[0].state == "failed"  # once a command
    assert here(place, victim)[victim.id].state == "done"
    assert place.store.pretraining(victim.id).provenance.resumed == 1
    digest = place.store.pretraining(victim.id).provenance.code["method acts"]
    assert digest == place.command.code.digests["method acts"]
    assert same(victim, place.store, reference, place.task("w_mse", seed))


def test_a_workers_death_in_a_probe_costs_that_evaluation_and_what_is_left_goes_on(place):
    task = place.task("acts", 2)
    here(place, task, should_stop=lambda: place.store.pretraining(task.id) is not None)  # its monitor is a k-NN too
    assert read_cell(place.store, task.cells[0]).status == "unfinished"
    place.order(int(signal.SIGKILL), "in probe")
    before = place.store.pretraining(task.id)
    (outcome,) = place.outcomes(task)
    assert outcome.state == "failed"
    assert "knn5: WorkerDied: its worker process was killed (SIGKILL)" in outcome.message
    assert place.store.pretraining(task.id) == before
    result = read_cell(place.store, task.cells[0])
    assert list(result.failures) == ["knn5"]
    assert (result.failures["knn5"].step, result.failures["knn5"].epoch) == (None, None)
    assert list(result.metrics) == ["lbfgs_top1", "lbfgs_balanced"]  # by another process
    assert any("what is left of it goes on" in text for text in place.notes.said)
    assert place.notes.outcomes[task.id] == "failed"
    assert place.outcomes(task)[0].state == "failed"  # once a command
    assert here(place, task)[task.id].state == "done"
    assert place.store.pretraining(task.id) == before
    answered = {f"{name}_{metric}" for name in ("knn5", "lbfgs") for metric in ("top1", "balanced")}
    assert set(read_cell(place.store, task.cells[0]).metrics) == answered


def test_a_task_that_another_process_has_is_waited_for_last(place, monkeypatch):
    monkeypatch.setattr(engines, "POLL_SECONDS", 0.1)
    held, other = place.task("untrained", 1), place.task("w_mse", 3)
    lock = place.store.lock(held.id)
    lock.__enter__()
    ended_before = []

    def ended(task_id, outcome, text):
        if task_id == other.id:
            ended_before.append(place.store.pretraining(held.id) is None)
            lock.__exit__(None, None, None)

    place.notes.ended = ended
    try:
        outcomes = run(place.engine, place.job(held, other), place.notes)
    finally:
        del place.notes.ended
    assert ended_before == [True]
    assert [outcomes[task.id].state for task in (held, other)] == ["done", "done"]


def test_a_wish_to_stop_leaves_a_checkpoint_and_starts_nothing(place, reference, tmp_path):
    store, notes = Store(tmp_path / "cells"), Notes()
    tasks = [place.task("w_mse", seed) for seed in (0, 1)]
    running = tasks[0].id

    def should_stop():
        return running in notes.outcomes or bool(notes.began)

    job = place.job(*tasks, store=store)
    with LocalProcesses(1, job.execution, notes, should_stop, SECONDS) as engine:
        outcomes = run(engine, job, notes)
    assert [outcome.state for outcome in outcomes.values()] == ["interrupted", "interrupted"]
    assert notes.began == [running]
    assert store.state(running) == "interrupted"
    assert here(place, tasks[0], store=store)[running].state == "done"
    assert store.pretraining(running).provenance.resumed == 1
    assert same(tasks[0], store, reference)


@pytest.mark.parametrize(
    ("program", "text", "starts"),
    [
        ('print(\'["refused", "the worker says why"]\')', "the worker says why", 1),
        ("import os; os._exit(7)", "end before they can work, the last with exit code 7; what they printed", 3),
    ],
)
def test_workers_that_cannot_start_are_an_error_with_its_reason(place, tmp_path, monkeypatch, program, text, starts):
    monkeypatch.setattr(worker_slot, "PROGRAM", ("-c", program))
    notes, job = Notes(), place.job(place.task("w_mse", 0), store=Store(tmp_path / "cells"))
    with pytest.raises(WorkersLost, match=text), LocalProcesses(8, job.execution, notes, lambda: False, 60) as engine:
        run(engine, job, notes)
    assert notes.said == ["starting worker process 1 of 8"] * starts


def test_a_worker_refuses_to_run_other_code_than_its_command_has_read(place, capfd):
    code = Code({**place.command.code.digests, "method w_mse": "another"}, None, None)
    assert _Worker(Events(1)).do(place.job(place.task("w_mse", 0), code=code)) == CANNOT
    name, reason = json.loads(capfd.readouterr().out)
    assert name == "refused"
    assert "the code has changed since this command began" in reason


def test_a_job_is_the_same_after_a_journey(place):
    job = place.job(place.task("w_mse", 0), place.task("untrained", 1))
    arrived = Job.model_validate_json(job.model_dump_json())
    assert arrived == job
    assert [task.id for task in arrived.tasks] == [task.id for task in job.tasks]
    assert arrived.tasks[0].cells[0].id == job.tasks[0].cells[0].id


def test_the_program_does_a_job_from_a_file_and_stops_by_signal(place, tmp_path):
    """As a batch system runs it."""
    store = Store(tmp_path / "cells")
    task = place.task("acts", 3)
    (tmp_path / "job.json").write_text(place.job(task, store=store).model_dump_json())
    place.order("wait")
    command = [sys.executable, "-m", "harness.engines.work", tmp_path / "job.json", "--events", tmp_path / "events"]
    (tmp_path / "events").touch()
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    while '"point"' not in (tmp_path / "events").read_text():
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    (place.directory / "go").touch()
    assert (first.wait(SECONDS), first.stdout.read()) == (INTERRUPTED, b"")
    assert store.state(task.id) == "interrupted"
    assert subprocess.run(command, cwd=ROOT, timeout=SECONDS, check=False).returncode == DONE
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    endings = [arguments for name, *arguments in events if name == "ending"]
    assert endings == [[task.id, "interrupted", "stopped at a checkpoint"], [task.id, "done", ""]]
    assert store.pretraining(task.id).provenance.resumed == 1
