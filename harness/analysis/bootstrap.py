"""What seeds and test images say together: a hierarchical bootstrap over both, from a hit for each image of each run.

Seeds are drawn with replacement, then images, the same ones for every seed and both methods, because every run is
evaluated on the same images (the pigeonhole bootstrap, Owen 2007; it errs to the wide side). Deterministic: the same
hits give the same range. Reads no record.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analysis.statistics import LEVEL

REPLICATES = 2000
_STREAM = 0x68697473  # the draws' own; not of harness.streams, with which torch would come
_AT_ONCE = 2**22  # weights held in memory at a time

Hits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Resampled:
    """An accuracy, or a difference of two, and the range of its resamples. In per cent or points."""

    mean: float
    low: float
    high: float
    """Percentiles that hold LEVEL of the resamples. Over few seeds too narrow: two seeds make but three mixtures."""
    seeds: int
    images: int


def bootstrap_accuracy(hits: Hits) -> Resampled:
    """Of one method.

    Args:
        hits: (seeds, images).
    """
    return _resample(hits.astype(np.int8))


def bootstrap_difference(first: Hits, second: Hits) -> Resampled:
    """Of the first method's accuracy minus the second's, seed by seed and image by image.

    Args:
        first, second: (seeds, images) each, the same seeds and images in the same order.

    Raises:
        ValueError: the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"hits of the same seeds and images are needed: {first.shape} and {second.shape} were given")
    return _resample(first.astype(np.int8) - second.astype(np.int8))


def _resample(scores: npt.NDArray[np.int8]) -> Resampled:
    """Of scores (seeds, images). Images with the same scores under every seed are drawn together: it is the same."""
    seeds, images = scores.shape
    patterns, counts = np.unique(scores, axis=1, return_counts=True)  # (seeds, P), (P,)
    generator = np.random.default_rng((_STREAM, seeds, images))
    means: list[npt.NDArray[np.float64]] = []
    left = REPLICATES
    while left:
        size = min(left, max(1, _AT_ONCE // len(counts)))
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size)  # (size, seeds)
        of_patterns = generator.multinomial(images, counts / images, size)  # (size, P)
        means.append(((of_seeds @ patterns) * of_patterns).sum(axis=1) / (seeds * images))
        left -= size
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return Resampled(100 * float(scores.mean()), 100 * float(low), 100 * float(high), seeds, images)
