"""The module of the `supervised` control. Owns its one layer; the loss is in `losses/`."""

from __future__ import annotations

from torch import Tensor, nn

from methods.entry import Settings
from methods.losses import supervised_loss
from methods.method import Batch, Method, Step


class Classifier(Method):
    """A linear classifier on the encoder; every view of an image has its label. The encoder runs once a view."""

    def __init__(self, settings: Settings, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__(encoder)
        self.classifier = nn.Linear(features, classes)

    def loss(self, batch: Batch, step: Step) -> Tensor:
        return supervised_loss(self.classifier(step.features(self.encoder, batch)), batch.labels)
