"""Pretraining that goes on from given weights (`backbone.weights`): the views of an image agree, and their features
stay near those of the encoder as it was given, of which a frozen copy is kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.entry import MethodEntry, Settings
from methods.method import Batch, Loss, Method, Step
from methods.parts import momentum_copy


class ContinuedSettings(Settings):
    stay: float = 1.0
    """Weight of staying near the given encoder."""


class Continued(Method):
    def __init__(self, settings: ContinuedSettings, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.given = momentum_copy(encoder)

    def loss(self, batch: Batch, step: Step) -> Loss:
        h = F.normalize(step.features(self.encoder, batch).float(), dim=-1)  # (d, N, F)
        with torch.no_grad():
            before = F.normalize(step.features(self.given, batch).float(), dim=-1)
        agree = 2 - 2 * (h[0] * h[1]).sum(-1).mean()
        stay = self.settings.stay * (h - before).square().sum(-1).mean()
        return Loss(agree + stay, {"agree": agree, "stay": stay})

    def embed(self, features: Tensor) -> Tensor:
        return features.float()


METHOD = MethodEntry(
    name="continued",
    summary="two views agree, and stay near the encoder that training began with",
    source="this test",
    settings=ContinuedSettings,
    build=Continued,
    needs_weights=True,
)
