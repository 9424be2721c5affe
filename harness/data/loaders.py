"""Datasets that are not built in, read by the loader that their entry names (`DatasetInfo.load`), to be packed.

Owns what a loader may give and what is refused of it. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.datasets import DataError, DatasetInfo
from harness.data.packed import Chunk, Labels, Pixels
from harness.registry import named

CHUNK_IMAGES = 1000


def read_loaded(info: DatasetInfo, folder: Path) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """Names of the classes, and the chunks of every split in the order of `info.splits`.

    Raises:
        DataError: the loader fails, or gives something else than `datasets.Load` says.
        ExtensionError: there is no such loader.
    """
    if info.load is None or info.classes is None or info.native_size is None or not info.splits:
        raise DataError(f"{info.name}: its DatasetInfo needs load, classes, native_size and splits, to be prepared")
    load = named(info.load, f"the dataset {info.name!r} says load =")

    def loaded(split: str) -> Any:
        try:
            return load(split, folder)
        except Exception as error:
            raise DataError(f"{info.name}: its loader failed on {split}: {type(error).__name__}: {error}") from error

    first, *others = info.splits
    given = loaded(first)
    names = tuple(str(name) for name in getattr(given, "classes", range(info.classes)))

    def chunks() -> Iterator[Chunk]:
        yield from _chunks(info, first, given)
        for split in others:
            yield from _chunks(info, split, loaded(split))

    return names, chunks()


def _chunks(info: DatasetInfo, split: str, given: Any) -> Iterator[Chunk]:
    """What was loaded, some images at a time: arrays of a whole split, or pairs."""
    if isinstance(given, tuple) and len(given) == 2 and hasattr(given[0], "ndim"):
        images, labels = (np.asarray(part) for part in given)
        yield split, _checked(info, split, images, labels), labels.astype(np.int64)
        return
    try:
        for start in range(0, len(given), CHUNK_IMAGES):
            images, labels = _pairs(info, given, range(start, min(start + CHUNK_IMAGES, len(given))))
            yield split, _checked(info, split, images, labels), labels.astype(np.int64)
    except (TypeError, ValueError, LookupError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{info.name}: its loader gives {split} as a {type(given).__name__} that cannot be read as pairs of an "
            f"image and a label, all of one size: {type(error).__name__}: {error}"
        ) from error


def _checked(info: DatasetInfo, split: str, images: Pixels, labels: Labels) -> Pixels:
    """The images as (n, H, W, C)."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or labels.shape != images.shape[:1]:
        raise DataError(
            f"{info.name}: its loader gives {split} as {images.dtype} of shape {images.shape} with labels of shape "
            f"{labels.shape}; images are uint8 (N, H, W, C) or (N, H, W), labels (N,)"
        )
    return images if images.ndim == 4 else images[..., None]


def _pairs(info: DatasetInfo, given: Sequence[tuple[Any, int]], rows: range) -> tuple[Pixels, Labels]:
    """Images as PIL or as arrays; those of PIL in colour or grey, as the dataset has them."""
    images, labels = zip(*(given[row] for row in rows), strict=True)
    mode = "RGB" if info.channels == 3 else "L"
    pixels = [np.asarray(image.convert(mode) if hasattr(image, "convert") else image) for image in images]
    return np.stack(pixels), np.asarray(labels)
