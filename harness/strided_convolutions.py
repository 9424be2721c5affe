"""Right gradients of strided convolutions over very small maps, in bfloat16 on a CPU.

Owns a way around a fault of oneDNN (seen with torch 2.15): where a column of a kernel only ever lies on padding
(a 3x3 kernel with stride 2 over one pixel), the gradient of that column, which is 0, is left as it was found in memory.
Such a convolution is computed over an input padded by `stride` more on each side, whose outer results are cut off.
"""

from __future__ import annotations

from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def guard_strided_convolutions(network: nn.Module) -> None:
    """Let strided convolutions of `network` run `convolve_safely`. Classes, parameters and names stay."""
    for module in network.modules():
        if type(module) is nn.Conv2d and max(module.stride) > 1 and module.padding_mode == "zeros":
            module.forward = partial(convolve_safely, module)  # type: ignore[method-assign]


def is_guarded(module: nn.Module) -> bool:
    """Whether the module runs its own code but for `convolve_safely`."""
    own = vars(module).get("forward")
    return isinstance(own, partial) and own.func is convolve_safely


def convolve_safely(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`conv` of x (N, C, H, W), with the right gradient of its weights."""
    if not _has_taps_on_padding_only(conv, x):
        return nn.Conv2d.forward(conv, x)
    down, right = conv.stride
    height, width = (_outputs(*arguments) for arguments in _geometry(conv, x))
    padded = nn.Conv2d.forward(conv, F.pad(x, (right, right, down, down)))
    return padded[..., 1 : 1 + height, 1 : 1 + width]


def _has_taps_on_padding_only(conv: nn.Conv2d, x: Tensor) -> bool:
    if x.device.type != "cpu" or not (torch.is_autocast_enabled("cpu") or x.dtype == torch.bfloat16):
        return False
    return any(_misses_all_pixels(*arguments) for arguments in _geometry(conv, x))


def _geometry(conv: nn.Conv2d, x: Tensor) -> list[tuple[int, int, int, int, int]]:
    """(pixels, kernel size, stride, padding, dilation) down and across."""
    padding = conv.padding
    if isinstance(padding, str):  # "same" is refused with a stride
        padding = (0, 0)
    return list(zip(x.shape[-2:], conv.kernel_size, conv.stride, padding, conv.dilation, strict=True))


def _outputs(pixels: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (pixels + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@lru_cache
def _misses_all_pixels(pixels: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Whether some position in the kernel meets no pixel of the input."""
    outputs = range(_outputs(pixels, kernel, stride, padding, dilation))
    return any(
        all(not 0 <= place * stride - padding + tap * dilation < pixels for place in outputs) for tap in range(kernel)
    )
