"""Multinomial logistic regression by L-BFGS (scikit-learn), a second linear probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import PositiveFloat, PositiveInt

from harness.evaluation.probes import Answer, Metric, ProbeEntry
from harness.spec.identity import Frozen

if TYPE_CHECKING:
    from harness.evaluation.split import Split


class LbfgsSettings(Frozen):
    """Of scikit-learn's LogisticRegression."""

    c: PositiveFloat = 1.0
    """Inverse strength of the L2 penalty."""
    max_iterations: PositiveInt = 1000


def metrics(settings: LbfgsSettings, classes: int | None) -> tuple[Metric, ...]:
    return (Metric("top1", "L-BFGS top-1"),)


def run(settings: LbfgsSettings, encoder: Any, train: Split, scored: Split, seed: int) -> Answer:
    """With `converged` and `iterations` among the details."""
    from harness.evaluation.lbfgs import lbfgs_predict

    fitted = lbfgs_predict(train.features(), train.labels, scored.features(), settings)
    hits = {"top1": fitted.predictions == scored.labels}
    return Answer(hits, details={"converged": fitted.converged, "iterations": fitted.iterations})


PROBE = ProbeEntry(
    name="lbfgs",
    summary="multinomial logistic regression by L-BFGS",
    settings=LbfgsSettings,
    metrics=metrics,
    run=run,
)
