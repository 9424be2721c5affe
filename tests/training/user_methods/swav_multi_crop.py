"""SwAV with multi-crop (arXiv 2006.09882): codes of the large views, predicted from every other view, large or small.
The prototypes get no gradient in the first steps, as in the authors' code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.entry import MethodEntry, Settings
from methods.method import Batch, Method, ParameterGroup, Step
from methods.parts import mlp, over_views


class SwavSettings(Settings):
    dimensions: int = 128
    prototypes: int = 300
    temperature: float = 0.1
    epsilon: float = 0.05
    sinkhorn_iterations: int = 3
    frozen_steps: int = 313


class Swav(Method):
    def __init__(self, settings: SwavSettings, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.head = mlp((features, features, settings.dimensions))
        self.prototypes = nn.Linear(settings.dimensions, settings.prototypes, bias=False)
        self.normalise_prototypes()

    def loss(self, batch: Batch, step: Step) -> Tensor:
        h = step.features(self.encoder, batch)  # (d, N, F): large views, then small ones
        z = F.normalize(over_views(self.head, h, "all_views").float(), dim=-1)
        frozen = step.index < self.settings.frozen_steps
        weight = self.prototypes.weight.detach() if frozen else self.prototypes.weight
        scores = (z @ weight.T).float()  # (d, N, K)
        codes = [self.codes(scores[i]) for i in range(len(batch.views[0]))]
        log_p = (scores / self.settings.temperature).log_softmax(-1)
        pairs = [-(q * log_p[v]).sum(-1).mean() for i, q in enumerate(codes) for v in range(len(log_p)) if v != i]
        return torch.stack(pairs).mean()

    @torch.no_grad()
    def codes(self, scores: Tensor) -> Tensor:
        """Sinkhorn's algorithm: each prototype takes an equal share of the batch."""
        q = (scores / self.settings.epsilon).exp()
        for _ in range(self.settings.sinkhorn_iterations):
            q = q / q.sum(0, keepdim=True)
            q = q / q.sum(1, keepdim=True)
        return q

    def after_step(self, step: Step) -> None:
        self.normalise_prototypes()

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(self.prototypes.parameters(), decay=False)]


METHOD = MethodEntry(
    name="swav_multi_crop",
    summary="SwAV: swapped prediction of cluster codes, over crops of two sizes",
    source="Caron et al., arXiv 2006.09882, equations 2 to 6",
    settings=SwavSettings,
    build=Swav,
    silent=("prototypes.*",),
)
