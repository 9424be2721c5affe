"""What a sweep's trials are stopped early by: the readings of a cell's curve, and the rule that goes with its job.
Decides nothing: `harness.engines.pruning` does, where the trial runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from harness.engines.pruning import EarlierTrial, PruneRule
from harness.spec.models import Cell
from harness.store.records import CurvePoint
from harness.suite.search import SweepSpec
from harness.sweep.rows import curve_of


def readings(cell: Cell, curve: Sequence[CurvePoint]) -> dict[int, float]:
    """By epoch, the accuracies on a curve."""
    read = curve_of(cell)
    return {point.epoch: point.values[read[0]] for point in curve if read and read[0] in point.values}


def prune_rule(spec: SweepSpec, cell: Cell, study: str, index: int, trials: Sequence[FrozenTrial]) -> PruneRule | None:
    """The rule for the trial at `index` of a study; None where the suite prunes nothing.

    Args:
        trials: the study's, in order. Only those before this one count: later ones may have ended by now, or not.
    """
    if spec.pruner == "none":
        return None
    read = curve_of(cell)
    assert read is not None, "a sweep that prunes is refused where there is no such monitor"
    assert cell.training is not None, "what is not trained has no curve"
    name, monitor = read
    return PruneRule(
        pruner=spec.pruner,
        reading=name,
        every_epochs=monitor.every_epochs,
        epochs=cell.training.epochs,
        study=study,
        before=tuple(_earlier(trial) for trial in trials[:index]),
    )


def _earlier(trial: FrozenTrial) -> EarlierTrial:
    if not trial.state.is_finished():
        return EarlierTrial(state="running")
    read = {epoch: value for epoch, value in trial.intermediate_values.items() if math.isfinite(value)}
    return EarlierTrial.model_validate({"state": trial.state.name.lower(), "value": trial.value, "readings": read})
