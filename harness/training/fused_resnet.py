"""timm ResNets that train on a CPU with fused normalisation.

Owns which encoders and blocks qualify, and the way through them; computes nothing itself (`fused_norm.py`). Everything
else runs timm's own code: evaluation, other devices, unusual blocks, encoders with hooks or with recomputation.
Parameters, buffers and their names stay as they were.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from harness.training.convolutions import convolve
from harness.training.fused_norm import norm_act, norm_add_act

_POOLS = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, SelectAdaptivePool2d, nn.Flatten)


def fuse_normalisation(network: nn.Module) -> None:
    """Let every timm ResNet in `network`, itself included, train on CPUs with fused normalisation.

    Only their class changes: checkpoints fit, and deep copies are as fused as the original.
    """
    for module in network.modules():
        if type(module) is ResNet:
            module.__class__ = FusedResNet


class FusedResNet(ResNet):
    """A timm ResNet that trains on CPUs with fused normalisation."""

    def forward_features(self, x: Tensor) -> Tensor:
        """As timm's: (N, C, H, W) -> (N, F, H', W')."""
        if not self.training or x.device.type != "cpu" or self.grad_checkpointing or is_followed(self):
            features: Tensor = super().forward_features(x)
            return features
        x = self.conv1(x)
        stem_fits = type(self.act1) is nn.ReLU and _ends_with_convolution(self.conv1)
        x = norm_act(x, self.bn1) if stem_fits else self.act1(self.bn1(x))
        x = shortcut = self.maxpool(x)
        stages: Any = (self.layer1, self.layer2, self.layer3, self.layer4)
        for block in itertools.chain.from_iterable(stages):
            if _is_plain(block):
                x, shortcut = _residual(block, x, shortcut)
            else:
                x = shortcut = block(x)
        return x


_PLAIN = {FusedResNet, BasicBlock, Bottleneck, nn.Sequential, nn.Identity, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, *_POOLS}


def is_fused_throughout(encoder: nn.Module) -> bool:
    """Whether a training step of this encoder on a CPU would be convolutions, fused normalisation and pooling only:
    nothing random, no state but BatchNorm's, and nothing that watches single modules."""
    return (
        type(encoder) is FusedResNet
        and encoder.training
        and not encoder.grad_checkpointing
        and encoder._compiled_call_impl is None
        and not is_followed(encoder)
        and type(encoder.act1) is nn.ReLU
        and encoder.drop_rate == 0
        and all(_is_plain(block) for block in encoder.modules() if isinstance(block, BasicBlock | Bottleneck))
        and all(type(module) in _PLAIN for module in encoder.modules())
        and all(
            norm.momentum is not None and norm.track_running_stats
            for norm in encoder.modules()
            if isinstance(norm, nn.BatchNorm2d)
        )
    )


def is_followed(network: nn.Module) -> bool:
    """Whether hooks wait for single modules, or a compiler follows the operations."""
    return torch.compiler.is_compiling() or any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in network.modules()
    )


def _ends_with_convolution(module: nn.Module) -> bool:
    """Then nothing else holds the module's result, nor needs it in the backward pass."""
    last = module[-1] if isinstance(module, nn.Sequential) and len(module) else module
    return type(last) is nn.Conv2d


def _is_plain(block: nn.Module) -> bool:
    """Whether the block is convolutions, normalisation, ReLU and the sum with a shortcut, and nothing else."""
    if type(block) not in (BasicBlock, Bottleneck):
        return False
    numbers = "123" if type(block) is Bottleneck else "12"
    convs, acts = ([getattr(block, kind + n) for n in numbers] for kind in ("conv", "act"))
    nothing = (block.aa, block.drop_block, block.drop_path, block.se)
    return (
        all(type(conv) is nn.Conv2d for conv in convs)
        and all(type(act) is nn.ReLU for act in acts)
        and all(module is None or type(module) is nn.Identity for module in nothing)
    )


def _residual(block: Any, x: Tensor, shortcut: Tensor) -> tuple[Tensor, Tensor]:
    """The results of a plain block, as of `norm_add_act`, from those of the block before."""
    z, norm = convolve(norm_act(convolve(x, block.conv1), block.bn1), block.conv2), block.bn2
    if type(block) is Bottleneck:
        z, norm = convolve(norm_act(z, norm), block.conv3), block.bn3
    down = block.downsample
    if down is None:
        return norm_add_act(z, norm, shortcut, x)
    if isinstance(down, nn.Sequential) and len(down) > 1 and _ends_with_convolution(down[:-1]):
        for module in down[:-1]:
            shortcut = convolve(shortcut, module)
        x = norm_act(shortcut, down[-1], relu=False)
    else:
        x = down(x)
    return norm_add_act(z, norm, x, x)
