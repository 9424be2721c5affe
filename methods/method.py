"""What a method is, to the trainer. Owns the contract between them; no loss, no file, no device string.

`entry.py` has what a method is to a suite: its settings and its `MethodEntry`, which need no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def one_by_one(encoder: nn.Module, views: Tensor) -> Tensor:
    """Features (d, N, F) of views (d, N, C, H, W), one call a view: the scope of the encoder's batch statistics."""
    return torch.stack([encoder(view) for view in views.unbind(0)])


class Method(nn.Module, ABC):
    """One objective around an encoder: heads, loss over d views, what happens after a step, what is evaluated."""

    encode_views: Callable[[nn.Module, Tensor], Tensor] = staticmethod(one_by_one)
    """How a loss runs an encoder on all views. A trainer may set a faster way to the same features."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def loss(self, views: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Loss of one batch, a float32 scalar.

        Args:
            views: (d, N, C, H, W), normalised; `views[i, n]` and `views[j, n]` show the same image n.
            labels: (N,) int64; read only where the method's entry says `reads_labels`.
            generator: on the CPU, seeded for this step; the only source of random draws.
        """

    def after_step(self, progress: float) -> None:
        """Called after every optimiser step; `progress` is epoch / epochs, in [0, 1). A momentum target moves here."""
        return

    def evaluated(self) -> nn.Module:
        """The network whose output h is evaluated."""
        return self.encoder

    def embed(self, features: Tensor) -> Tensor | None:
        """Head output v (N, D) of encoder features (N, F), for the collapse diagnostics; None without a head."""
        return None

    def constant_lr_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters whose learning rate follows the warm-up but never decays (SimSiam's predictor)."""
        return ()

    def readings(self) -> dict[str, float]:
        """Diagnostics of the last step that only the method knows, such as slice condition numbers. May wait on the
        device."""
        return {}

    def failure(self) -> Exception | None:
        """Why the loss is no longer finite, where the method knows: on CUDA it does not stop to say so. May wait on the
        device."""
        return None
