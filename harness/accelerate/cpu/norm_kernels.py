"""The compiled loops of batch normalisation with ReLU and shortcut on a CPU: over memory in channels-last order.

Owns the forward pass, and what `norm_gradients.py` shares with it. A compiled function is kept on the disk until the
file it stands in changes: whoever changes what is shared touches the other file too. Every
array of activations is flat, one channel after the other: bfloat16 as its bits in uint16, float32 as it is. Arrays of
channels are float32 and tiled to a `width` of several times C, so that the innermost loop is long. The work is cut
into blocks whose size depends on nothing but C: sums come out the same whatever the number of threads. Never checks its
input (see `norm.py`): a wrong size reads foreign memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.extending import intrinsic, overload

from harness.accelerate.cpu.flat import Activations

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

ZERO = np.float32(0)
SAMPLED_ROWS = 64  # pixels whose mean is subtracted before squares are summed
# No flag that would let NaN or infinity be lost. What the arguments point to must not overlap.
OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
inner: Callable[..., Any] = numba.njit(**OPTIONS)


def compiled_once(function: Callable[..., None]) -> Callable[..., None]:
    """Compiled at the first call and kept on the disk; where no folder can be written to, in each process."""
    try:
        kept_function: Callable[..., None] = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        kept_function = numba.njit(**OPTIONS)(function)
    return kept_function


def _prevent_fusion(typing_context: Any) -> Any:
    """Promises that the arrays given to the function do not overlap; too many would have to be compared for LLVM to use
    vector registers otherwise."""

    def mark(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for argument in builder.function.args:
            if argument.type.is_pointer:
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), mark


prevent_fusion: Callable[[], None] = intrinsic(_prevent_fusion)  # type: ignore[assignment]


def get(array: Activations, i: int) -> np.float32:
    """array[i] as float32."""
    raise NotImplementedError("compiled code only")


def put(array: Activations, i: int, value: np.float32) -> None:
    """array[i] = value, rounded to nearest even."""
    raise NotImplementedError("compiled code only")


@overload(get, strict=False)
def _get(array: Any, i: Any) -> Any:
    if array.dtype == numba.uint16:
        return lambda array, i: np.uint32(np.uint32(array[i]) << np.uint32(16)).view(np.float32)
    return lambda array, i: array[i]


@overload(put, strict=False)
def _put(array: Any, i: Any, value: Any) -> Any:
    if array.dtype != numba.uint16:

        def put_float(array: Any, i: Any, value: Any) -> None:
            array[i] = value

        return put_float

    def put_bits(array: Any, i: Any, value: Any) -> None:
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        array[i] = np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return put_bits


@inner
def fold(lanes: Floats, result: Doubles) -> None:
    """Sums of the lanes (2, width) of each channel: result (2, C)."""
    channels = result.shape[1]
    result[:] = 0.0
    for start in range(0, lanes.shape[1], channels):
        for k in range(2):
            for c in range(channels):
                result[k, c] += lanes[k, start + c]


@inner
def total(sums: Doubles, c: int) -> tuple[float, float]:
    """Both sums of channel c over all blocks (blocks, 2, C), in their order."""
    s, q = 0.0, 0.0
    for block in range(len(sums)):
        s += sums[block, 0, c]
        q += sums[block, 1, c]
    return s, q


@compiled_once
def sample_mean(x: Activations, channels: int, mean: Floats) -> None:
    """A value near each channel's mean, into `mean` (width,)."""
    rows = len(x) // channels
    count = min(rows, SAMPLED_ROWS)
    for c in range(channels):
        whole = 0.0
        for r in range(count):
            whole += float(get(x, r * rows // count * channels + c))
        for lane in range(c, len(mean), channels):
            mean[lane] = np.float32(whole / count)


@inner
def add_moments(
    x: Activations, x2: Activations, x3: Activations, x4: Activations, shift: Floats, lanes: Floats
) -> None:
    prevent_fusion()
    k, s, q = shift, lanes[0], lanes[1]
    if len(x4) == 0:
        for i in range(len(x)):
            d = get(x, i) - k[i]
            s[i] += d
            q[i] += d * d
        return
    for i in range(len(x)):
        d, d2, d3, d4 = get(x, i) - k[i], get(x2, i) - k[i], get(x3, i) - k[i], get(x4, i) - k[i]
        s[i] += (d + d2) + (d3 + d4)
        q[i] += (d * d + d2 * d2) + (d3 * d3 + d4 * d4)


@compiled_once
def moments(x: Activations, shift: Floats, sums: Doubles, size: int, begin: int, end: int) -> None:
    """Blocks begin to end, of `size` values: sums[block] (2, C) of x - shift and of its square."""
    width = len(shift)
    lanes = np.empty((2, width), dtype=np.float32)
    for block in range(begin, end):
        lanes[:] = ZERO
        at, stop = block * size, min(block * size + size, len(x))
        while at < stop:
            b = min(at + width, stop)
            c = b + width if at + 4 * width <= stop else b
            d, e = 2 * c - b, 3 * c - 2 * b
            add_moments(x[at:b], x[b:c], x[c:d], x[d:e], shift, lanes)
            at = e
        fold(lanes, sums[block])


@compiled_once
def statistics(
    sums: Doubles, weight: Floats, bias: Floats, count: int, eps: float, of_batch: Doubles, tiles: Floats
) -> None:
    """From `moments`, whose shift is tiles[0]: of_batch (3, C), the mean, the unbiased variance and the deviation
    sqrt(variance + eps); tiles (3, width), the mean, weight / deviation and bias."""
    for c in range(len(weight)):
        s, q = total(sums, c)
        mean = float(tiles[0, c]) + s / count
        squares = q - s * s / count
        squares = 0.0 if squares < 0.0 else squares  # NaN stays
        deviation = math.sqrt(squares / count + eps)
        of_batch[0, c], of_batch[1, c], of_batch[2, c] = mean, squares / (count - 1), deviation
        for lane in range(c, tiles.shape[1], len(weight)):
            tiles[0, lane], tiles[1, lane], tiles[2, lane] = mean, float(weight[c]) / deviation, bias[c]


@inner
def normalise_row(x: Activations, tiles: Floats, floor: np.float32, y: Activations) -> None:
    prevent_fusion()
    mean, scale, bias = tiles[0], tiles[1], tiles[2]
    for i in range(len(x)):
        v = (get(x, i) - mean[i]) * scale[i] + bias[i]
        put(y, i, floor if v <= floor else v)


@inner
def join_row(x: Activations, mean: Floats, scale: Floats, bias: Floats, shortcut: Activations, y: Activations) -> None:
    prevent_fusion()
    for i in range(len(x)):
        v = (get(x, i) - mean[i]) * scale[i] + bias[i] + get(shortcut, i)
        put(y, i, ZERO if v <= ZERO else v)


@compiled_once
def normalise(
    x: Activations, tiles: Floats, floor: np.float32, y: Activations, size: int, begin: int, end: int
) -> None:
    """y = max(normalised x, floor): a floor of 0 is ReLU, of -inf nothing."""
    for at in range(begin * size, min(end * size, len(x)), tiles.shape[1]):
        to = min(at + tiles.shape[1], len(x))
        normalise_row(x[at:to], tiles, floor, y[at:to])


@compiled_once
def join(x: Activations, tiles: Floats, shortcut: Activations, y: Activations, size: int, begin: int, end: int) -> None:
    """y = ReLU(normalised x + shortcut)."""
    for at in range(begin * size, min(end * size, len(x)), tiles.shape[1]):
        to = min(at + tiles.shape[1], len(x))
        join_row(x[at:to], tiles[0], tiles[1], tiles[2], shortcut[at:to], y[at:to])
