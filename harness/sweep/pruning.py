"""What a sweep's trials are stopped early by: the readings of a cell's curve, and the rule that goes with its job.
`harness.engines.pruning` decides by it, where the trial runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from harness.engines.pruning import EarlierTrial, PruneRule
from harness.spec.models import Cell
from harness.store.records import CurvePoint
from harness.suite.search import SweepSpec
from harness.sweep.rows import pruning_monitor


def curve_readings(cell: Cell, curve: Sequence[CurvePoint]) -> dict[int, float]:
    """By epoch, the accuracies on a curve that pruning reads."""
    monitor = pruning_monitor(cell)
    return {point.epoch: point.values[monitor[0]] for point in curve if monitor and monitor[0] in point.values}


def prune_rule(spec: SweepSpec, cell: Cell, study: str, index: int, trials: Sequence[FrozenTrial]) -> PruneRule | None:
    """The rule for the trial at `index` of a study; None where the suite prunes nothing.

    Args:
        trials: the study's, in order. Only those before this one count: later ones may have ended by now, or not.
    """
    if spec.pruner == "none":
        return None
    monitored = pruning_monitor(cell)
    assert monitored is not None, "a sweep that prunes is refused where there is no such monitor"
    assert cell.training is not None, "what is not trained has no curve"
    reading, monitor = monitored
    return PruneRule(
        pruner=spec.pruner,
        reading=reading,
        every_epochs=monitor.every_epochs,
        epochs=cell.training.epochs,
        study=study,
        before=tuple(_earlier(trial) for trial in trials[:index]),
    )


def _earlier(trial: FrozenTrial) -> EarlierTrial:
    if not trial.state.is_finished():
        return EarlierTrial(state="running")
    readings = {epoch: value for epoch, value in trial.intermediate_values.items() if math.isfinite(value)}
    return EarlierTrial.model_validate({"state": trial.state.name.lower(), "value": trial.value, "readings": readings})
