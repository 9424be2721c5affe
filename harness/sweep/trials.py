"""One row's Optuna study, whose trials are cells. Owns how trials are added, claimed and settled; runs none.

A trial is `WAITING` until a process claims it and `RUNNING` until it is settled. One that failed is stored as `PRUNED`
without a reading, Optuna's only way of telling a sampler "worse than all others" without inventing a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.spec.models import Cell
from harness.store.cell_result import CellResult
from harness.suite.search import SweepSpec
from harness.sweep.pruning import curve_readings
from harness.sweep.rows import SweepRow
from harness.sweep.sampling import grid_points, propose

Outcome = Literal["waiting", "running", "done", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One point of one row."""

    row: SweepRow
    frozen: FrozenTrial

    @property
    def index(self) -> int:
        """Its number in the row's search, from 0."""
        return cast(int, self.frozen.user_attrs["index"])

    @property
    def values(self) -> dict[str, Any]:
        """Setting -> value."""
        return self.frozen.params

    @property
    def cell_id(self) -> str:
        """Of its cell: pretraining, evaluations and monitors together."""
        return cast(str, self.frozen.user_attrs["cell"])

    @property
    def pretraining_id(self) -> str:
        """What users know its cell by: the name of its directory."""
        return cast(str, self.frozen.user_attrs["pretraining"])

    @property
    def cell(self) -> Cell:
        return self.row.trial(self.values)

    @property
    def ended(self) -> bool:
        return self.frozen.state.is_finished()

    @property
    def outcome(self) -> Outcome:
        """Where it stands, or how it ended."""
        return cast(Outcome, self.frozen.user_attrs["outcome"] if self.ended else self.frozen.state.name.lower())

    @property
    def value(self) -> float | None:
        """The metric on the validation split; None unless done."""
        return self.frozen.value if self.outcome == "done" else None

    @property
    def owner(self) -> str:
        """The process that claimed it last."""
        return str(self.frozen.user_attrs.get("owner", ""))

    @property
    def epochs(self) -> int | None:
        return self.frozen.user_attrs.get("epochs")

    @property
    def seconds(self) -> float | None:
        """Of training and evaluation; 0 for a repeated point."""
        return self.frozen.user_attrs.get("seconds")


@dataclass(frozen=True)
class StudyResult:
    """A row's trials at one moment."""

    row: SweepRow
    trials: Sequence[Trial]
    budget: int
    study: optuna.Study

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(trial.ended for trial in self.trials)

    @property
    def best(self) -> Trial | None:
        """The trial with the best value, the first of equals; None where none is done."""
        done = [trial for trial in self.trials if trial.value is not None]
        return max(done, key=lambda trial: self.row.metric.sign * (trial.value or 0.0), default=None)

    def count(self, outcome: Outcome) -> int:
        """How many trials stand, or have ended, so."""
        return sum(trial.outcome == outcome for trial in self.trials)


class RowStudy:
    """One row's study in a storage."""

    def __init__(self, row: SweepRow, study: optuna.Study, storage: BaseStorage, spec: SweepSpec, budget: int) -> None:
        self.row, self.study, self.spec = row, study, spec
        self.budget = budget
        if spec.sampler == "grid":
            self.budget = min(budget, len(grid_points(spec, row, study.study_name)))
        self._storage = storage
        self._id = storage.get_study_id_from_name(study.study_name)

    @property
    def prunes(self) -> bool:
        """Whether unpromising trials are stopped early."""
        return self.spec.pruner != "none" and self.row.prune

    def trials(self) -> list[Trial]:
        """Every trial as stored now, in order. One that two machines added at once counts once."""
        trials: dict[int, Trial] = {}
        for frozen in self.study.get_trials(deepcopy=False):
            trial = Trial(self.row, frozen)
            if trials.setdefault(trial.index, trial) is not trial and not trial.ended:
                with suppress(UpdateFinishedTrialError):  # another machine was as quick
                    self._storage.set_trial_state_values(self._trial_id(trial), TrialState.FAIL)
        return [trials[index] for index in sorted(trials)]

    def result(self) -> StudyResult:
        """The trials as stored now."""
        return StudyResult(self.row, self.trials(), self.budget, self.study)

    def within_budget(self) -> list[Trial]:
        """The trials to be run: a larger budget may have added more."""
        return self.trials()[: self.budget]

    def finished(self) -> bool:
        """Whether the budget is spent and every trial in it settled."""
        trials = self.within_budget()
        return len(trials) == self.budget and all(trial.ended for trial in trials)

    def trials_to_add(self, trials: Sequence[Trial]) -> int:
        """How many to add now: a batch once all before it are settled, or the rest of one whose adding was cut short;
        one at any time if asynchronous."""
        if self.spec.asynchronous:
            count = 1
        elif len(trials) % self.spec.batch or all(trial.ended for trial in trials):
            count = self.spec.batch - len(trials) % self.spec.batch
        else:
            count = 0
        return max(0, min(count, self.budget - len(trials)))

    def add_trials(self, trials: Sequence[Trial]) -> None:
        """Add the next trials, if it is time. Call it with the sweep's lock held."""
        count = self.trials_to_add(trials)
        if not count:
            return
        system = self._storage.get_study_system_attrs(self._id)
        before = [trial.frozen for trial in trials]
        new, noted = propose(self.spec, self.row, self.study.study_name, before, count, system)
        for key, value in noted.items():
            if system.get(key) != value:
                self._storage.set_study_system_attr(self._id, key, value)
        self.study.add_trials(new)

    def claim(self, trial: Trial, process: str) -> bool:
        """Note that a process runs a trial; False if another was quicker. Call it with the sweep's lock held."""
        trial_id = self._trial_id(trial)
        try:
            if trial.outcome == "running":  # its process has died
                self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
            if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return False
            self._storage.set_trial_user_attr(trial_id, "owner", process)
        except UpdateFinishedTrialError:
            return False
        return True

    def release(self, trial: Trial) -> None:
        """Give a claimed trial back. One that has ended stays as it is."""
        with suppress(UpdateFinishedTrialError):
            self._storage.set_trial_state_values(self._trial_id(trial), TrialState.WAITING)

    def settle(self, trial: Trial, result: CellResult | None, message: str = "") -> None:
        """Store how a trial's cell ended. One that another process has settled meanwhile stays as it is.

        Args:
            result: as stored; None where the cell could not even leave one, for the reason in `message`.
        """
        value = result.metrics.get(self.spec.metric) if result else None
        outcome = "done" if value is not None else "pruned" if result and result.status == "pruned" else "failed"
        repeated = any(t.cell_id == trial.cell_id and t.index < trial.index for t in self.trials())
        attributes = {"outcome": outcome, **_cost(result, repeated), **({"message": message} if message else {})}
        trial_id = self._trial_id(trial)
        with suppress(UpdateFinishedTrialError):
            for name, attribute in attributes.items():
                self._storage.set_trial_user_attr(trial_id, name, attribute)
            readings = curve_readings(trial.cell, result.curves) if result and outcome != "failed" else {}
            for epoch, reading in readings.items():
                self._storage.set_trial_intermediate_value(trial_id, epoch, reading)
            state = TrialState.PRUNED if value is None else TrialState.COMPLETE
            self._storage.set_trial_state_values(trial_id, state, None if value is None else [value])

    def _trial_id(self, trial: Trial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.frozen.number)


def _cost(result: CellResult | None, repeated: bool) -> dict[str, Any]:
    """Epochs and seconds of a trial."""
    if result is None:
        return {}
    if result.cost is not None:
        epochs = result.cell.training.epochs if result.cell.training else None
        seconds = result.cost.train_seconds + result.cost.evaluation_seconds
    else:
        last = result.curves[-1] if result.curves else None
        epochs, seconds = (last.epoch, last.seconds or 0.0) if last else (0, 0.0)
    return {"epochs": epochs, "seconds": 0.0 if repeated else seconds}
