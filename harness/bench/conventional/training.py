"""Training as public code does it: PIL images from a DataLoader, float32 in NCHW, a view at a time through the encoder,
torch.optim's default Adam, the loss read at every step. Owns the plain side of end-to-end comparisons.

A network here computes the same loss as the method of the same name, with its parameters in the same order.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.bench.conventional import losses


class Network(nn.Module, ABC):
    """An encoder with a head, and a loss of two or more views."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def loss(self, views: list[Tensor]) -> Tensor:
        """Of views (N, C, S, S)."""

    def after_step(self) -> None:
        """After the optimiser's step."""


class WMse(Network):
    """W-MSE: head over all views, whitening slice by slice."""

    def __init__(self, encoder: nn.Module, features: int, embedding: int = 64, sub_batch: int = 128) -> None:
        super().__init__(encoder)
        self.sub_batch = sub_batch
        self.head = nn.Sequential(
            nn.Linear(features, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Linear(1024, embedding)
        )

    def loss(self, views: list[Tensor]) -> Tensor:
        h = [self.encoder(view) for view in views]
        v = torch.stack(self.head(torch.cat(h)).chunk(len(views)))
        order = torch.randperm(v.shape[1], device=v.device).view(1, -1, self.sub_batch)
        return losses.w_mse(v, order)


class Contrastive(Network):
    """SimCLR with a BatchNorm on the embeddings."""

    def __init__(self, encoder: nn.Module, features: int, embedding: int = 64) -> None:
        super().__init__(encoder)
        self.head = nn.Sequential(
            nn.Linear(features, 1024),
            nn.BatchNorm1d(1024),
            nn.ReLU(),
            nn.Linear(1024, embedding),
            nn.BatchNorm1d(embedding),
        )

    def loss(self, views: list[Tensor]) -> Tensor:
        h = [self.encoder(view) for view in views]
        return losses.nt_xent(torch.stack(self.head(torch.cat(h)).chunk(len(views))))


class Byol(Network):
    """BYOL on two views; the target moves parameter by parameter."""

    def __init__(self, encoder: nn.Module, features: int, embedding: int = 64, momentum: float = 0.99) -> None:
        super().__init__(encoder)
        self.momentum = momentum
        self.head = nn.Sequential(
            nn.Linear(features, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Linear(1024, embedding)
        )
        self.predictor = nn.Sequential(
            nn.Linear(embedding, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Linear(1024, embedding)
        )
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.target_head = copy.deepcopy(self.head).requires_grad_(False)

    def loss(self, views: list[Tensor]) -> Tensor:
        with torch.no_grad():
            t1, t2 = (self.target_head(self.target_encoder(view)) for view in views)
        p1, p2 = (self.predictor(self.head(self.encoder(view))) for view in views)
        return losses.normalised_mse(p1, t2) + losses.normalised_mse(p2, t1)

    @torch.no_grad()
    def after_step(self) -> None:
        for copied, online in ((self.target_encoder, self.encoder), (self.target_head, self.head)):
            for slow, fast in zip(copied.parameters(), online.parameters(), strict=True):
                slow.data = self.momentum * slow.data + (1 - self.momentum) * fast.data


class SimSiam(Network):
    """SimSiam on two views."""

    def __init__(self, encoder: nn.Module, features: int, embedding: int = 2048) -> None:
        super().__init__(encoder)
        self.head = nn.Sequential(
            nn.Linear(features, 2048, bias=False),
            nn.BatchNorm1d(2048),
            nn.ReLU(),
            nn.Linear(2048, embedding, bias=False),
            nn.BatchNorm1d(embedding, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(embedding, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, embedding)
        )

    def loss(self, views: list[Tensor]) -> Tensor:
        z1, z2 = (self.head(self.encoder(view)) for view in views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return -(F.cosine_similarity(p1, z2.detach()).mean() + F.cosine_similarity(p2, z1.detach()).mean()) / 2


class VicReg(Network):
    """VICReg on two views."""

    def __init__(self, encoder: nn.Module, features: int, embedding: int = 2048) -> None:
        super().__init__(encoder)
        self.head = _expander(features, embedding, bias=True)

    def loss(self, views: list[Tensor]) -> Tensor:
        z1, z2 = (self.head(self.encoder(view)) for view in views)
        return losses.vicreg_pair(z1, z2)


class BarlowTwins(Network):
    """Barlow Twins on two views."""

    def __init__(self, encoder: nn.Module, features: int, embedding: int = 2048) -> None:
        super().__init__(encoder)
        self.head = _expander(features, embedding, bias=False)

    def loss(self, views: list[Tensor]) -> Tensor:
        z1, z2 = (self.head(self.encoder(view)) for view in views)
        return losses.barlow_twins_pair(z1, z2, 0.0051)


def _expander(features: int, embedding: int, bias: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, 2048, bias=bias),
        nn.BatchNorm1d(2048),
        nn.ReLU(),
        nn.Linear(2048, 2048, bias=bias),
        nn.BatchNorm1d(2048),
        nn.ReLU(),
        nn.Linear(2048, embedding, bias=False),
    )


NETWORKS: dict[str, type[WMse | Contrastive | Byol | SimSiam | VicReg | BarlowTwins]] = {
    "w_mse": WMse,
    "contrastive": Contrastive,
    "byol": Byol,
    "simsiam": SimSiam,
    "vicreg": VicReg,
    "barlow_twins": BarlowTwins,
}


class Trainer:
    """One step after another, on batches of views from a DataLoader."""

    def __init__(self, network: Network, batches: Iterator[list[Tensor]], device: torch.device, lr: float) -> None:
        self.network, self.batches, self.device = network.to(device).train(), batches, device
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=lr, weight_decay=1e-6)
        self.total = 0.0

    def step(self) -> None:
        """One optimiser step."""
        views = [view.to(self.device, non_blocking=True) for view in next(self.batches)]
        loss = self.network.loss(views)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self.optimiser.step()
        self.network.after_step()
        self.total += loss.item()
