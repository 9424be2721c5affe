"""Compiled loops that move pixels of maps in channels-last order on a CPU. Never checks its input (see
`convolutions.py`): a wrong size reads foreign memory."""

from __future__ import annotations

from harness.accelerate.cpu.flat import Activations
from harness.accelerate.cpu.norm_kernels import apart, inner, kept


@inner
def copy_pixel(x: Activations, y: Activations) -> None:
    apart()
    for c in range(len(x)):
        y[c] = x[c]


@inner
def clear(y: Activations) -> None:
    for c in range(len(y)):
        y[c] = 0


@kept
def every(x: Activations, y: Activations, channels: int, side: int, stride: int, begin: int, end: int) -> None:
    """Of images begin to end, maps of side x side pixels: every stride-th pixel of every stride-th row of x, into y."""
    at = begin * (-(-side // stride)) ** 2 * channels
    for image in range(begin, end):
        for row in range(0, side, stride):
            start = (image * side + row) * side * channels
            for pixel in range(start, start + side * channels, stride * channels):
                copy_pixel(x[pixel : pixel + channels], y[at : at + channels])
                at += channels


@kept
def between(x: Activations, y: Activations, channels: int, side: int, stride: int, begin: int, end: int) -> None:
    """The inverse of `every`: x gets the pixels of y, and zeros between them."""
    at = begin * (-(-side // stride)) ** 2 * channels
    for image in range(begin, end):
        for row in range(side):
            start = (image * side + row) * side * channels
            clear(x[start : start + side * channels])
            if row % stride:
                continue
            for pixel in range(start, start + side * channels, stride * channels):
                copy_pixel(y[at : at + channels], x[pixel : pixel + channels])
                at += channels
