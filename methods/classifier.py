"""The module of the `supervised` control. Owns its one layer; the loss is in `losses/`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.entry import Settings
from methods.losses import supervised_loss
from methods.method import Method


class Classifier(Method):
    """A linear classifier on the encoder; every view of an image has its label. The encoder runs once a view."""

    def __init__(self, settings: Settings, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__(encoder)
        self.classifier = nn.Linear(features, classes)

    def loss(self, views: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        logits = self.classifier(self.encode_views(self.encoder, views))
        return supervised_loss(logits, labels)
