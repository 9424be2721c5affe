"""Whether a trial is worth going on with, by its k-NN curve. Owns the pruners and what they compare with.

A trial is compared with the trials that had ended when it was chosen, and with no other: with synchronous batches the
verdict is the same whatever runs beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.spec.models import Cell
from harness.store.records import CurvePoint
from harness.suite.search import SweepSpec
from harness.sweep.rows import curve_of

REDUCTION = 3  # one of so many goes on from rung to rung
MEDIAN_STARTUP = 4  # trials that must have ended before a median means something


def readings(cell: Cell, curve: Sequence[CurvePoint]) -> dict[int, float]:
    """By epoch, the accuracies on a curve."""
    read = curve_of(cell)
    return {point.epoch: point.values[read[0]] for point in curve if read and read[0] in point.values}


def pruner(spec: SweepSpec, every: int, epochs: int) -> BasePruner:
    """As the suite wants it, in units of epochs.

    Args:
        every: epochs from one reading to the next.
        epochs: of a whole training.
    """
    if spec.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=MEDIAN_STARTUP)
    if spec.pruner == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=every, reduction_factor=REDUCTION)
    if spec.pruner == "hyperband":
        last = max(every, epochs)
        return optuna.pruners.HyperbandPruner(min_resource=every, max_resource=last, reduction_factor=REDUCTION)
    return optuna.pruners.NopPruner()


class Judge:
    """`give_up` of one trial's task."""

    def __init__(self, spec: SweepSpec, cell: Cell, study: str, index: int, before: Sequence[FrozenTrial]) -> None:
        """
        Args:
            before: the study's trials, in order; those that have ended are compared with.
        """
        read = curve_of(cell)
        assert read is not None, "a sweep that prunes is refused where there is no such monitor"
        assert cell.training is not None, "what is not trained has no curve"
        self._name, monitor = read
        self._pruner = pruner(spec, monitor.every_epochs, cell.training.epochs)
        self._memory = InMemoryStorage()
        # Hyperband tells brackets apart by the study's name and the trial's number
        self._study = optuna.create_study(storage=self._memory, study_name=study, direction="maximize")
        for trial in before[:index]:
            self._replay(trial)
        self._trial = self._add()

    def __call__(self, point: CurvePoint) -> bool:
        """Whether to give up at this point; points without an accuracy decide nothing."""
        value = point.values.get(self._name)
        return value is not None and self._reached(self._trial, point.epoch, value)

    def _add(self) -> int:
        study_id = self._memory.get_study_id_from_name(self._study.study_name)
        return self._memory.create_new_trial(study_id, create_trial(state=TrialState.RUNNING))

    def _replay(self, trial: FrozenTrial) -> None:
        """Climb the rungs that the trial has climbed: successive halving counts who was there."""
        copied = self._add()
        if not trial.state.is_finished():
            return
        for epoch, value in sorted(trial.intermediate_values.items()):
            self._reached(copied, epoch, value)
        self._memory.set_trial_state_values(copied, trial.state, None if trial.value is None else [trial.value])

    def _reached(self, trial: int, epoch: int, value: float) -> bool:
        self._memory.set_trial_intermediate_value(trial, epoch, value)
        return math.isfinite(value) and self._pruner.prune(self._study, self._memory.get_trial(trial))
