"""The images of one role: packed pixels, or files that are decoded as they are needed.

Owns what both have in common, so that the rest need not know which it has. Never opens a dataset (see `loading`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.formats import decode
from harness.data.packed import Labels, Pixels

Rows = npt.NDArray[np.int64] | slice
Names = npt.NDArray[np.bytes_]


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one size, in their dataset's order."""

    pixels: Pixels
    """(N, H, W, C) uint8: the memory map, or a copy in memory where only some of its rows are used."""
    labels: Labels
    """(N,) int64; -1 where there is no label. Not every class need occur."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Rows) -> Images:
        """Some of the images; a slice of the same memory, or a copy for an array of rows."""
        return Images(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Images in files, of whatever size each has."""

    root: Path
    files: Names
    """(N,) names below the root, UTF-8."""
    labels: Labels
    """(N,) int64."""
    channels: int
    """What they are decoded to: 3 (RGB) or 1 (grey)."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Rows) -> StreamedImages:
        """Some of the images."""
        return StreamedImages(self.root, self.files[rows], self.labels[rows], self.channels)

    def decode(self, row: int) -> Pixels:
        """(H, W, C) uint8 of one image. DataError, with the file's name, if it cannot be read."""
        return decode(self.root / bytes(self.files[row]).decode(), self.channels)


AnyImages = Images | StreamedImages
