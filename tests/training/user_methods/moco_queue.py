"""MoCo v2 on one process (arXiv 1911.05722, 2003.04297): one positive, and a queue of earlier keys as negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.entry import MethodEntry, Settings
from methods.method import Batch, Loss, Method, Step
from methods.parts import mlp, momentum_copy, move_towards


class MocoSettings(Settings):
    dimensions: int = 128
    queue: int = 4096
    temperature: float = 0.2
    momentum: float = 0.999


class Moco(Method):
    queue: Tensor
    oldest: Tensor

    def __init__(self, settings: MocoSettings, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.head = mlp((features, features, settings.dimensions), batch_norm=False)
        self.key_encoder, self.key_head = momentum_copy(encoder), momentum_copy(self.head)
        self.register_buffer("queue", F.normalize(torch.randn(settings.queue, settings.dimensions), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))

    def loss(self, batch: Batch, step: Step) -> Loss:
        views = batch.views[0]
        q = F.normalize(self.head(step.encode(self.encoder, views[:1])[0]).float(), dim=1)  # (N, D)
        with torch.no_grad():
            k = F.normalize(self.key_head(step.encode(self.key_encoder, views[1:2])[0]).float(), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ self.queue.T], dim=1) / self.settings.temperature
        right = torch.zeros(len(q), dtype=torch.int64, device=q.device)
        self._enqueue(step.gather(k))
        hits = (logits.argmax(1) == 0).float().mean()
        return Loss(F.cross_entropy(logits, right), {"hits": hits})

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        rows = (self.oldest + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue = self.queue.index_copy(0, rows, keys)  # a new tensor: this step's graph still needs the old one
        self.oldest = (self.oldest + len(keys)) % len(self.queue)

    def after_step(self, step: Step) -> None:
        with torch.no_grad():
            for slow, fast in ((self.key_encoder, self.encoder), (self.key_head, self.head)):
                move_towards(list(slow.parameters()), list(fast.parameters()), self.settings.momentum)

    def embed(self, features: Tensor) -> Tensor:
        v: Tensor = self.head(features)
        return v.float()


METHOD = MethodEntry(
    name="moco_queue",
    summary="MoCo v2: a momentum encoder's keys, and a queue of negatives",
    source="He et al., arXiv 1911.05722, equation 1",
    settings=MocoSettings,
    build=Moco,
)
