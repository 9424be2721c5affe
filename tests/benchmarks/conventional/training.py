"""Training as public code does it: PIL images from a DataLoader, float32 in NCHW, a view at a time through the encoder,
torch.optim's default Adam, the loss read at every step.

A network here computes the same loss as the method of the same name, with its parameters in the same order.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.benchmarks.conventional import losses


class Network(nn.Module):
    """An encoder with a head, perhaps a predictor and a momentum copy, and a loss of views (N, C, S, S)."""

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        loss: Callable[[Network, list[Tensor]], Tensor],
        predictor: nn.Module | None = None,
        momentum: float | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.predictor = encoder, head, predictor
        self.loss_of, self.momentum = loss, momentum
        if momentum is not None:
            self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
            self.target_head = copy.deepcopy(head).requires_grad_(False)

    def loss(self, views: list[Tensor]) -> Tensor:
        """A scalar."""
        return self.loss_of(self, views)

    def embed(self, views: list[Tensor]) -> list[Tensor]:
        """Each view's embeddings (N, D), the head's BatchNorm over one view at a time."""
        return [self.head(self.encoder(view)) for view in views]

    def embed_together(self, views: list[Tensor]) -> Tensor:
        """(d, N, D), the head's BatchNorm over all views."""
        return torch.stack(self.head(torch.cat([self.encoder(view) for view in views])).chunk(len(views)))

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the target, parameter by parameter."""
        if self.momentum is not None:
            for copied, online in ((self.target_encoder, self.encoder), (self.target_head, self.head)):
                for slow, fast in zip(copied.parameters(), online.parameters(), strict=True):
                    slow.data = self.momentum * slow.data + (1 - self.momentum) * fast.data


def w_mse(network: Network, views: list[Tensor]) -> Tensor:
    """Whitened slice by slice, sub-batches of 128 images."""
    v = network.embed_together(views)
    return losses.w_mse(v, torch.randperm(v.shape[1], device=v.device).view(1, -1, 128))


def byol(network: Network, views: list[Tensor]) -> Tensor:
    with torch.no_grad():
        t1, t2 = (network.target_head(network.target_encoder(view)) for view in views)
    p1, p2 = (network.predictor(z) for z in network.embed(views))
    return losses.normalised_mse(p1, t2) + losses.normalised_mse(p2, t1)


def simsiam(network: Network, views: list[Tensor]) -> Tensor:
    z1, z2 = network.embed(views)
    p1, p2 = network.predictor(z1), network.predictor(z2)
    return -(F.cosine_similarity(p1, z2.detach()).mean() + F.cosine_similarity(p2, z1.detach()).mean()) / 2


def mlp(*sizes: int, hidden_bias: bool = True, bias: bool = True) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=hidden_bias), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1], bias=bias))


def _byol(encoder: nn.Module, features: int) -> Network:
    return Network(encoder, mlp(features, 1024, 64), byol, mlp(64, 1024, 64), momentum=0.99)


def _simsiam(encoder: nn.Module, features: int) -> Network:
    head = mlp(features, 2048, 2048, hidden_bias=False, bias=False).append(nn.BatchNorm1d(2048, affine=False))
    return Network(encoder, head, simsiam, mlp(2048, 512, 2048, hidden_bias=False))


def _contrastive(encoder: nn.Module, features: int) -> Network:
    head = mlp(features, 1024, 64).append(nn.BatchNorm1d(64))
    return Network(encoder, head, lambda network, views: losses.nt_xent(network.embed_together(views)))


def _vicreg(encoder: nn.Module, features: int) -> Network:
    head = mlp(features, 2048, 2048, 2048, bias=False)
    return Network(encoder, head, lambda network, views: losses.vicreg_pair(*network.embed(views)))


def _barlow_twins(encoder: nn.Module, features: int) -> Network:
    head = mlp(features, 2048, 2048, 2048, hidden_bias=False, bias=False)
    return Network(encoder, head, lambda network, views: losses.barlow_twins_pair(*network.embed(views), 0.0051))


NETWORKS: dict[str, Callable[[nn.Module, int], Network]] = {
    "w_mse": lambda encoder, features: Network(encoder, mlp(features, 1024, 64), w_mse),
    "byol": _byol,
    "simsiam": _simsiam,
    "contrastive": _contrastive,
    "vicreg": _vicreg,
    "barlow_twins": _barlow_twins,
}
"""Of an encoder and the size of its features."""


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
