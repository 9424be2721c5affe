"""What a method is, to the trainer and to a suite. Owns the contract between them; no loss, no file, no device string.

A method file defines a `Settings` subclass, builds a `Method`, and names both in a `MethodEntry` called `METHOD`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class Settings(BaseModel):
    """A method's own settings: frozen, typed, every default stated, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    def problem(self, views: int, batch_size: int) -> str | None:
        """Why this method cannot run with d = `views` and `batch_size` images, and what to change; None if it can."""
        return None


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
            labels: (N,) int64; only the supervised control reads it.
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


Build = Callable[[Any, nn.Module, int, int], Method]
"""(settings, encoder, feature size F, number of classes) -> method."""


@dataclass(frozen=True)
class MethodEntry:
    """A method as suites and the trainer find it."""

    name: str
    """As written in a suite."""
    summary: str
    """One line for `harness list methods`."""
    source: str
    """Paper and equation, or what the control controls for."""
    settings: type[Settings]
    build: Build | None
    """None: nothing is trained."""
    kind: Literal["method", "control"] = "method"
    min_views: int = 2
    represents: Literal["encoder", "pixels"] = "encoder"
    """What is evaluated: encoder features, or the normalised image itself."""
    unused: frozenset[str] = frozenset()
    """Fields of a cell that this method does not use: they are left out of its identity."""
