"""A training step of a timm ResNet on a CPU with fused normalisation and small convolutions as products.

Owns which encoders qualify, and the way through them; computes nothing itself (`norm.py`, `convolutions.py`). It reads
the encoder's own modules and changes none of them.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from harness.accelerate.cpu.convolutions import convolve
from harness.accelerate.cpu.norm import norm_act, norm_add_act
from harness.strided_convolutions import is_guarded

_POOLS = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, SelectAdaptivePool2d, nn.Flatten)
_PLAIN = {ResNet, BasicBlock, Bottleneck, nn.Sequential, nn.Identity, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, *_POOLS}


def fused(encoder: Any, x: Tensor) -> Tensor:
    """As `encoder(x)`: images (N, C, H, W) to features (N, F), for an encoder that `can_be_fused`."""
    x = encoder.conv1(x)
    x = norm_act(x, encoder.bn1) if _ends_with_convolution(encoder.conv1) else encoder.act1(encoder.bn1(x))
    x = shortcut = encoder.maxpool(x)
    for block in itertools.chain(encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
        x, shortcut = _residual(block, x, shortcut)
    features: Tensor = encoder.forward_head(x)
    return features


def can_be_fused(encoder: nn.Module) -> bool:
    """Whether a training step of this encoder is convolutions, BatchNorm, ReLU, sums with a shortcut and pooling only:
    nothing random, no state but BatchNorm's, and nothing that watches or replaces single modules."""
    return (
        type(encoder) is ResNet
        and encoder.training
        and not encoder.grad_checkpointing
        and encoder.drop_rate == 0
        and not _is_followed(encoder)
        and type(encoder.act1) is nn.ReLU
        and all(type(module) in _PLAIN for module in encoder.modules())
        and all(_is_plain(block) for block in encoder.modules() if isinstance(block, BasicBlock | Bottleneck))
        and all(
            norm.momentum is not None and norm.track_running_stats
            for norm in encoder.modules()
            if isinstance(norm, nn.BatchNorm2d)
        )
    )


def _is_followed(network: nn.Module) -> bool:
    """Whether hooks wait for modules, a module runs other code than its class's, or a compiler follows."""
    return (
        torch.compiler.is_compiling()
        or _has_any_global_hook()  # type: ignore[no-untyped-call]
        or any(
            m._forward_hooks
            or m._forward_pre_hooks
            or m._backward_hooks
            or m._backward_pre_hooks
            or m._compiled_call_impl is not None
            or ("forward" in vars(m) and not is_guarded(m))
            for m in network.modules()
        )
    )


def _ends_with_convolution(module: nn.Module) -> bool:
    """Then nothing else holds the module's result, nor needs it in the backward pass."""
    last = module[-1] if isinstance(module, nn.Sequential) and len(module) else module
    return type(last) is nn.Conv2d


def _is_plain(block: Any) -> bool:
    """Whether the block is convolutions, normalisation, ReLU and the sum with a shortcut, and nothing else."""
    numbers = "123" if type(block) is Bottleneck else "12"
    convs, acts = ([getattr(block, kind + n) for n in numbers] for kind in ("conv", "act"))
    nothing = (block.aa, block.drop_block, block.drop_path, block.se)
    return (
        all(type(conv) is nn.Conv2d for conv in convs)
        and all(type(act) is nn.ReLU for act in acts)
        and all(module is None or type(module) is nn.Identity for module in nothing)
    )


def _residual(block: Any, x: Tensor, shortcut: Tensor) -> tuple[Tensor, Tensor]:
    """The results of a block, as of `norm_add_act`, from those of the block before."""
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
