"""The loop of a sweep: settle the trials that have ended, add the next ones, keep every slot busy. Runs no cell itself.

The row with the fewest trials comes first, so that a sweep that is cut short has given every method the same. A trial
whose process was killed is taken up again: its stored result is told, or its checkpoint gone on from.
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
from harness.sweep.processes import SweepProcess
from harness.sweep.pruning import prune_rule
from harness.sweep.rows import SweepError
from harness.sweep.trials import RowStudy, Trial

POLL_SECONDS = 0.5


@dataclass
class Sweep:
    """One process's part in a sweep."""

    studies: Sequence[RowStudy]
    engine: Engine
    job: Job
    """Without tasks: what the jobs of all trials share."""
    process: SweepProcess
    lock: Path
    """Held while trials are added or claimed."""
    should_stop: Callable[[], bool]
    """Once it says so nothing more is started; what runs is expected to stop at a checkpoint."""
    on_change: Callable[[RowStudy], None]
    """Called whenever one of a study's trials was claimed, given back or settled."""
    on_stored: Callable[[str], None]
    """Called with the pretraining of a trial whose result was there already."""

    def __post_init__(self) -> None:
        self.store = Store(self.job.store)
        self.running: dict[Handle, tuple[RowStudy, Trial]] = {}
        self.retry_at: dict[str, float] = {}  # by pretraining that another process has

    def run(self) -> bool:
        """Go on until every study's budget is spent; False if stopped before.

        Raises:
            StoreError: the disk refused.
            WorkersLost: the engine can start no worker.
            SweepError: a dataset went missing, or a sampler proposes nothing possible.
        """
        try:
            while not self.should_stop():
                self._settle_ended()
                if self._fill_slots():
                    continue
                if not self.running and all(study.finished() for study in self.studies):
                    return True
                deadline = time.monotonic() + POLL_SECONDS  # others are at work, or ours
                while not self._settle_ended() and time.monotonic() < deadline:
                    time.sleep(TICK_SECONDS)
            while self.running:
                if not self._settle_ended():
                    time.sleep(TICK_SECONDS)
            return all(study.finished() for study in self.studies)
        finally:
            for study, trial in self.running.values():
                study.release(trial)

    def _settle_ended(self) -> bool:
        """Settle the trials whose cells have ended, in the order of their numbers; whether there was any."""
        polled = {handle: handle.poll() for handle in self.running}  # a StoreError ends the sweep
        ended = {handle: outcomes for handle, outcomes in polled.items() if outcomes is not None}
        for handle in sorted(ended, key=lambda handle: self.running[handle][1].index):
            study, trial = self.running.pop(handle)
            outcome = ended[handle][trial.pretraining_id]
            if outcome.state in ("interrupted", "running elsewhere"):
                self.retry_at[trial.pretraining_id] = time.monotonic() + engines.POLL_SECONDS
                study.release(trial)
            elif outcome.state == "missing data":
                study.release(trial)
                raise SweepError(outcome.message)
            else:
                study.settle(trial, read_cell(self.store, trial.cell), outcome.message)
            self.on_change(study)
        return bool(ended)

    def _fill_slots(self) -> bool:
        """Give the free slots work; whether there was any."""
        started = False
        while len(self.running) < self.engine.width and not self.should_stop():
            claimed = self._claim_next()
            if claimed is None:
                break
            study, trial = claimed
            started = True
            result = self._stored_result(study, trial)
            if result is not None:
                self.on_stored(trial.pretraining_id)
                study.settle(trial, result)
            else:
                self.running[self.engine.submit(self.job.of(self._task(study, trial)))] = study, trial
            self.on_change(study)
        return started

    def _claim_next(self) -> tuple[RowStudy, Trial] | None:
        """The next trial of the row that has had the fewest, claimed; None if there is nothing to do now."""
        busy = {trial.pretraining_id for _, trial in self.running.values()}
        busy |= {id_ for id_, when in self.retry_at.items() if when > time.monotonic()}
        with filelock.FileLock(self.lock):
            known = [(study, study.within_budget()) for study in self.studies]
            for study, trials in sorted(known, key=lambda pair: sum(t.outcome != "waiting" for t in pair[1])):
                exhausted = not any(self._unclaimed(trial) for trial in trials)
                if study.trials_to_add(trials) and (exhausted or not study.spec.asynchronous):
                    study.add_trials(trials)
                    trials = study.within_budget()
                for trial in trials:
                    free = trial.pretraining_id not in busy and self._unclaimed(trial)
                    if free and study.claim(trial, self.process.name):
                        return study, trial
        return None

    def _unclaimed(self, trial: Trial) -> bool:
        """Whether no living process is at work on it."""
        if trial.outcome != "running":
            return trial.outcome == "waiting"
        if trial.owner == self.process.name:
            return not any(trial.row is t.row and trial.index == t.index for _, t in self.running.values())
        return not self.process.is_alive(trial.owner)

    def _stored_result(self, study: RowStudy, trial: Trial) -> CellResult | None:
        """The result that makes a run needless: one with all that is asked, or with the metric at least where a stage
        failed; a pruned one where trials are pruned; a failure where a trial of this study has failed by it."""
        result = read_cell(self.store, trial.cell)
        if result is None or result.status == "unfinished":
            return None
        if result.status == "done" or study.spec.metric in result.metrics:
            return result
        if result.status == "pruned":
            return result if study.prunes else None
        return result if any(t.outcome == "failed" and t.cell_id == trial.cell_id for t in study.trials()) else None

    def _task(self, study: RowStudy, trial: Trial) -> Task:
        cell, name = trial.cell, study.study.study_name
        others = [other.frozen for other in study.trials()] if study.prunes else []
        rule = prune_rule(study.spec, cell, name, trial.index, others) if study.prunes else None
        label = f"{trial.row.title}, trial {trial.index}"
        return Task(cells=(cell,), label=label, prune=rule).again(self.store, self.job.code)
