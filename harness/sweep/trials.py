"""A trial is a cell: one row's study as a list of points, each with its cell, its state and its value. Owns how trials
are entered, claimed and settled; runs none.

In Optuna's storage a trial that failed is `PRUNED` without a reading, the only way of telling a sampler "worse than all
others" without inventing a number; its `ending` says what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.spec.models import Cell
from harness.store.cell_result import CellResult
from harness.suite.search import SweepSpec
from harness.sweep.pruning import readings
from harness.sweep.rows import Row
from harness.sweep.sampling import grid_points, propose

State = Literal["running", "done", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One point of one row."""

    row: Row
    frozen: FrozenTrial

    @property
    def index(self) -> int:
        """Its number in the study, from 0."""
        return int(self.frozen.user_attrs["index"])

    @property
    def values(self) -> dict[str, Any]:
        """Setting -> value."""
        return cast(dict[str, Any], self.frozen.user_attrs["values"])

    @property
    def cell_id(self) -> str:
        """Tells its cell apart from all others."""
        return str(self.frozen.user_attrs["cell"])

    @property
    def pretraining_id(self) -> str:
        """What users know its cell by: the name of its directory."""
        return str(self.frozen.user_attrs["pretraining"])

    @property
    def cell(self) -> Cell:
        return self.row.trial(self.values)

    @property
    def label(self) -> str:
        """For progress."""
        return f"{self.row.title}, trial {self.index}"

    @property
    def ended(self) -> bool:
        return self.frozen.state.is_finished()

    @property
    def state(self) -> State:
        """`running` until it is settled, whether or not a process is at work on it."""
        return cast(State, self._ending["state"]) if self.ended else "running"

    @property
    def value(self) -> float | None:
        """The metric on the validation split; None unless done."""
        return self.frozen.value if self.state == "done" else None

    @property
    def owner(self) -> str:
        """The process that runs it, or ran it last."""
        return str(self.frozen.user_attrs.get("owner", ""))

    @property
    def epochs(self) -> int | None:
        return cast(int | None, self._ending.get("epochs"))

    @property
    def seconds(self) -> float | None:
        """Of training and evaluation; 0 for a repeated point."""
        return cast(float | None, self._ending.get("seconds"))

    @property
    def _ending(self) -> dict[str, Any]:
        return cast(dict[str, Any], self.frozen.user_attrs.get("ending", {}))


class Trials:
    """One row's study."""

    def __init__(self, row: Row, study: optuna.Study, storage: BaseStorage, spec: SweepSpec, budget: int) -> None:
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

    def all(self) -> list[Trial]:
        """Every trial as stored now, in order. One that two machines entered at once counts once."""
        found: dict[int, Trial] = {}
        for frozen in self.study.get_trials(deepcopy=False):
            if "index" in frozen.user_attrs:
                trial = Trial(self.row, frozen)
                if trial.index not in found:
                    found[trial.index] = trial
                elif not trial.ended:
                    with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another machine was as quick
                        self._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
        return [found[index] for index in sorted(found)]

    def within_budget(self) -> list[Trial]:
        """Those of `all` that are to be run: a larger budget may have entered more."""
        return self.all()[: self.budget]

    def finished(self) -> bool:
        """Whether the budget is spent and every trial in it settled."""
        trials = self.within_budget()
        return len(trials) == self.budget and all(trial.ended for trial in trials)

    def to_enter(self, trials: Sequence[Trial]) -> int:
        """How many trials are to be entered now: a batch once all before it are settled, or the rest of one whose
        entering was cut short; one at any time if asynchronous."""
        if self.spec.asynchronous:
            count = 1
        elif len(trials) % self.spec.batch or all(trial.ended for trial in trials):
            count = self.spec.batch - len(trials) % self.spec.batch
        else:
            count = 0
        return max(0, min(count, self.budget - len(trials)))

    def enter(self, trials: Sequence[Trial]) -> None:
        """Enter the next trials, if it is time. Call it with the sweep's lock held."""
        count = self.to_enter(trials)
        if not count:
            return
        system = self._storage.get_study_system_attrs(self._id)
        before = [trial.frozen for trial in trials]
        new, kept = propose(self.spec, self.row, self.study.study_name, before, count, system)
        for key, value in kept.items():
            if system.get(key) != value:
                self._storage.set_study_system_attr(self._id, key, value)
        self.study.add_trials(new)

    def claim(self, trial: Trial, token: str) -> None:
        """Note which process runs a trial; the empty token gives it back. One that has ended stays as it is."""
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._set(trial, "owner", token)

    def settle(self, trial: Trial, result: CellResult | None, message: str = "") -> None:
        """Tell the study how a trial's cell ended. One that another process has settled meanwhile stays as it is.

        Args:
            result: as stored; None where the cell could not even leave one, for the reason in `message`.
        """
        value = result.metrics.get(self.spec.metric) if result else None
        outcome = "done" if value is not None else "pruned" if result and result.status == "pruned" else "failed"
        repeated = any(t.cell_id == trial.cell_id and t.index < trial.index for t in self.all())
        ending = {"state": outcome, **_facts(result, repeated), **({"message": message} if message else {})}
        try:
            self._set(trial, "ending", ending)
            for epoch, reading in readings(trial.cell, result.curves if result else ()).items():
                if outcome != "failed":
                    self._storage.set_trial_intermediate_value(trial.frozen._trial_id, epoch, reading)
            state = TrialState.COMPLETE if value is not None else TrialState.PRUNED
            self.study.tell(trial.frozen.number, value, state=state, skip_if_finished=True)
        except optuna.exceptions.UpdateFinishedTrialError:
            return

    def _set(self, trial: Trial, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(trial.frozen._trial_id, name, value)


def _facts(result: CellResult | None, repeated: bool) -> dict[str, Any]:
    """What a trial cost."""
    if result is None:
        return {}
    cost, curves = result.cost, result.curves
    if cost is not None:
        epochs = result.cell.training.epochs if result.cell.training else None
        seconds = cost.train_seconds + cost.evaluation_seconds
    else:
        epochs = curves[-1].epoch if curves else 0
        seconds = (curves[-1].seconds or 0.0) if curves else 0.0
    return {"epochs": epochs, "seconds": 0.0 if repeated else seconds}
