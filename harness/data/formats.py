"""Fashion-MNIST's IDX files, STL-10's binary files and Tiny ImageNet's folder, as they are published.

Owns how their bytes become (n, H, W, C) pixels and labels, and the order of both; refuses files that are not what
they should be. Writes nothing.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.archives import Bounded, intact, open_plain
from harness.data.datasets import DataError
from harness.data.packed import Chunk, Labels, Pixels

CHUNK_IMAGES = 1000
IDX_LIMIT = 1 << 28  # bytes; Fashion-MNIST's largest file has 47 million
STL_SIDE = 96
WNID = re.compile(r"n\d{8}")

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
STL_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def plain_or_gzip(folder: Path, name: str) -> Path:
    """The file of that name, or with .gz behind it. DataError if there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder / name} (or .gz) is missing: the copy is incomplete")


def decode(path: Path, channels: int) -> Pixels:
    """An image file as (H, W, C) uint8, in colour or grey whatever it is in the file. DataError if it is no image."""
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB" if channels == 3 else "L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is missing, or not an image that can be read ({error})") from error
    return pixels if channels == 3 else pixels[..., None]


def read_idx(path: Path) -> Pixels:
    """An IDX file of unsigned bytes, gzipped or not, in the shape its header gives."""
    with intact(path), open_plain(path) as stream:
        data = Bounded(stream, IDX_LIMIT, path.name).read()
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{path} is not an IDX file of unsigned bytes")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    body = len(data) - 4 - 4 * data[3]
    if body != math.prod(shape):
        raise DataError(f"{path} is damaged or incomplete: {body} bytes where its header says {shape}: fetch it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def read_fashion_mnist(folder: Path) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """Class names, and the train and test chunks."""

    def chunks() -> Iterator[Chunk]:
        for split, prefix in (("train", "train"), ("test", "t10k")):
            images = plain_or_gzip(folder, f"{prefix}-images-idx3-ubyte")
            pixels, labels = read_idx(images), read_idx(plain_or_gzip(folder, f"{prefix}-labels-idx1-ubyte"))
            if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
                raise DataError(f"{images}: images of shape {pixels.shape} with labels of shape {labels.shape}")
            yield split, pixels[..., None], labels.astype(np.int64)

    return FASHION_CLASSES, chunks()


def read_stl10(folder: Path) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """Class names, and the chunks of train, unlabeled (label -1) and test. Labels in the files begin at 1."""

    def chunks() -> Iterator[Chunk]:
        for split in ("train", "unlabeled", "test"):
            labels: Labels | None = None
            if split != "unlabeled":
                labels = np.fromfile(_present(folder / f"{split}_y.bin"), np.uint8).astype(np.int64) - 1
            first = 0
            for pixels in _stl_images(_present(folder / f"{split}_X.bin")):
                last = first + len(pixels)
                if labels is not None and last > len(labels):
                    raise DataError(f"{folder}: {split} has more images than its {len(labels)} labels")
                yield split, pixels, np.full(len(pixels), -1) if labels is None else labels[first:last]
                first = last
            if labels is not None and first != len(labels):
                raise DataError(f"{folder}: {split} has {first} images but {len(labels)} labels")

    return STL_CLASSES, chunks()


def _present(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path} is missing: the copy is incomplete")
    return path


def _stl_images(path: Path) -> Iterator[Pixels]:
    """(n, 96, 96, 3) at a time. In the file an image is three planes, each column by column."""
    size = 3 * STL_SIDE * STL_SIDE
    if path.stat().st_size % size:
        raise DataError(f"{path} is damaged or incomplete: not a whole number of 96x96 images: fetch it again")
    with path.open("rb") as file:
        while data := file.read(CHUNK_IMAGES * size):
            planes = np.frombuffer(data, np.uint8).reshape(-1, 3, STL_SIDE, STL_SIDE)  # (n, C, x, y)
            yield np.ascontiguousarray(planes.transpose(0, 3, 2, 1))


def read_tiny_imagenet(folder: Path) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """Class ids in order, and the chunks: train, then the official val folder as test, both sorted by class and file.

    The original val folder holds all images together, with their classes in val_annotations.txt; copies in which it has
    been sorted into a folder a class are read as well.
    """
    classes = tuple(sorted(set(_present(folder / "wnids.txt").read_text(encoding="ascii", errors="replace").split())))
    if not all(WNID.fullmatch(wnid) for wnid in classes):
        raise DataError(f"{folder / 'wnids.txt'} holds something other than class ids such as n01443537")

    def chunks() -> Iterator[Chunk]:
        for split, files in (("train", _by_folder(folder / "train", classes)), ("test", _tiny_val(folder, classes))):
            for first in range(0, len(files), CHUNK_IMAGES):
                part = files[first : first + CHUNK_IMAGES]
                pixels = [decode(path, channels=3) for path, _ in part]
                odd = next(
                    (path for (path, _), image in zip(part, pixels, strict=True) if image.shape != (64, 64, 3)), None
                )
                if odd is not None:
                    raise DataError(f"{odd} is not 64x64 pixels: not Tiny ImageNet as published")
                yield split, np.stack(pixels), np.array([label for _, label in part], np.int64)

    return classes, chunks()


def _by_folder(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Files of a folder a class, in which an `images` folder may lie between."""
    files: list[tuple[Path, int]] = []
    for label, wnid in enumerate(classes):
        inner = folder / wnid / "images"
        images = sorted((inner if inner.is_dir() else folder / wnid).glob("*.JPEG"))
        if not images:
            raise DataError(f"{folder / wnid} has no images: the copy is incomplete")
        files += [(path, label) for path in images]
    return files


def _tiny_val(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    annotations = folder / "val" / "val_annotations.txt"
    if not (folder / "val" / "images").is_dir():
        return _by_folder(folder / "val", classes)
    files = []
    for number, line in enumerate(_present(annotations).read_text(encoding="utf-8").splitlines(), start=1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in classes or name != Path(name).name:
            raise DataError(f"{annotations}:{number}: not a file and one of the {len(classes)} classes: {line[:60]!r}")
        files.append((folder / "val" / "images" / name, classes.index(wnid)))
    return sorted(files, key=lambda file: (file[1], file[0].name))
