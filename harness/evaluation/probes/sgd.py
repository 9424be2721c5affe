"""Linear probe on images: one layer on the frozen encoder, trained by SGD on random crops and flips."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from harness.evaluation.accuracy import top_hits, top_metrics
from harness.evaluation.probes import Answer, ProbeEntry
from harness.spec.identity import Frozen
from harness.spec.models import NonNegative, Probability

if TYPE_CHECKING:
    from harness.evaluation.split import PrivateEncoder, Split


class SgdSettings(Frozen):
    """The linear protocol of ImageNet with VICReg's numbers (arXiv 2105.04906 and its released code)."""

    epochs: PositiveInt = 100
    batch_size: PositiveInt = 256
    lr: PositiveFloat = 0.02
    """Of the layer, at the first step; along half a cosine to 0."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    weight_decay: NonNegative = 1e-6
    crop_scale: tuple[Probability, Probability] = (0.08, 1.0)
    """Range of a crop's share of the image area."""
    flip_probability: Probability = 0.5


def run(settings: SgdSettings, encoder: Callable[[], PrivateEncoder], train: Split, scored: Split, seed: int) -> Answer:
    """`seed` draws the initial weights, the order of images, crops and flips. Raises ValueError where it diverges."""
    from harness.evaluation.sgd import predict, train_on_views

    own = encoder()
    logits = predict(own, train_on_views(settings, own, train, seed), scored)
    return Answer(top_hits(logits, scored.labels.to(logits.device)))


PROBE = ProbeEntry(
    name="sgd",
    summary="one linear layer on the frozen encoder, trained by SGD on random crops and flips",
    settings=SgdSettings,
    metrics=lambda settings, classes: top_metrics("SGD linear", classes),
    run=run,
    draws=True,
    augments=True,
)
