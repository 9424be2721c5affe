"""Convolutions of small maps on a CPU, as matrix products.

Owns which of two forms a 3x3 convolution takes, by its shape alone, so that a run is repeated to the bit; anything else
is left to torch. The library's own kernels are made for large maps: below about 8x8 pixels they reach a tenth of
the processor's speed in bfloat16, above all for the gradient of the weights, where a plain product of matrices
reaches half. Sums are accumulated in float32 and rounded to the type of the input, as torch does.

    dense    maps of some pixels, of which nearly every one sees every other: the layer is linear in the whole map
    columns  the pixels under the kernel side by side, then one product with the kernels
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

TAPS = 9  # weights of a 3x3 kernel between two channels
SMALL, TINY = 4, 2  # pixels a side: of maps whose weights get their gradient by columns, of maps dense in float32
MANY_WEIGHTS = 9 * 256 * 512  # from here on the forward pass of a small map is faster by columns, too
FEW_WEIGHTS = 9 * 64 * 64  # up to here the gradient of the weights is added up from parts of the batch
COLUMNS_AT_ONCE = 1024  # pixels in such a part
SOME_WEIGHTS = 9 * 128 * 256  # and the gradient of the weights up to twice the side
DENSE_PER_IMAGE = 1024  # values in the matrix of a map as a whole, at most
MOST_COLUMNS = 1 << 27  # values; more than this is left to torch
MOST_PADDED = 16  # shapes of maps for which a thread keeps memory
_scratch = threading.local()


def convolve(x: Tensor, conv: nn.Module) -> Tensor:
    """`conv` of x (N, C, H, W), in the form that is fastest for its shape."""
    form = _form(x, conv)
    y: Tensor = conv(x) if form is None else form.apply(x, conv.weight, conv.stride[0])  # type: ignore[index]
    return y


def _form(x: Tensor, conv: nn.Module) -> type[torch.autograd.Function] | None:
    if (
        type(conv) is not nn.Conv2d
        or conv.bias is not None
        or conv.groups != 1
        or conv.dilation != (1, 1)
        or conv.padding_mode != "zeros"
        or conv.stride not in ((1, 1), (2, 2))
        or x.device.type != "cpu"
        or x.dim() != 4
        or x.shape[2] != x.shape[3]
        or x.dtype != _computed_in(conv.weight)
    ):
        return None
    side = -(-x.shape[2] // conv.stride[0])
    if conv.kernel_size != (3, 3) or conv.padding != (1, 1):
        return None
    if _is_dense(x, side, conv.weight):
        return _Dense
    if x.dtype == torch.bfloat16 and _gradient_by_columns(side, conv.weight) and _columns_fit(x, side):
        return _Columns
    return None


def _computed_in(weight: Tensor) -> torch.dtype | None:
    """The type in which torch would convolve with these weights; None where that is not for us."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
    return dtype if weight.dtype == torch.float32 and dtype in (torch.float32, torch.bfloat16) else None


def _is_dense(x: Tensor, out: int, weight: Tensor) -> bool:
    """Whether a map as a whole goes through one matrix: in bfloat16, where columns are the other way, if that matrix is
    small for the number of images, or smaller than the columns."""
    side = x.shape[2]
    if x.dtype != torch.bfloat16:
        return side <= TINY
    joined = side**2 * out**2  # pairs of pixels
    return side <= SMALL and (joined <= TAPS or joined * weight.numel() <= TAPS * DENSE_PER_IMAGE * len(x))


def _gradient_by_columns(side: int, weight: Tensor) -> bool:
    return side <= SMALL or (side <= 2 * SMALL and weight.numel() >= SOME_WEIGHTS)


def _forward_by_columns(side: int, weight: Tensor) -> bool:
    return side <= TINY or (side <= SMALL and weight.numel() >= MANY_WEIGHTS)


def _columns_fit(x: Tensor, side: int) -> bool:
    return x.shape[0] * side * side * 9 * x.shape[1] <= MOST_COLUMNS


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
    kept: dict[tuple[Any, ...], Tensor] = _scratch.__dict__.setdefault("padded", {})
    key = (x.shape, x.dtype)
    padded = kept.get(key)
    if padded is None:
        if len(kept) == MOST_PADDED:
            kept.clear()
        padded = kept[key] = torch.zeros(count, height + 2, width + 2, channels, dtype=x.dtype)
    padded[:, 1:-1, 1:-1].copy_(x.permute(0, 2, 3, 1))
    return padded


class _Dense(torch.autograd.Function):
    """A 3x3 convolution of at most 2x2 pixels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        count, _, side, _ = x.shape
        taps, out = _taps(side, stride)
        by_tap = x.new_zeros(TAPS + 1, weight.shape[1], weight.shape[0])
        by_tap[:TAPS].view(3, 3, *by_tap.shape[1:]).copy_(weight.detach().permute(2, 3, 1, 0))
        # (pixels in, C, pixels out, O): from each input value to each output value
        matrix = by_tap[taps].view(side * side, out * out, *by_tap.shape[1:]).transpose(1, 2)
        matrix = matrix.reshape(side * side * weight.shape[1], -1)
        ctx.save_for_backward(x, matrix)
        ctx.taps, ctx.out = taps, out
        return _map(_pixels(x).view(count, -1) @ matrix, count, out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix = ctx.saved_tensors
        count, channels, side, _ = x.shape
        g = _pixels(grad).view(count, -1)
        of_x = _map(g @ matrix.t(), count, side) if ctx.needs_input_grad[0] else None
        of_matrix = (_pixels(x).view(count, -1).t().contiguous() @ g).view(side * side, channels, ctx.out**2, -1)
        blocks = of_matrix.transpose(1, 2).reshape(len(ctx.taps), channels, -1).float()
        by_tap = torch.zeros(TAPS + 1, *blocks.shape[1:]).index_add_(0, ctx.taps, blocks)[:TAPS]
        of_weight = by_tap.view(3, 3, channels, -1).permute(3, 2, 0, 1)
        return of_x, of_weight.contiguous(memory_format=torch.channels_last), None


@cache
def _taps(side: int, stride: int) -> tuple[Tensor, int]:
    """For every pair of a pixel in and a pixel out, which of the kernel's 9 weights joins them, 9 where none does; and
    the side of the result."""
    out = -(-side // stride)
    steps = torch.arange(side)[:, None] - stride * torch.arange(out)[None, :] + 1  # (in, out), along one axis
    taps = 3 * steps[:, None, :, None] + steps[None, :, None, :]
    joined = (steps >= 0) & (steps <= 2)
    return torch.where(joined[:, None, :, None] & joined[None, :, None, :], taps, TAPS).flatten(), out


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
        of_weight = _of_weight(grad, x, w, ctx.stride).view(len(w), 3, 3, -1).permute(0, 3, 1, 2)
        return _of_images(ctx, grad, x, w), of_weight, None


def _of_weight(grad: Tensor, x: Tensor, w: Tensor, stride: int) -> Tensor:
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


def _of_images(ctx: Any, grad: Tensor, x: Tensor, w: Tensor) -> Tensor | None:
    """The gradient of a 3x3 convolution's input."""
    if not ctx.needs_input_grad[0]:
        return None
    if ctx.stride == 1 and _forward_by_columns(grad.shape[2], w):  # a convolution with the kernels turned about
        turned = w.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, w.shape[1])
        return _map(_columns(grad, 1) @ turned, len(x), x.shape[2])
    of_x: Tensor = torch.ops.aten.convolution_backward(
        grad, x, w, None, [ctx.stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    return of_x
