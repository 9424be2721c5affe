"""Datasets that stay files: ImageNet, ImageNet-100 and a user's own folder. Owns the list of files and their
fingerprints.

A prepared one is a directory with `manifest.json`, `files.npy` (names below the root, UTF-8) and `labels.npy`; the
images stay where they are, or lie in `files/` beside it where they came in an archive. Every file is read once, when
it is prepared.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.archives import Limits, Progress, quiet, unpack
from harness.data.datasets import DataError, DatasetInfo, missing
from harness.data.imagenet import check_imagenet, has_archives, read_class_list, unpack_imagenet
from harness.data.images import Names
from harness.data.packed import (
    LABELS,
    Labels,
    Manifest,
    building,
    changed_part,
    label_fingerprints,
    read_manifest,
    write_manifest,
)

FILES, OWN = "files.npy", "files"
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's ImageFolder
TEST_FOLDERS = ("test", "val")
READERS, READ_AHEAD = 8, 512
EXPANSION = 20  # an archive of images is hardly compressed; more than this is no archive of images


def prepare_streamed(
    info: DatasetInfo, data_dir: Path, source: Path | None, class_list: Path | None, progress: Progress
) -> Manifest:
    """List the images of a folder (or of what an archive unpacks to), and read each of them once for the
    fingerprints."""
    chosen = read_class_list(class_list) if class_list else None
    if info.name == "imagenet100" and chosen is None and read_manifest(info.name, data_dir) is None:
        raise missing(info.name, data_dir)
    if info.name == "imagenet100" and source is None:
        imagenet = read_manifest("imagenet", data_dir)
        source = root_of(imagenet, data_dir) if imagenet else None
    with building(info.name, data_dir) as directory:
        if directory is not None:
            if source is None:
                raise missing(info.name, data_dir)
            root = _root(info, source.absolute(), directory, progress)
            _index(info, directory, root, chosen, progress)
    manifest = read_manifest(info.name, data_dir)
    assert manifest is not None
    _same_as_asked(manifest, data_dir, source, chosen)
    return manifest


def _same_as_asked(manifest: Manifest, data_dir: Path, source: Path | None, chosen: tuple[str, ...] | None) -> None:
    """DataError where a set is there already, but from another folder or list than is asked for now."""
    here = data_dir / manifest.name
    if source is not None and source.is_dir() and manifest.root not in (None, str(source.absolute())):
        raise DataError(f"{here} was prepared from {manifest.root}: delete it first to prepare it from {source}")
    if chosen is not None and chosen != manifest.classes:
        raise DataError(f"{here} was prepared with other classes: delete it first to prepare it with this list")


def _root(info: DatasetInfo, source: Path, directory: Path, progress: Progress) -> Path:
    """The folder with train/ and val/ or test/: the source itself, or what its archives unpack to."""
    own = directory / OWN
    if source.is_file() and info.name == "image_folder":
        own.mkdir()
        size = min(EXPANSION * source.stat().st_size + (1 << 20), shutil.disk_usage(directory).free)
        unpack(source, own, Limits(size, files=10_000_000), progress)
        inside = next((path for path in own.iterdir() if (path / "train").is_dir()), None)
        if inside is not None:
            inside.rename(directory / "inside")
            shutil.rmtree(own)
            (directory / "inside").rename(own)
        return own
    if source.is_file():
        raise DataError(f"{source} is one file: pass the folder that holds {info.source}")
    if info.name == "imagenet" and has_archives(source):
        own.mkdir()
        unpack_imagenet(source, own, progress)
        return own
    return source


def _index(info: DatasetInfo, directory: Path, root: Path, chosen: tuple[str, ...] | None, progress: Progress) -> None:
    """Write files, labels and manifest of the images under `root`."""
    test = next((name for name in TEST_FOLDERS if (root / name).is_dir()), None)
    if test is None or not (root / "train").is_dir():
        raise DataError(f"{root} needs a folder train and a folder test or val, each with a folder a class")
    classes = chosen or class_folders(root / "train")
    names: list[str] = []
    labels: list[int] = []
    splits = {}
    for split, folder in (("train", "train"), ("test", test)):
        first = len(names)
        if chosen is None and (extra := set(class_folders(root / folder)) - set(classes)):
            raise DataError(f"{root / folder} has a class that train has not: {sorted(extra)[0]}")
        for label, wnid in enumerate(classes):
            images = image_files(root, f"{folder}/{wnid}")
            if not images and (split == "train" or chosen):
                raise DataError(f"{root / folder / wnid} has no images: an unknown class, or an incomplete copy")
            names += images
            labels += [label] * len(images)
        splits[split] = (first, len(names))
    if splits["test"][0] == splits["test"][1]:
        raise DataError(f"{root / test} has no images")
    if info.name != "image_folder":
        check_imagenet(info, root, classes, {split: last - first for split, (first, last) in splits.items()})
    files, numbers = np.array([name.encode() for name in names]), np.array(labels, np.int64)
    np.save(directory / FILES, files)
    np.save(directory / LABELS, numbers)
    owned = root == directory / OWN
    manifest = Manifest(
        name=info.name,
        splits=splits,
        images=_image_fingerprints(root, files, splits, progress),
        labels=label_fingerprints(numbers, splits),
        shape=(len(names),),
        classes=classes,
        root=None if owned else str(root),
    )
    write_manifest(directory, manifest)


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted: the classes."""
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))


def image_files(root: Path, folder: str) -> list[str]:
    """Names, below `root`, of all images in a folder and the folders in it, in torchvision's order."""
    images = []
    for path, _, files in sorted(os.walk(root / folder)):
        relative = Path(path).relative_to(root)
        images += [str(relative / file) for file in sorted(files) if file.lower().endswith(EXTENSIONS)]
    return images


def _image_fingerprints(
    root: Path, files: Names, splits: Mapping[str, tuple[int, int]], progress: Progress
) -> dict[str, str]:
    """SHA-256 by split over the SHA-256 of every file, in order. Where they lie, and their names, are not in it."""
    digests = {split: hashlib.sha256() for split in splits}
    split_of_file = (split for split, (first, last) in splits.items() for _ in range(first, last))
    for number, (split, content) in enumerate(zip(split_of_file, _digests(root, files), strict=True), start=1):
        digests[split].update(content)
        if number % 256 == 0 or number == len(files):
            progress("reading images", number, len(files))
    return {split: digest.hexdigest() for split, digest in digests.items()}


def _digests(root: Path, files: Names) -> Iterator[bytes]:
    def read(name: bytes) -> bytes:
        path = root / bytes(name).decode()
        try:
            with Image.open(path):  # reads its header
                pass
            return hashlib.sha256(path.read_bytes()).digest()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} is missing, or not an image that can be read ({error})") from error

    with ThreadPoolExecutor(READERS) as pool:
        for first in range(0, len(files), READ_AHEAD):
            yield from pool.map(read, files[first : first + READ_AHEAD])


def root_of(manifest: Manifest, data_dir: Path) -> Path:
    """The folder that the files' names are relative to."""
    return data_dir / manifest.name / OWN if manifest.root is None else Path(manifest.root)


def open_streamed(manifest: Manifest, data_dir: Path) -> tuple[Path, Names, Labels]:
    """Root, names (N,) and labels (N,). DataError if the images are no longer there."""
    root = root_of(manifest, data_dir)
    if not root.is_dir():
        raise DataError(
            f"the images of {manifest.name} were in {root}, which is not there: put it back, or delete "
            f"{data_dir / manifest.name} and prepare it again"
        )
    try:
        files = np.load(data_dir / manifest.name / FILES, mmap_mode="r", allow_pickle=False)
        labels = np.load(data_dir / manifest.name / LABELS, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{data_dir / manifest.name} is damaged ({error}): delete it and prepare it again") from error
    if files.shape != manifest.shape or labels.shape != manifest.shape:
        raise DataError(
            f"{data_dir / manifest.name} does not hold what its manifest says: delete it and prepare it again"
        )
    return root, files, labels


def verify_streamed(manifest: Manifest, data_dir: Path, progress: Progress = quiet) -> None:
    """Read every file again and compare with the fingerprints. DataError, with the split, if one differs; or with the
    file that is missing."""
    root, files, labels = open_streamed(manifest, data_dir)
    images = _image_fingerprints(root, files, manifest.splits, progress)
    if changed := changed_part(manifest, images, label_fingerprints(labels, manifest.splits)):
        raise DataError(
            f"{root}: {changed} have changed since {manifest.name} was prepared: delete {data_dir / manifest.name} and "
            "prepare it again"
        )
