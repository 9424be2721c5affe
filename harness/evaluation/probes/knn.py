"""k nearest neighbours: Euclidean on raw features, unweighted majority, a tie goes to the smallest label."""

from __future__ import annotations

from pydantic import PositiveInt

from harness.evaluation.probes import Answer, Labelled, Metric, ProbeEntry
from harness.spec.identity import Frozen


class KnnSettings(Frozen):
    """How many neighbours vote."""

    k: PositiveInt = 5


def metrics(settings: KnnSettings, classes: int | None) -> tuple[Metric, ...]:
    return (Metric("top1", f"{settings.k}-NN %"),)


def run(settings: KnnSettings, train: Labelled, scored: Labelled, classes: int, seed: int) -> Answer:
    """Raises ValueError where k exceeds the training images."""
    from harness.evaluation.knn import knn_predict

    device = train.features.device
    predictions = knn_predict(train.features, train.labels.to(device), scored.features, settings.k)
    return Answer({"top1": predictions == scored.labels.to(device)})


PROBE = ProbeEntry(
    name="knn",
    summary="k nearest neighbours on raw features",
    settings=KnnSettings,
    metrics=metrics,
    run=run,
    needed_images=lambda settings: settings.k,
)
