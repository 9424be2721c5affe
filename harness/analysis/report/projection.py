"""Test images of a run in the plane, by scikit-learn's t-SNE, and the cache that makes a second page quick.

Owns the cache file: a JSON object from the digest of a sample and of the settings to coordinates. It is a convenience:
a missing, unreadable or read-only one costs time and changes no byte of the page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.analysis.row_results import RowResults
from harness.store.atomic import StoreError, write_text
from harness.store.records import Sample, unpack_components

SCALE = 1000
"""Coordinates are whole numbers from 0 to this: a thousandth of the picture's side."""
PERPLEXITY = 30.0
_FEWEST = 10  # images: fewer have no neighbourhoods to preserve


class Projections:
    """Coordinates of samples, from the cache or computed."""

    def __init__(self, cache: Path | None) -> None:
        """Args: cache: a file, which need not exist; None keeps nothing."""
        self._path = cache
        self._known = _read(cache)
        self._used: dict[str, list[int]] = {}

    def plane(self, sample: Sample) -> list[int] | None:
        """x0, y0, x1, y1, ... of the sample's images; None where there are too few, or nothing varies."""
        key = _key(sample)
        if key not in self._used:
            cached = self._known.get(key)
            points = project(sample) if cached is None or len(cached) != 2 * sample.images else cached
            if points is None:
                return None
            self._used[key] = points
        return self._used[key]

    def planes(self, rows: Sequence[RowResults]) -> list[tuple[str, Sequence[int], Sequence[int]]]:
        """(heading, coordinates, classes) of each row's first seed with a sample, where it can be projected."""
        planes: list[tuple[str, Sequence[int], Sequence[int]]] = []
        for row in rows:
            result = next((result for result in row.results if result.sample is not None), None)
            if result is not None and result.sample is not None and (plane := self.plane(result.sample)) is not None:
                planes.append((f"{row.name}, seed {result.cell.seed}", plane, result.sample.labels))
        return planes

    def save(self) -> None:
        """Keep what this page used, and nothing else."""
        if self._path is None or self._used == self._known:
            return
        try:
            write_text(self._path, json.dumps(self._used, sort_keys=True, separators=(",", ":")) + "\n")
        except StoreError:
            return  # a read-only results directory: the page itself may go elsewhere


def project(sample: Sample) -> list[int] | None:
    """t-SNE of a sample's principal components (n, K), started from the first two: the same on every call."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    x = unpack_components(sample).astype(np.float64)  # (n, K)
    if len(x) < _FEWEST or not np.isfinite(x).all() or float(np.ptp(x, axis=0).max()) == 0.0:
        return None
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    with threadpool_limits(limits=1):  # the order of a parallel sum is not the same twice
        plane = TSNE(2, perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(x)  # (n, 2)
    low, span = plane.min(0), max(float(np.ptp(plane, axis=0).max()), 1e-12)
    centred = (plane - low - np.ptp(plane, axis=0) / 2) / span + 0.5
    return [round(float(value) * SCALE) for value in centred.ravel()]


def _key(sample: Sample) -> str:
    settings = f"tsne perplexity={PERPLEXITY:g} scale={SCALE} {sample.images}x{sample.dimensions} "
    return hashlib.sha256((settings + sample.components).encode()).hexdigest()[:32]


def _read(path: Path | None) -> dict[str, list[int]]:
    if path is None or not path.is_file():
        return {}
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(tree, dict):
        return {}
    return {key: value for key, value in tree.items() if isinstance(value, list) and _whole(value)}


def _whole(values: list[object]) -> bool:
    return all(isinstance(value, int) and 0 <= value <= SCALE for value in values)
