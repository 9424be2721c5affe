"""Writes a small class folder, as a user has one: python tests/cases/folder.py ROOT [CLASSES [TRAIN [TEST]]]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (40, 30)  # width and height, neither square nor that of any suite
PATTERN = 4  # side of the random pattern that a class is drawn from


def write_class_folder(root: Path, classes: int = 5, train: int = 12, test: int = 4) -> None:
    """Write ROOT/{train,test}/cN/imNNN.png: each class a smooth random pattern, each image the pattern with noise, so
    that pixels alone tell classes apart. The same files every time.

    Args:
        train: images of each class in `train`.
        test: likewise.
    """
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 255, (classes, PATTERN, PATTERN, 3)).astype(np.uint8)
    smooth = [np.asarray(Image.fromarray(pattern).resize(SIZE, Image.Resampling.BICUBIC)) for pattern in patterns]
    for split, count in (("train", train), ("test", test)):
        for label, picture in enumerate(smooth):
            directory = root / split / f"c{label}"
            directory.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                noise = generator.integers(-30, 30, picture.shape)
                noisy = np.clip(picture.astype(int) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(directory / f"im{number:03}.png")


if __name__ == "__main__":
    write_class_folder(Path(sys.argv[1]), *map(int, sys.argv[2:]))
