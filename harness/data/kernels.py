"""The compiled loops that make views on a CPU, image by image, so that each image stays in the nearest cache.

Owns all the code that numba compiles, in one file: a compiled function is kept on the disk until the file it stands in
changes, whatever becomes of the files it calls. Does with pixels in [0, 255] what `tensors.py` does with tensors, in
the same order and by the same formulas (`colour.py`, `resize.py`, `blur.py`), and is tested to be equal to it. Never
checks its input (see `fused.py`): a number out of range reads memory that is not the image's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_, CONTRAST, SATURATION, HUE = range(4)  # as in `draw.OPERATIONS`
RED, GREEN, BLUE = np.float32(0.2989), np.float32(0.587), np.float32(0.114)  # `colour.LUMA`
# Of float32 like the pixels: a Python number would turn the arithmetic into float64.
ZERO, ONE, TWO, FOUR, WHITE = (np.float32(value) for value in (0, 1, 2, 4, 255))
HALF, ONE_AND_HALF, TWO_AND_HALF = (np.float32(value) for value in (0.5, 1.5, 2.5))
SUM_BLOCK = 1024  # values that are added up in float32, before float64 takes over
# u1: bytes, i8: int64, f4: float32, b1: flag(s); [..., ::1]: rows after each other in memory.
SIGNATURE = (
    "void(u1[:,:,:,::1], i8[::1], i8[:,::1], f4[:,::1], i8[:,::1], b1[:,::1], f4[::1], i8, f4, b1, "
    "f4[:,::1], f4[:,:,::1], i8, i8)"
)
# Sums may be reordered, which lets them use vector registers; infinities and signs of zero do not occur.
OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nnan", "nsz", "arcp"}}
compiled: Callable[..., Any] = numba.njit(**OPTIONS)  # as part of what calls it


def compiled_once(function: Callable[..., None]) -> Callable[..., None]:
    """Compiled at once, for `SIGNATURE`, and kept on the disk; where no folder can be written to, in each process."""
    try:
        kept_function: Callable[..., None] = numba.njit(SIGNATURE, cache=True, **OPTIONS)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        kept_function = numba.njit(SIGNATURE, **OPTIONS)(function)
    return kept_function


@compiled
def load(pixels: npt.NDArray[np.uint8], planes: Floats) -> None:
    """(H, W, C) bytes to planes (C, H, W)."""
    height, width, channels = pixels.shape
    if channels == 3:
        for y in range(height):
            line, r, g, b = pixels[y], planes[0, y], planes[1, y], planes[2, y]
            for x in range(width):
                r[x], g[x], b[x] = line[x, 0], line[x, 1], line[x, 2]
    else:
        planes[0] = pixels[:, :, 0]


@compiled
def scale(plane: Floats, factor: np.float32, constant: np.float32) -> None:
    """In place: factor x pixel + constant, clamped."""
    for i in range(len(plane)):
        plane[i] = min(max(factor * plane[i] + constant, ZERO), WHITE)


@compiled
def total(plane: Floats) -> float:
    """Sum of a plane, in float64 from block to block."""
    whole = 0.0
    for start in range(0, len(plane), SUM_BLOCK):
        block = plane[start : start + SUM_BLOCK]
        part = ZERO
        for i in range(len(block)):
            part += block[i]
        whole += float(part)
    return whole


@compiled
def saturate(r: Floats, g: Floats, b: Floats, factor: np.float32) -> None:
    """In place: away from the grey of each pixel, or towards it; factor 0 is greyscale."""
    for i in range(len(r)):
        base = (ONE - factor) * (RED * r[i] + GREEN * g[i] + BLUE * b[i])
        r[i] = min(max(factor * r[i] + base, ZERO), WHITE)
        g[i] = min(max(factor * g[i] + base, ZERO), WHITE)
        b[i] = min(max(factor * b[i] + base, ZERO), WHITE)


@compiled
def rotate_hue(r: Floats, g: Floats, b: Floats, sixths: np.float32) -> None:
    """In place: `colour.rotate_hue_`."""
    for i in range(len(r)):
        red, green, blue = r[i], g[i], b[i]
        most, least = max(red, green), min(red, green)
        high, low = max(most, blue), min(least, blue)
        mid = max(min(most, blue), least)
        flank = (high - low) * sixths
        r[i] = min(max(TWO * red - mid + (flank if blue > green else -flank), low), high)
        g[i] = min(max(TWO * green - mid + (flank if red > blue else -flank), low), high)
        b[i] = min(max(TWO * blue - mid + (flank if green > red else -flank), low), high)


@compiled
def colour(planes: Floats, order: Integers, factors: Floats, grey: bool) -> int:
    """In place: jitter in the image's order, then greyscale, of planes (C, P). A factor of 1, a hue of 0 is skipped.

    Returns `turn`: channel c is now in plane (c + turn) % C, for a third of a turn of the hue only renames them.
    """
    channels, pixels = planes.shape
    turn = 0
    for slot in range(4):
        operation = order[slot]
        factor = factors[operation]
        thirds = int(np.rint(factor * np.float32(3))) if operation == HUE else 0
        turn = (turn - thirds) % channels
        r, g, b = planes[turn], planes[(1 + turn) % channels], planes[(2 + turn) % channels]
        if operation == HUE:
            if factor != ZERO:
                rotate_hue(r, g, b, np.float32(6.0 * factor - 2.0 * thirds))
        elif factor != ONE:
            if operation == SATURATION:
                saturate(r, g, b, factor)
            else:
                constant = ZERO
                if operation == CONTRAST:
                    mean = total(r) if channels == 1 else RED * total(r) + GREEN * total(g) + BLUE * total(b)
                    constant = np.float32((ONE - factor) * mean / pixels)
                for c in range(channels):
                    scale(planes[c], factor, constant)
    if grey:
        saturate(planes[turn], planes[(1 + turn) % 3], planes[(2 + turn) % 3], ZERO)
    return turn


@compiled
def resize_taps(length: int, size: int, mirrored: bool, first: Integers, weights: Floats, work: Floats) -> int:
    """Antialiased bicubic weights from `length` rows to `size`: `resize.crop_weights`, without its zeros.

    Fills first (S,), the first row that makes each resulting row, and weights (taps, S) of the rows from there on;
    returns taps. `work` (2, S) is scratch.
    """
    ratio = length / size
    widening = max(ratio, 1.0)
    taps = min(length, 4 * math.ceil(widening))
    narrowing = np.float32(1.0 / widening)
    start, sums = work[0], work[1]
    for i in range(size):
        centre = ((size - 1 - i if mirrored else i) + 0.5) * ratio
        first[i] = min(max(math.floor(centre - 2.0 * widening + 0.5), 0), length - taps)
        start[i] = np.float32(first[i] + 0.5 - centre)
        sums[i] = ZERO
    for k in range(taps):
        for i in range(size):
            distance = abs((start[i] + np.float32(k)) * narrowing)
            near, far = min(distance, ONE), min(max(distance, ONE), TWO)
            inner = (ONE_AND_HALF * near - TWO_AND_HALF) * near * near + ONE
            weights[k, i] = inner + ((TWO_AND_HALF - HALF * far) * far - FOUR) * far + TWO
            sums[i] += weights[k, i]
    for k in range(taps):
        for i in range(size):
            weights[k, i] /= sums[i]
    return taps


@compiled
def mix(source: Floats, width: int, first: Integers, weights: Floats, taps: int, target: Floats) -> None:
    """Each row of target (S, .), `width` columns of it, is the weighted sum of `taps` rows of source from first on."""
    for i in range(len(target)):
        row, to = first[i], target[i, :width]
        to[:] = ZERO
        for k in range(0, taps - 3, 4):
            p, q, r, s = source[row + k], source[row + k + 1], source[row + k + 2], source[row + k + 3]
            wp, wq, wr, ws = weights[k, i], weights[k + 1, i], weights[k + 2, i], weights[k + 3, i]
            for x in range(width):
                to[x] += wp * p[x] + wq * q[x] + wr * r[x] + ws * s[x]
        for k in range(taps // 4 * 4, taps):
            p, wp = source[row + k], weights[k, i]
            for x in range(width):
                to[x] += wp * p[x]


@compiled
def turn(source: Floats, start: int, count: int, target: Floats, channels: int, channel: int) -> None:
    """Columns of source, `count` from `start` on, become rows of target, among interleaved channels."""
    for y in range(len(source)):
        line = source[y, start : start + count]
        for x in range(count):
            target[x, y * channels + channel] = line[x]


@compiled
def separate(view: Floats, planes: Floats) -> None:
    """Rows (S, S C) of interleaved channels to planes (C, S S)."""
    channels, (size, _) = len(planes), view.shape
    for i in range(size):
        for x in range(size):
            for c in range(channels):
                planes[c, i * size + x] = view[i, x * channels + c]


@compiled
def interleave(planes: Floats, rolled: int, view: Floats) -> None:
    """The way back; channel c is in plane (c + rolled) % C."""
    channels, (size, _) = len(planes), view.shape
    for c in range(channels):
        plane = planes[(c + rolled) % channels]
        for i in range(size):
            for x in range(size):
                view[i, x * channels + c] = plane[i * size + x]


@compiled
def blur(view: Floats, sigma: np.float32, radius: int, channels: int, line: Floats, other: Floats) -> None:
    """In place: rows (S, S C) of interleaved channels, blurred along both axes with reflected borders."""
    size, width = view.shape
    kernel = np.empty(radius + 1, dtype=np.float32)  # of the centre and one side
    whole = 0.0
    for k in range(radius + 1):
        weight = math.exp(-0.5 * k * k / (float(sigma) * float(sigma)))
        whole += weight if k == 0 else 2.0 * weight
        kernel[k] = weight
    for k in range(radius + 1):
        kernel[k] /= np.float32(whole)
    for i in range(size):
        to, centre = other[i], view[i]
        for x in range(width):
            to[x] = kernel[0] * centre[x]
        for k in range(1, radius + 1):
            weight = kernel[k]
            above, below = view[abs(i - k)], view[size - 1 - abs(size - 1 - i - k)]
            for x in range(width):
                to[x] += weight * (above[x] + below[x])
    for i in range(size):
        to = view[i]
        for x in range(-radius, size + radius):
            inside = size - 1 - abs(size - 1 - abs(x))
            for c in range(channels):
                line[(x + radius) * channels + c] = other[i, inside * channels + c]
        centre = line[radius * channels :]
        for x in range(width):
            to[x] = kernel[0] * centre[x]
        for k in range(1, radius + 1):
            weight = kernel[k]
            before, after = line[(radius - k) * channels :], line[(radius + k) * channels :]
            for x in range(width):
                to[x] += weight * (before[x] + after[x])


@compiled
def finish(view: Floats, solarised: bool, threshold: np.float32, spread: Floats, shift: Floats, out: Floats) -> None:
    """Solarise and normalise rows (S, S C): scale and shift (S C,) repeat a channel's for each pixel."""
    size, width = view.shape
    for i in range(size):
        line, to = view[i], out[i]
        if solarised:
            for x in range(width):
                line[x] = WHITE - line[x] if line[x] >= threshold else line[x]
        for x in range(width):
            to[x] = spread[x] * line[x] + shift[x]


@compiled_once
def make_views(
    pixels: npt.NDArray[np.uint8],
    rows: Integers,
    order: Integers,
    factors: Floats,
    boxes: Integers,
    flags: Flags,
    sigma: Floats,
    radius: int,
    threshold: np.float32,
    crop_first: bool,
    normalise: Floats,
    out: Floats,
    begin: int,
    end: int,
) -> None:
    """Views begin to end of a batch of N.

    Args:
        pixels: (images, H, W, C).
        rows: (N,) the image that each view is of.
        order: (N, 4) operations in the order of each view.
        factors: (N, 4) of each operation by its number; 1, and 0 for the hue, where it is off.
        boxes: (N, 4) top, left, height and width of the crop.
        flags: (N, 3) whether grey, flipped, solarised.
        sigma: (N,) standard deviation of the blur; 0 where it is off.
        radius: of the blur, less than S.
        threshold: of solarising, in [0, 255].
        crop_first: whether the colours of the view are changed, after crop and flip, and not those of the image.
        normalise: (2, S C) what a row is multiplied by and what is added to it then.
        out: (N, S, S C) to write to.
    """
    (_, height, width, channels), (_, size, across) = pixels.shape, out.shape
    flat = np.empty((channels, height * width), dtype=np.float32)
    planes = flat.reshape(channels, height, width)
    columns, narrow = np.empty((width, height), dtype=np.float32), np.empty((size, height), dtype=np.float32)
    turned = np.empty((height, across), dtype=np.float32)
    view, other = np.empty((size, across), dtype=np.float32), np.empty((size, across), dtype=np.float32)
    line = np.empty((size + 2 * radius) * channels, dtype=np.float32)
    longest = max(height, width)
    weights = np.empty((min(longest, 4 * math.ceil(max(1.0, longest / size))), size), dtype=np.float32)
    first, work = np.empty(size, dtype=np.int64), np.empty((2, size), dtype=np.float32)
    small = np.empty((channels, size * size if crop_first else 0), dtype=np.float32)
    for n in range(begin, end):
        top, left, box_height, box_width = boxes[n, 0], boxes[n, 1], boxes[n, 2], boxes[n, 3]
        load(pixels[rows[n]], planes)
        rolled = 0 if crop_first else colour(flat, order[n], factors[n], flags[n, 0])
        taps = resize_taps(box_width, size, flags[n, 1], first, weights, work)
        for c in range(channels):
            turn(planes[(c + rolled) % channels, top : top + box_height], left, box_width, columns, 1, 0)
            mix(columns, box_height, first, weights, taps, narrow)
            turn(narrow, 0, box_height, turned, channels, c)
        taps = resize_taps(box_height, size, False, first, weights, work)
        mix(turned, across, first, weights, taps, view)
        scale(view.reshape(size * across), ONE, ZERO)  # only clamps
        if crop_first:
            separate(view, small)
            rolled = colour(small, order[n], factors[n], flags[n, 0])
            interleave(small, rolled, view)
        if sigma[n] > ZERO:
            blur(view, sigma[n], radius, channels, line, other)
        finish(view, flags[n, 2], threshold, normalise[0], normalise[1], out[n])
