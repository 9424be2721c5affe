"""Heads that train on a CPU with fused normalisation.

Owns which layers of a head become one operation; computes nothing itself (`fused_norm.py`). Everything else runs
torch's own layers: evaluation, other devices, heads with hooks. Parameters, buffers and their names stay as they were.
"""

from __future__ import annotations

from torch import Tensor, nn

from harness.training.fused_norm import norm_act
from harness.training.fused_resnet import is_followed


def fuse_heads(network: nn.Module) -> None:
    """Let every `nn.Sequential` in `network` that has a BatchNorm1d behind a linear layer train on CPUs with fused
    normalisation. Only their class changes: checkpoints fit, and deep copies are as fused as the original."""
    for module in network.modules():
        if type(module) is nn.Sequential and any(_is_fused(module, i) for i in range(len(module))):
            module.__class__ = FusedMLP


class FusedMLP(nn.Sequential):
    """Layers one after another, in which BatchNorm1d behind a linear layer, and ReLU behind that, are one operation."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, F) -> (N, D), as `nn.Sequential`'s."""
        if not self.training or x.device.type != "cpu" or is_followed(self):
            result: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return result
        for i, layer in enumerate(self):
            if _is_fused(self, i):
                x = norm_act(x, layer, relu=_is_relu(self, i + 1))
            elif not (_is_relu(self, i) and _is_fused(self, i - 1)):
                x = layer(x)
        return x


def _is_fused(layers: nn.Sequential, i: int) -> bool:
    """Whether layer i is a BatchNorm1d whose input nothing else holds, nor needs in the backward pass."""
    return i > 0 and type(layers[i]) is nn.BatchNorm1d and type(layers[i - 1]) is nn.Linear


def _is_relu(layers: nn.Sequential, i: int) -> bool:
    return i < len(layers) and type(layers[i]) is nn.ReLU
