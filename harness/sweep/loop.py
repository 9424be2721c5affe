"""The loop of a sweep: settle what has ended, enter what is next, keep every slot busy. Owns the order of things; runs
no cell itself.

Rows take turns, so that a sweep that is cut short has given every method the same. A trial that nobody is at work on,
for its process was killed, is taken up where it stands: its stored result is told, or its checkpoint gone on from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from harness.engines import engine as engines
from harness.engines.engine import TICK_SECONDS, Engine, Handle
from harness.engines.job import Job
from harness.engines.task import Task
from harness.store.cell_result import CellResult, read_cell
from harness.store.store import Store
from harness.sweep.presence import Presence
from harness.sweep.pruning import prune_rule
from harness.sweep.rows import SweepError
from harness.sweep.trials import Trial, Trials

POLL_SECONDS = 0.5


@dataclass
class Sweep:
    """One process's part in a sweep."""

    studies: Sequence[Trials]
    engine: Engine
    job: Job
    """Without tasks: what the jobs of all trials share."""
    presence: Presence
    lock: Path
    """Held while trials are entered or claimed."""
    should_stop: Callable[[], bool]
    """Once it says so nothing more is started; what runs is expected to stop at a checkpoint."""
    changed: Callable[[Trials, Sequence[Trial]], None]
    """Told a study's trials whenever one was claimed or settled."""
    settled: Callable[[str], None]
    """Told the pretraining of a trial whose result was there already."""

    def __post_init__(self) -> None:
        self.store = Store(self.job.store)
        self.running: dict[Handle, tuple[Trials, Trial]] = {}
        self.not_before: dict[str, float] = {}  # by pretraining that another process has: when to try again

    def run(self) -> bool:
        """Go on until every study's budget is spent; False if stopped before.

        Raises:
            StoreError: the disk refused.
            WorkersLost: the engine can start no worker.
            SweepError: a dataset went missing, or a sampler proposes nothing possible.
        """
        try:
            while not self.should_stop():
                self._collect()
                if self._start():
                    continue
                if not self.running and all(study.finished() for study in self.studies):
                    return True
                deadline = time.monotonic() + POLL_SECONDS  # others are at work, or ours
                while not self._collect() and time.monotonic() < deadline:
                    time.sleep(TICK_SECONDS)
            while self.running:
                if not self._collect():
                    time.sleep(TICK_SECONDS)
            return all(study.finished() for study in self.studies)
        finally:
            for study, trial in self.running.values():
                study.claim(trial, "")

    def _collect(self) -> bool:
        """Settle the trials whose cells have ended, in the order of their numbers; whether there was any."""
        polled = {handle: handle.poll() for handle in self.running}  # a StoreError ends the sweep
        ended = {handle: endings for handle, endings in polled.items() if endings is not None}
        for handle in sorted(ended, key=lambda handle: self.running[handle][1].index):
            study, trial = self.running.pop(handle)
            outcome = ended[handle][trial.pretraining_id]
            if outcome.state in ("interrupted", "running elsewhere"):
                self.not_before[trial.pretraining_id] = time.monotonic() + engines.POLL_SECONDS
                study.claim(trial, "")
            elif outcome.state == "missing data":
                study.claim(trial, "")
                raise SweepError(outcome.message)
            else:
                study.settle(trial, read_cell(self.store, trial.cell), outcome.message)
            self.changed(study, study.all())
        return bool(ended)

    def _start(self) -> bool:
        """Give the free slots work; whether there was any."""
        began = False
        while len(self.running) < self.engine.width and not self.should_stop():
            found = self._claim()
            if found is None:
                break
            study, trial = found
            began = True
            result = self._stored(study, trial)
            if result is not None:
                self.settled(trial.pretraining_id)
                study.settle(trial, result)
                self.changed(study, study.all())
                continue
            self.changed(study, study.all())
            self.running[self.engine.submit(self.job.of(self._task(study, trial)))] = study, trial
        return began

    def _claim(self) -> tuple[Trials, Trial] | None:
        """The next trial of the row that has had the fewest, marked as ours; None if there is nothing to do now."""
        busy = {trial.pretraining_id for _, trial in self.running.values()}
        busy |= {id_ for id_, when in self.not_before.items() if when > time.monotonic()}
        with filelock.FileLock(self.lock):
            known = [(study, study.within_budget()) for study in self.studies]
            for study, trials in sorted(known, key=lambda pair: _begun(pair[1])):
                nothing_left = not any(self._free(trial) for trial in trials)
                if study.to_enter(trials) and (nothing_left or not study.spec.asynchronous):
                    study.enter(trials)
                    trials = study.within_budget()
                free = [trial for trial in trials if self._free(trial) and trial.pretraining_id not in busy]
                if free:
                    study.claim(free[0], self.presence.token)
                    return study, free[0]
        return None

    def _free(self, trial: Trial) -> bool:
        """Whether nobody is at work on it."""
        if trial.ended or any(trial.row is t.row and trial.index == t.index for _, t in self.running.values()):
            return False
        return not trial.owner or trial.owner == self.presence.token or not self.presence.alive(trial.owner)

    def _stored(self, study: Trials, trial: Trial) -> CellResult | None:
        """The result that makes a run needless: one with all that is asked, or with the metric at least where a stage
        failed. One that was given up counts where trials are; a failure, where a trial of this study has failed by
        it."""
        result = read_cell(self.store, trial.cell)
        if result is None or result.status == "unfinished":
            return None
        if result.status == "done" or study.spec.metric in result.metrics:
            return result
        if result.status == "pruned":
            return result if study.prunes else None
        return result if any(t.state == "failed" and t.cell_id == trial.cell_id for t in study.all()) else None

    def _task(self, study: Trials, trial: Trial) -> Task:
        cell, name = trial.cell, study.study.study_name
        others = [other.frozen for other in study.all()] if study.prunes else []
        rule = prune_rule(study.spec, cell, name, trial.index, others) if study.prunes else None
        return Task(cells=(cell,), label=trial.label, prune=rule).again(self.store, self.job.code)


def _begun(trials: Sequence[Trial]) -> int:
    """How many trials of a row are settled or under way."""
    return sum(trial.ended or bool(trial.owner) for trial in trials)
