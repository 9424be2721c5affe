"""3x3 convolutions of small maps in bfloat16 on a CPU, as matrix products: the pixels under the kernel side by side, as
columns, then one product with the kernels.

Owns which convolutions take this form, by their shape alone, so that a run is repeated to the bit; anything else is
left to torch. The library's own kernels are made for large maps: below about 8x8 pixels they reach a tenth of the
processor's speed in bfloat16, above all for the gradient of the weights, where a plain product of matrices reaches
half. Sums are accumulated in float32 and rounded to bfloat16, as torch does.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SMALL, TINY = 4, 2  # pixels a side: of maps whose weights get their gradient by columns, of those all by columns
MANY_WEIGHTS = 9 * 256 * 512  # from here on the forward pass of a small map is faster by columns, too
FEW_WEIGHTS = 9 * 64 * 64  # up to here the gradient of the weights is added up from parts of the batch
COLUMNS_AT_ONCE = 1024  # pixels in such a part
SOME_WEIGHTS = 9 * 128 * 256  # from here on the gradient of the weights is by columns up to twice the side
MOST_COLUMNS = 1 << 27  # values; more than this is left to torch
MOST_PADDED = 16  # shapes of maps for which a thread keeps memory
_scratch = threading.local()


def convolve(x: Tensor, conv: nn.Module) -> Tensor:
    """`conv` of x (N, C, H, W), by columns where that is faster."""
    y: Tensor = _Columns.apply(x, conv.weight, conv.stride[0]) if _by_columns(x, conv) else conv(x)  # type: ignore[index]
    return y


def _by_columns(x: Tensor, conv: nn.Module) -> bool:
    if (
        type(conv) is not nn.Conv2d
        or conv.kernel_size != (3, 3)
        or conv.padding != (1, 1)
        or conv.padding_mode != "zeros"
        or conv.stride not in ((1, 1), (2, 2))
        or conv.dilation != (1, 1)
        or conv.groups != 1
        or conv.bias is not None
        or conv.weight.dtype != torch.float32
        or x.device.type != "cpu"
        or x.dtype != torch.bfloat16
        or not torch.is_autocast_enabled("cpu")
        or torch.get_autocast_dtype("cpu") != torch.bfloat16
        or x.dim() != 4
        or x.shape[2] != x.shape[3]
    ):
        return False
    side = -(-x.shape[2] // conv.stride[0])
    fits = x.shape[0] * side * side * 9 * x.shape[1] <= MOST_COLUMNS
    return fits and (side <= SMALL or (side <= 2 * SMALL and conv.weight.numel() >= SOME_WEIGHTS))


def _forward_by_columns(side: int, weight: Tensor) -> bool:
    return side <= TINY or (side <= SMALL and weight.numel() >= MANY_WEIGHTS)


def _pixels(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H, W, C), contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N H W, C), a row a pixel."""
    return _pixels(x).view(-1, x.shape[1])


def _map(rows: Tensor, count: int, side: int) -> Tensor:
    """The inverse of `_rows`."""
    return rows.view(count, side, side, -1).permute(0, 3, 1, 2)


def _columns(x: Tensor, stride: int) -> Tensor:
    """(N H' W', 9 C): for every pixel of the result the 3x3 pixels of x under the kernel, row by row. The memory is
    this thread's, and overwritten by the next call: fresh memory would cost more than filling it."""
    padded = _padded(x)
    count, height, _, channels = padded.shape
    image, row, pixel, one = padded.stride()
    side = (height - 3) // stride + 1
    windows = padded.as_strided(
        (count, side, side, 3, 3 * channels), (image, row * stride, pixel * stride, row, one)
    )  # three pixels of a row lie together
    held: Tensor | None = getattr(_scratch, "held", None)
    if held is None or held.dtype != x.dtype or held.numel() < windows.numel():
        held = _scratch.held = torch.empty(windows.numel(), dtype=x.dtype)
    columns = held[: windows.numel()].view(windows.shape)
    columns.copy_(windows)
    return columns.view(count * side * side, 9 * channels)


def _padded(x: Tensor) -> Tensor:
    """(N, H + 2, W + 2, C): pixels with a border of zeros, in memory of this thread whose border stays as it is."""
    count, channels, height, width = x.shape
    buffers: dict[tuple[Any, ...], Tensor] = _scratch.__dict__.setdefault("padded", {})
    key = (x.shape, x.dtype)
    padded = buffers.get(key)
    if padded is None:
        if len(buffers) == MOST_PADDED:
            buffers.clear()
        padded = buffers[key] = torch.zeros(count, height + 2, width + 2, channels, dtype=x.dtype)
    padded[:, 1:-1, 1:-1].copy_(x.permute(0, 2, 3, 1))
    return padded


class _Columns(torch.autograd.Function):
    """A 3x3 convolution whose weights get their gradient by columns, and whatever else is faster so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        w = weight.detach().to(x.dtype)
        ctx.save_for_backward(x, w)
        ctx.stride = stride
        side = -(-x.shape[2] // stride)
        if not _forward_by_columns(side, weight):
            return F.conv2d(x, w, None, stride, 1)
        return _map(_columns(x, stride) @ _rows(w).view(len(w), -1).t(), len(x), side)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        weight_gradient = _weight_gradient(grad, x, w, ctx.stride).view(len(w), 3, 3, -1).permute(0, 3, 1, 2)
        return _input_gradient(ctx, grad, x, w), weight_gradient, None


def _weight_gradient(grad: Tensor, x: Tensor, w: Tensor, stride: int) -> Tensor:
    """The gradient (O, 9 C), in float32, of a 3x3 convolution's weights; of few weights by parts of the batch whose
    columns stay in the processor's cache."""
    if w.numel() > FEW_WEIGHTS:
        return (_rows(grad).t().contiguous() @ _columns(x, stride)).float()
    images = max(1, COLUMNS_AT_ONCE // grad[0, 0].numel())
    parts = x.new_empty(-(-len(x) // images), len(w), w[0].numel())
    batches = zip(torch.split(grad, images), torch.split(x, images), strict=True)
    for part, (g, seen) in zip(parts, batches, strict=True):
        torch.mm(_rows(g).t(), _columns(seen, stride), out=part)
    return parts.sum(0, dtype=torch.float32)


def _input_gradient(ctx: Any, grad: Tensor, x: Tensor, w: Tensor) -> Tensor | None:
    """The gradient of a 3x3 convolution's input."""
    if not ctx.needs_input_grad[0]:
        return None
    if ctx.stride == 1 and _forward_by_columns(grad.shape[2], w):  # a convolution with the kernels turned about
        turned = w.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, w.shape[1])
        return _map(_columns(grad, 1) @ turned, len(x), x.shape[2])
    input_gradient: Tensor = torch.ops.aten.convolution_backward(
        grad, x, w, None, [ctx.stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    return input_gradient
