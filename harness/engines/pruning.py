"""Whether a training is worth going on with, by its monitor's curve: the rule as data, and what decides by it. Owns the
pruners and whom they compare with; decides where the training runs.

A trial is compared with the trials that had ended when it was chosen, and with no other: with synchronous batches the
decision is the same whatever runs beside it, and wherever.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from harness.spec.identity import Frozen
from harness.store.records import CurvePoint

if TYPE_CHECKING:  # a worker without a rule needs no Optuna
    from optuna.pruners import BasePruner

REDUCTION = 3  # one of so many goes on from rung to rung
MEDIAN_STARTUP = 4  # trials that must have ended before a median means something

PrunerName = Literal["median", "successive_halving", "hyperband"]


class EarlierTrial(Frozen):
    """A trial that was entered before this one."""

    state: Literal["running", "complete", "pruned", "fail"]
    value: float | None = None
    readings: dict[int, float] = Field(default={})
    """Accuracy by epoch."""


class PruneRule(Frozen):
    """When to give up a training."""

    pruner: PrunerName
    reading: str
    """What is compared: the name of a value on the curve, such as `knn5_top1`."""
    every_epochs: PositiveInt
    """From one reading to the next."""
    epochs: PositiveInt
    """Of a whole training."""
    study: str
    """Its name: with the trial's number it tells Hyperband's brackets apart."""
    before: tuple[EarlierTrial, ...] = ()
    """The study's trials up to this one, in order; those that have ended are compared with."""


class Pruner:
    """A rule at work on one training: asked at each point of its curve whether to give up."""

    def __init__(self, rule: PruneRule) -> None:
        import optuna
        from optuna.storages import InMemoryStorage

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._reading = rule.reading
        self._pruner = _pruner(rule)
        self._memory = InMemoryStorage()
        self._study = optuna.create_study(storage=self._memory, study_name=rule.study, direction="maximize")
        for trial in rule.before:
            self._replay(trial)
        self._trial = self._add()

    def __call__(self, point: CurvePoint) -> bool:
        """Whether to give up at this point; points without the reading decide nothing."""
        value = point.values.get(self._reading)
        return value is not None and self._reached(self._trial, point.epoch, value)

    def _add(self) -> int:
        from optuna.trial import TrialState, create_trial

        study_id = self._memory.get_study_id_from_name(self._study.study_name)
        return self._memory.create_new_trial(study_id, create_trial(state=TrialState.RUNNING))

    def _replay(self, trial: EarlierTrial) -> None:
        """Climb the rungs that the trial has climbed: successive halving counts who was there."""
        from optuna.trial import TrialState

        copied = self._add()
        if trial.state == "running":
            return
        for epoch, value in sorted(trial.readings.items()):
            self._reached(copied, epoch, value)
        state = TrialState[trial.state.upper()]
        self._memory.set_trial_state_values(copied, state, None if trial.value is None else [trial.value])

    def _reached(self, trial: int, epoch: int, value: float) -> bool:
        self._memory.set_trial_intermediate_value(trial, epoch, value)
        return math.isfinite(value) and self._pruner.prune(self._study, self._memory.get_trial(trial))


def _pruner(rule: PruneRule) -> BasePruner:
    """Optuna's, in units of epochs."""
    from optuna import pruners

    every = rule.every_epochs
    if rule.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=MEDIAN_STARTUP)
    if rule.pruner == "successive_halving":
        return pruners.SuccessiveHalvingPruner(min_resource=every, reduction_factor=REDUCTION)
    return pruners.HyperbandPruner(min_resource=every, max_resource=max(every, rule.epochs), reduction_factor=REDUCTION)
