"""What a method is, to the trainer. Owns the contract between them; no loss, no file, no device string.

`entry.py` has what a method is to a suite: its settings and its `MethodEntry`, which need no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


def one_by_one(encoder: nn.Module, views: Tensor) -> Tensor:
    """Features (d, N, F) of views (d, N, C, S, S), one call a view: the scope of the encoder's batch statistics."""
    return torch.stack([encoder(view) for view in views.unbind(0)])


@dataclass(frozen=True)
class Batch:
    """The images of one step, each augmented several times."""

    views: tuple[Tensor, ...]
    """A tensor a view group, (d_g, N, C, S_g, S_g) float32, normalised, on the device; the memory of each view in
    channels-last order. `views[g][i, n]` and `views[h][j, n]` show the same image n."""
    labels: Tensor
    """(N,) int64 on the device; -1 where there is no label. Read only where the entry says `reads_labels`."""
    index: Tensor
    """(N,) int64 on the device: which rows of the training images these are, in the order of their source."""

    @property
    def images(self) -> int:
        """N."""
        return self.views[0].shape[1]


@dataclass(frozen=True)
class Step:
    """Where a training stands, and what it lends to a loss."""

    index: int
    """Of this optimiser step, counted from 0 over all epochs."""
    steps: int
    """Of the whole training."""
    epoch: int
    epochs: int
    generator: torch.Generator
    """On the CPU, seeded for this step; the only source of random draws."""
    rank: int = 0
    ranks: int = 1
    encode: Callable[[nn.Module, Tensor], Tensor] = one_by_one
    """encode(encoder, views) -> (d, N, F): features of one group's views, BatchNorm's statistics a view at a time. The
    trainer gives the fastest way there is to the same features."""

    def gather(self, x: Tensor) -> Tensor:
        """The rows of all ranks, of x (n, ...) on each; on one process x itself.

        Raises:
            NotImplementedError: on several ranks, on which no training runs as yet.
        """
        if self.ranks > 1:
            raise NotImplementedError("gather: training on several ranks is not there yet")
        return x

    def features(self, encoder: nn.Module, batch: Batch) -> Tensor:
        """Features (d, N, F) of the views of all groups, one group behind the other, whatever their sizes."""
        by_group = [self.encode(encoder, views) for views in batch.views]
        return by_group[0] if len(by_group) == 1 else torch.cat(by_group)


@dataclass(frozen=True)
class Loss:
    """A loss with its parts by name."""

    total: Tensor
    """What is minimised: a float32 scalar."""
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    """Scalars for the training curve, where NAME stands as `loss_NAME`; no gradient comes from them."""

    @classmethod
    def of(cls, value: Tensor | Loss) -> Loss:
        """What `Method.loss` returned, with or without terms."""
        return value if isinstance(value, Loss) else cls(value)


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that the optimiser treats in a way of their own."""

    parameters: Iterable[nn.Parameter]
    lr_scale: float = 1.0
    """Their learning rate as a multiple of the scheduled one."""
    constant_lr: bool = False
    """Whether their learning rate follows the warm-up but never decays (SimSiam's predictor)."""
    decay: bool | None = None
    """Whether weight decay (and the layer-wise rate of LARS) applies; None: as the optimiser's settings say."""


class Method(nn.Module, ABC):
    """One objective around an encoder: heads, loss over views, what happens after a step, what is evaluated. A queue or
    a centre is a buffer, so that checkpoints have it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def loss(self, batch: Batch, step: Step) -> Tensor | Loss:
        """Loss of one batch, a float32 scalar; with `Loss`, its terms by name."""

    def after_step(self, step: Step) -> None:
        """Called after every optimiser step, with what `loss` was given. A momentum target moves here."""
        return

    def evaluated(self) -> nn.Module:
        """The network whose output h is evaluated."""
        return self.encoder

    def embed(self, features: Tensor) -> Tensor | None:
        """Head output v (N, D) of encoder features (N, F), for the collapse diagnostics; None without a head."""
        return None

    def parameter_groups(self) -> Iterable[ParameterGroup]:
        """Those parameters that the optimiser treats in a way of their own; each at most once. The others need not be
        named."""
        return ()

    def readings(self) -> dict[str, float]:
        """Diagnostics of the last step that only the method knows, such as slice condition numbers. May wait on the
        device."""
        return {}

    def failure(self) -> Exception | None:
        """Why the loss is no longer finite, where the method knows: on CUDA it does not stop to say so. May wait on the
        device."""
        return None
