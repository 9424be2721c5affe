"""The compiled loops of the backward pass of `norm_kernels.py`, where the layout of all arrays is described.

Owns the gradients of the parameters, of the convolution's result and of the shortcut. Never checks its input. Two rows
are read at once: as each is as long as a page of memory, the processor then fetches two pages ahead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.accelerate.cpu.flat import Activations
from harness.accelerate.cpu.norm_kernels import (
    ZERO,
    Doubles,
    Floats,
    compiled_once,
    fold,
    get,
    inner,
    prevent_fusion,
    put,
    total,
)


@inner
def two_rows(at: int, stop: int, width: int) -> tuple[int, int]:
    """Ends of the row that begins at `at` and of the one after it; that one is empty unless both are full."""
    b = min(at + width, stop)
    return b, b + width if b + width <= stop else b


@inner
def behind_norm(a: Activations, x: Activations, tiles: Floats, floor: np.float32, i: int) -> tuple[Any, Any]:
    """The gradient a where the normalised x is above the floor, and x - mean."""
    d = get(x, i) - tiles[0, i]
    return (ZERO if d * tiles[1, i] + tiles[2, i] <= floor else get(a, i)), d


@inner
def behind_sum(a: Activations, add: bool, y: Activations, g: Activations, i: int) -> Any:
    """The gradient where y > 0, also put into g."""
    v = ZERO if get(y, i) <= ZERO else (get(a, i) + get(g, i) if add else get(a, i))
    put(g, i, v)
    return v


@inner
def add_masked(
    a: Activations, x: Activations, a2: Activations, x2: Activations, tiles: Floats, floor: np.float32, lanes: Floats
) -> None:
    prevent_fusion()
    s, q = lanes[0], lanes[1]
    if len(x2) == 0:
        for i in range(len(x)):
            v, d = behind_norm(a, x, tiles, floor, i)
            s[i] += v
            q[i] += v * d
        return
    for i in range(len(x)):
        v, d = behind_norm(a, x, tiles, floor, i)
        v2, d2 = behind_norm(a2, x2, tiles, floor, i)
        s[i] += v + v2
        q[i] += v * d + v2 * d2


@compiled_once
def gradient_sums(
    a: Activations, x: Activations, tiles: Floats, floor: np.float32, sums: Doubles, size: int, begin: int, end: int
) -> None:
    """sums[block] (2, C) of the gradient a behind `normalise`, and of its product with x - mean."""
    lanes = np.empty((2, tiles.shape[1]), dtype=np.float32)
    for block in range(begin, end):
        lanes[:] = ZERO
        at, stop = block * size, min(block * size + size, len(x))
        while at < stop:
            b, c = two_rows(at, stop, tiles.shape[1])
            add_masked(a[at:b], x[at:b], a[b:c], x[b:c], tiles, floor, lanes)
            at = c
        fold(lanes, sums[block])


@inner
def add_joined(
    a: Activations,
    add: bool,
    x: Activations,
    y: Activations,
    g: Activations,
    a2: Activations,
    x2: Activations,
    y2: Activations,
    g2: Activations,
    mean: Floats,
    s: Floats,
    q: Floats,
) -> None:
    prevent_fusion()
    if len(x2) == 0:
        for i in range(len(x)):
            v = behind_sum(a, add, y, g, i)
            s[i] += v
            q[i] += v * (get(x, i) - mean[i])
        return
    for i in range(len(x)):
        v, v2 = behind_sum(a, add, y, g, i), behind_sum(a2, add, y2, g2, i)
        s[i] += v + v2
        q[i] += v * (get(x, i) - mean[i]) + v2 * (get(x2, i) - mean[i])


@compiled_once
def joined_gradient_sums(
    a: Activations,
    add: bool,
    x: Activations,
    y: Activations,
    tiles: Floats,
    g: Activations,
    sums: Doubles,
    size: int,
    begin: int,
    end: int,
) -> None:
    """As `gradient_sums` behind `join`; g becomes the gradient of the sum: a, or a + g if `add`, where y > 0."""
    width = tiles.shape[1]
    lanes = np.empty((2, width), dtype=np.float32)
    for block in range(begin, end):
        lanes[:] = ZERO
        at, stop = block * size, min(block * size + size, len(x))
        while at < stop:
            b, c = two_rows(at, stop, width)
            add_joined(
                a[at:b], add, x[at:b], y[at:b], g[at:b], a[b:c], x[b:c], y[b:c], g[b:c], tiles[0], lanes[0], lanes[1]
            )
            at = c
        fold(lanes, sums[block])


@compiled_once
def parameter_gradients(
    sums: Doubles,
    weight: Floats,
    deviation: Doubles,
    count: int,
    weight_gradient: Floats,
    bias_gradient: Floats,
    factors: Floats,
) -> None:
    """Gradients (C,) of weight and bias; factors (2, width) of x - mean and of 1 in the gradient of x."""
    for c in range(len(weight)):
        s, q = total(sums, c)
        weight_gradient[c], bias_gradient[c] = q / deviation[c], s
        scale = float(weight[c]) / deviation[c]
        for lane in range(c, factors.shape[1], len(weight)):
            factors[0, lane] = -scale * q / (count * deviation[c] * deviation[c])
            factors[1, lane] = -scale * s / count


@inner
def input_gradient_rows(
    a: Activations, a2: Activations, tiles: Floats, floor: np.float32, factors: Floats, x: Activations, x2: Activations
) -> None:
    prevent_fusion()
    scale, slope, offset = tiles[1], factors[0], factors[1]
    if len(x2) == 0:
        for i in range(len(x)):
            v, d = behind_norm(a, x, tiles, floor, i)
            put(x, i, scale[i] * v + (slope[i] * d + offset[i]))
        return
    for i in range(len(x)):
        v, d = behind_norm(a, x, tiles, floor, i)
        v2, d2 = behind_norm(a2, x2, tiles, floor, i)
        put(x, i, scale[i] * v + (slope[i] * d + offset[i]))
        put(x2, i, scale[i] * v2 + (slope[i] * d2 + offset[i]))


@compiled_once
def input_gradient(
    a: Activations, tiles: Floats, floor: np.float32, factors: Floats, x: Activations, size: int, begin: int, end: int
) -> None:
    """The gradient of x, written over x."""
    at, stop = begin * size, min(end * size, len(x))
    while at < stop:
        b, c = two_rows(at, stop, tiles.shape[1])
        input_gradient_rows(a[at:b], a[b:c], tiles, floor, factors, x[at:b], x[b:c])
        at = c
