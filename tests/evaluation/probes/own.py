"""A probe as a user writes one: no accuracy, in another unit, and the lower the better."""

from __future__ import annotations

from pydantic import PositiveFloat

from harness.evaluation.probes import Answer, Metric, ProbeEntry
from harness.spec.identity import Frozen


class LogLossSettings(Frozen):
    c: PositiveFloat = 1.0
    """Inverse strength of the L2 penalty."""


def run(settings, encoder, train, scored, seed):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    model = LogisticRegression(C=settings.c, max_iter=200).fit(train.features().cpu().numpy(), train.labels.numpy())
    given = model.predict_proba(scored.features().cpu().numpy())
    return Answer(values={"nll": log_loss(scored.labels.numpy(), given, labels=range(len(scored.classes)))})


PROBE = ProbeEntry(
    name="log_loss",
    summary="log loss of a logistic regression",
    settings=LogLossSettings,
    metrics=lambda settings, classes: (Metric("nll", "log loss", "nats", higher_is_better=False),),
    run=run,
)
