"""Control: the same encoder and augmentation, trained with labels. An upper bound for the probes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.method import Method, MethodEntry, Settings
from methods.parts import full_precision


class SupervisedSettings(Settings):
    """Nothing to choose: one linear layer on the encoder's features."""


@full_precision
def supervised_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (d, N, classes) against labels (N,) int64, averaged over images and views."""
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(logits.shape[0]))


class Supervised(Method):
    """A linear classifier on the encoder; every view of an image has its label. The encoder runs once a view."""

    def __init__(self, settings: SupervisedSettings, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__(encoder)
        self.classifier = nn.Linear(features, classes)

    def loss(self, views: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        logits = self.classifier(self.encode_views(self.encoder, views))
        return supervised_loss(logits, labels)


METHOD = MethodEntry(
    name="supervised",
    summary="cross-entropy with labels: the upper bound",
    source="control: what encoder, augmentation and budget reach when labels are known",
    settings=SupervisedSettings,
    build=Supervised,
    kind="control",
    min_views=1,
)
