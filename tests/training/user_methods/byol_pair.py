"""BYOL with its asymmetric pair of augmentations (arXiv 2006.07733, table 6): one view of each of two groups."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.entry import MethodEntry, Settings
from methods.method import Batch, Loss, Method, ParameterGroup, Step
from methods.parts import mlp, momentum_copy, move_towards


class ByolPairSettings(Settings):
    hidden: int = 1024
    dimensions: int = 64
    momentum: float = 0.99
    predictor_lr: float = 10.0
    """As a multiple of the encoder's."""


class ByolPair(Method):
    def __init__(self, settings: ByolPairSettings, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.head = mlp((features, settings.hidden, settings.dimensions))
        self.predictor = mlp((settings.dimensions, settings.hidden, settings.dimensions))
        self.target_encoder, self.target_head = momentum_copy(encoder), momentum_copy(self.head)

    def loss(self, batch: Batch, step: Step) -> Loss:
        weak, strong = batch.views  # (1, N, C, S, S) each: they differ in blur and solarise
        p = [self.predictor(self.head(step.encode(self.encoder, view)[0])) for view in (weak, strong)]
        with torch.no_grad():
            t = [self.target_head(step.encode(self.target_encoder, view)[0]) for view in (weak, strong)]
        from_weak, from_strong = (
            2 - 2 * F.cosine_similarity(ours.float(), theirs.float()).mean()
            for ours, theirs in zip(p, t[::-1], strict=True)
        )
        return Loss(from_weak + from_strong, {"from_weak": from_weak, "from_strong": from_strong})

    def after_step(self, step: Step) -> None:
        tau = 1 - (1 - self.settings.momentum) * (math.cos(math.pi * step.epoch / step.epochs) + 1) / 2
        with torch.no_grad():
            for slow, fast in ((self.target_encoder, self.encoder), (self.target_head, self.head)):
                move_towards(list(slow.parameters()), list(fast.parameters()), tau)

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(self.predictor.parameters(), lr_scale=self.settings.predictor_lr, constant_lr=True)]

    def embed(self, features: Tensor) -> Tensor:
        v: Tensor = self.head(features)
        return v.float()


METHOD = MethodEntry(
    name="byol_pair",
    summary="BYOL on a pair of views with two augmentations",
    source="Grill et al., arXiv 2006.07733, equations 1 and 2, table 6",
    settings=ByolPairSettings,
    build=ByolPair,
)
