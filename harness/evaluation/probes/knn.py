"""k nearest neighbours: Euclidean on raw features, unweighted majority, a tie goes to the smallest label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from harness.evaluation.probes import Answer, Metric, ProbeEntry
from harness.spec.identity import Frozen

if TYPE_CHECKING:
    from harness.evaluation.split import Split


class KnnSettings(Frozen):
    """How many neighbours vote."""

    k: PositiveInt = 5


def metrics(settings: KnnSettings, classes: int | None) -> tuple[Metric, ...]:
    return (Metric("top1", f"{settings.k}-NN"),)


def run(settings: KnnSettings, encoder: Any, train: Split, scored: Split, seed: int) -> Answer:
    """Raises ValueError where k exceeds the training images."""
    from harness.evaluation.knn import knn_predict

    features = train.features()
    predictions = knn_predict(features, train.labels.to(features.device), scored.features(), settings.k)
    return Answer({"top1": predictions == scored.labels.to(features.device)})


PROBE = ProbeEntry(
    name="knn",
    summary="k nearest neighbours on raw features",
    settings=KnnSettings,
    metrics=metrics,
    run=run,
    needed_images=lambda settings: settings.k,
    called=lambda settings: f"knn{settings.k}",
)
