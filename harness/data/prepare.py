"""Brings a dataset into the data directory, and checks one that is there.

Owns the way from a download or a user's copy to a complete set; the readers of the formats are `recipes`, `folders`,
`imagenet` and, of what is not built in, `loaders`. What fails leaves no dataset, only downloads that can be resumed.
Prints nothing.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.data.archives import BLOCK, Bounded, Progress, intact, open_plain, quiet, unpack
from harness.data.datasets import UNLABELED, DataError, DatasetInfo, dataset_info, missing
from harness.data.download import fetch
from harness.data.folders import prepare_streamed, verify_streamed
from harness.data.formats import plain_or_gzip
from harness.data.loaders import read_loaded
from harness.data.packed import (
    Chunk,
    Labels,
    Manifest,
    PackedWriter,
    Pixels,
    building,
    manifest_of,
    read_manifest,
    verify_packed,
)
from harness.data.recipes import RECIPES, Recipe

UNPACKED = "unpacked"


def prepare(
    name: str,
    data_dir: Path,
    source: Path | None = None,
    *,
    download: bool = False,
    class_list: Path | None = None,
    progress: Progress = quiet,
) -> Manifest:
    """Make the dataset ready in `data_dir`; at once if it is.

    Args:
        source: the user's copy, an archive or a folder.
        download: fetch it where no source is given and it is offered.
        class_list: ImageNet-100's file of 100 class ids.

    Raises DataMissing with neither a source nor a download, DataError for a source that is not the dataset, whole.
    """
    info = dataset_info(name)
    if source is not None and not source.exists():
        raise DataError(f"{source} does not exist: pass the archive or folder of {info.title} with --from")
    if class_list is not None and name != "imagenet100":
        raise DataError(f"{name} takes no class list: only imagenet100 is cut from a larger set")
    if info.get == "embedded":
        if source is not None:
            raise DataError(f"{name} {info.source}: leave out --from")
        return manifest_of(name, data_dir)
    if info.storage == "streamed":
        return prepare_streamed(info, data_dir, source, class_list, progress)
    if read_manifest(name, data_dir) is None:
        if source is None and not download:
            raise missing(name, data_dir)
        _prepare_packed(info, data_dir, source, progress)
    return manifest_of(name, data_dir)


def verify(name: str, data_dir: Path, progress: Progress = quiet) -> Manifest:
    """Read everything again and compare it with the fingerprints. DataError, with the split, if it has changed;
    DataMissing if there is none."""
    manifest = manifest_of(name, data_dir)
    if dataset_info(name).storage == "streamed":
        verify_streamed(manifest, data_dir, progress)
    else:
        verify_packed(manifest, data_dir, progress)
    return manifest


def _prepare_packed(info: DatasetInfo, data_dir: Path, source: Path | None, progress: Progress) -> None:
    recipe = RECIPES.get(info.name)
    downloads = data_dir / f".{info.name}.downloads"
    with building(info.name, data_dir) as directory:
        if directory is None:
            return
        if source is None:
            downloads.mkdir(exist_ok=True)
        if recipe is None:
            classes, chunks = read_loaded(info, source or downloads)
        else:
            if source is None:
                for item in recipe.downloads:
                    fetch(item.url, downloads / item.file, item.md5, item.limit, progress)
            folder = _folder(info, recipe, source or downloads, directory / UNPACKED, progress)
            _check_sums(folder, recipe, progress)
            classes, chunks = recipe.read(folder)
        _pack(info, directory, classes, chunks, progress)
        shutil.rmtree(directory / UNPACKED, ignore_errors=True)
    if source is None:
        shutil.rmtree(downloads)


def _folder(info: DatasetInfo, recipe: Recipe, source: Path, scratch: Path, progress: Progress) -> Path:
    """The folder with the dataset's files: the source, one in it, or what its archive unpacks to."""
    folder = None
    if source.is_dir():
        archive = source / recipe.downloads[0].file
        folder = _with_marker(source, recipe.marker)
    else:
        archive = source
    if folder is None and archive.is_file():
        scratch.mkdir()
        unpack(archive, scratch, recipe.limits, progress)
        folder = _with_marker(scratch, recipe.marker)
    if folder is None:
        raise DataError(
            f"{source} is not {info.title}: there is no {recipe.marker} in it, nor in a folder of it. Pass "
            f"{info.source}"
        )
    return folder


def _with_marker(folder: Path, marker: str) -> Path | None:
    for candidate in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (candidate / marker).is_file() or (candidate / f"{marker}.gz").is_file():
            return candidate
    return None


def _check_sums(folder: Path, recipe: Recipe, progress: Progress) -> None:
    for name, expected in recipe.sums.items():
        path = plain_or_gzip(folder, name)
        digest, done = hashlib.md5(usedforsecurity=False), 0
        with intact(path), open_plain(path) as stream:
            bounded = Bounded(stream, recipe.limits.size, path.name)
            while block := bounded.read(BLOCK):
                digest.update(block)
                done += len(block)
                progress(f"checking {name}", done, None)
        if digest.hexdigest() != expected:
            raise DataError(
                f"{path} has MD5 {digest.hexdigest()}, not {expected} as published: damaged, or another file. Fetch it "
                "again"
            )


def _pack(
    info: DatasetInfo, directory: Path, classes: tuple[str, ...], chunks: Iterator[Chunk], progress: Progress
) -> None:
    """Pack what a reader reads, once its shape, labels and the sizes of its splits are what the dataset's are."""
    assert info.native_size is not None
    assert info.classes is not None
    if len(classes) != info.classes:
        raise DataError(f"{info.name}: {len(classes)} classes, not {info.classes}: not {_as_said(info)}")
    side, total, done = info.native_size, sum(info.splits.values()), 0
    counts = dict.fromkeys(info.splits, 0)
    with PackedWriter(directory, info.name, (total, side, side, info.channels), classes) as writer:
        for split, pixels, labels in chunks:
            counts[split] += len(labels)
            if counts[split] > info.splits[split]:
                raise _wrong_size(info, split, f"more than {info.splits[split]:,}")
            _check_chunk(info, split, pixels, labels)
            writer.add(split, pixels, labels)
            done += len(labels)
            progress(f"packing {info.name}", done, total)
        for split, count in counts.items():
            if count != info.splits[split]:
                raise _wrong_size(info, split, f"{count:,} instead of {info.splits[split]:,}")
        writer.close()


def _check_chunk(info: DatasetInfo, split: str, pixels: Pixels, labels: Labels) -> None:
    assert info.classes is not None
    if pixels.shape[1:] != (info.native_size, info.native_size, info.channels):
        raise DataError(f"{info.name}: {split} has images of shape {pixels.shape[1:]}: not {_as_said(info)}")
    lowest = -1 if split == UNLABELED else 0
    if len(labels) and (labels.min() < lowest or labels.max() >= info.classes):
        raise DataError(f"{info.name}: {split} has labels outside 0..{info.classes - 1}: damaged, fetch it again")


def _wrong_size(info: DatasetInfo, split: str, count: str) -> DataError:
    return DataError(f"{info.name}: {split} has {count} images: not {_as_said(info)}, or an incomplete copy")


def _as_said(info: DatasetInfo) -> str:
    return f"{info.title} as {'its DatasetInfo says' if info.load else 'published'}"
