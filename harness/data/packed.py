"""Packed datasets on disk. Owns `<data directory>/<name>/`: what is in it, how it gets there and how it is read.

A prepared dataset is one directory: `manifest.json` beside `pixels.npy` (N, H, W, C) uint8 and `labels.npy` (N,)
int64, in which every split is a range of rows. It is built under another name and renamed when complete, under a lock
of the operating system: it is there whole or not at all, and two processes never build it at once. No file of a
complete set is ever written again. Images and labels of each split have a fingerprint of their own, taken while they
are written. Never knows a dataset's own format, except the digits that scikit-learn carries; knows nothing of torch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from harness.data.archives import Progress, quiet
from harness.data.datasets import DataError, dataset_info, missing

FORMAT = 2
MANIFEST, PIXELS, LABELS = "manifest.json", "pixels.npy", "labels.npy"

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Chunk = tuple[str, Pixels, Labels]
"""Split, pixels (n, H, W, C) and labels (n,), -1 where there is none."""


@dataclass(frozen=True)
class Manifest:
    """What is in a prepared dataset.

    The fingerprints say what the content is, whatever it is called and wherever it lies: no name, path or other split
    enters one.
    """

    name: str
    splits: dict[str, tuple[int, int]]
    """First row and the row after the last, by split, in the order of the rows."""
    images: dict[str, str]
    """SHA-256 by split: of the images' shape (H, W, C) and their pixels, one image behind the other; in a streamed set
    of the SHA-256 of each file."""
    labels: dict[str, str]
    """SHA-256 by split: of the labels as little-endian 64-bit integers, one behind the other."""
    shape: tuple[int, ...]
    """(N, H, W, C) of the packed pixels; (N,) of a streamed set."""
    classes: tuple[str, ...]
    """Class names in the order of the labels."""
    root: str | None = None
    """Streamed sets: the folder that the files' names are relative to."""
    format: int = FORMAT


class PackedWriter:
    """Writes one packed set, a chunk at a time and in the order of its splits, hashing what it writes."""

    def __init__(self, directory: Path, name: str, shape: tuple[int, int, int, int], classes: tuple[str, ...]) -> None:
        """`shape` is (N, H, W, C) over all splits."""
        self._directory, self._name, self._shape, self._classes = directory, name, shape, classes
        self._splits: dict[str, tuple[int, int]] = {}
        self._labels: list[Labels] = []
        self._rows = 0
        self._digests: dict[str, Any] = {}
        # Not a memory map: on a full disk a map dies of SIGBUS, where writing raises an error that can be told.
        self._file: BinaryIO = (directory / PIXELS).open("wb")
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": tuple(int(side) for side in shape)}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, split: str, pixels: Pixels, labels: Labels) -> None:
        """Append a chunk of a split: (n, H, W, C) uint8 and (n,) integers, -1 where there is no label."""
        assert pixels.dtype == np.uint8, pixels.dtype
        assert pixels.shape == (len(labels), *self._shape[1:]), (pixels.shape, self._shape)
        assert split not in self._splits or self._splits[split][1] == self._rows, f"{split} is not contiguous"
        data = np.ascontiguousarray(pixels).tobytes()
        self._file.write(data)
        if split not in self._digests:
            self._digests[split] = _pixel_digest(self._shape)
        self._digests[split].update(data)
        self._labels.append(labels.astype(np.int64))
        first = self._splits.get(split, (self._rows, 0))[0]
        self._rows += len(labels)
        self._splits[split] = (first, self._rows)

    def close(self) -> Manifest:
        """Finish the files; the manifest, already written beside them."""
        assert self._rows == self._shape[0], (self._rows, self._shape)
        labels = np.concatenate(self._labels)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        np.save(self._directory / LABELS, labels)
        manifest = Manifest(
            name=self._name,
            splits=self._splits,
            images={split: digest.hexdigest() for split, digest in self._digests.items()},
            labels=label_fingerprints(labels, self._splits),
            shape=self._shape,
            classes=self._classes,
        )
        write_manifest(self._directory, manifest)
        return manifest


def _pixel_digest(shape: Sequence[int]) -> Any:
    """Of a split whose pixels follow; `shape` is (N, H, W, C), of which N does not enter."""
    return hashlib.sha256(json.dumps([int(side) for side in shape[1:]]).encode())


def label_fingerprints(labels: Labels, splits: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """Of the labels of each split, given those of all rows."""
    return {
        split: hashlib.sha256(labels[first:last].astype("<i8").tobytes()).hexdigest()
        for split, (first, last) in splits.items()
    }


def changed_part(manifest: Manifest, images: Mapping[str, str], labels: Mapping[str, str]) -> str | None:
    """The first part whose fingerprint is not the manifest's, such as `the images of split test`; None where all are
    the same."""
    for split in manifest.splits:
        if images[split] != manifest.images[split]:
            return f"the images of split {split}"
        if labels[split] != manifest.labels[split]:
            return f"the labels of split {split}"
    return None


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest of a set that is being built."""
    with (directory / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, indent=1)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def building(name: str, data_dir: Path) -> Iterator[Path | None]:
    """A directory to build the dataset in, which takes its final name when the block ends without an error.

    None where another process has completed it meanwhile. Whatever is raised inside, or a killed process, leaves no
    dataset; the remains of a killed process are cleared by the next. DataError if the disk is full or the directory
    not writable.
    """
    final, partial, older = data_dir / name, data_dir / f".{name}.partial", data_dir / f".{name}.older"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(data_dir / f".{name}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(f"{name}: cannot write to {data_dir} ({error}); choose another data directory") from error
    try:
        if read_manifest(name, data_dir) is not None:
            yield None
            return
        if final.exists() and not (final / MANIFEST).is_file():  # with one, it is of an older format, to be replaced
            raise DataError(f"{final} is in the way: it is no prepared dataset; move it elsewhere")
        for remains in (partial, older):
            shutil.rmtree(remains, ignore_errors=True)
        partial.mkdir()
        yield partial
        if final.exists():
            os.replace(final, older)
        os.replace(partial, final)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{name}: no space left in {data_dir}; nothing was kept. Free some space, or choose another "
                "data directory"
            ) from error
        raise
    finally:
        for remains in (partial, older):
            shutil.rmtree(remains, ignore_errors=True)
        lock.release()


def read_manifest(name: str, data_dir: Path) -> Manifest | None:
    """The manifest of a prepared dataset, or None. DataError if there is one that this version cannot read; but where
    it is of an older format and an installed library carries the dataset, there is none: it is packed anew."""
    path = data_dir / name / MANIFEST
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            if fields["format"] < FORMAT and dataset_info(name).get == "embedded":
                return None
            raise DataError(
                f"{path} has format {fields['format']}, not {FORMAT}: delete {path.parent} and prepare it again"
            )
        fields["splits"] = {split: (first, last) for split, (first, last) in fields["splits"].items()}
        return Manifest(**{**fields, "shape": tuple(fields["shape"]), "classes": tuple(fields["classes"])})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged ({error}): delete {path.parent} and prepare it again") from error


def manifest_of(name: str, data_dir: Path) -> Manifest:
    """The manifest of a prepared dataset; one that an installed library carries is packed now. Else DataMissing."""
    manifest = read_manifest(name, data_dir)
    if manifest is None and dataset_info(name).get == "embedded":
        pack_digits(data_dir)
        manifest = read_manifest(name, data_dir)
    if manifest is None:
        raise missing(name, data_dir)
    return manifest


def open_packed(manifest: Manifest, data_dir: Path) -> tuple[Pixels, Labels]:
    """All rows of a packed set: (N, H, W, C) memory-mapped, and (N,). DataError if the files are not the manifest's."""
    directory = data_dir / manifest.name
    try:
        # Copy on write: the files are never changed, and torch takes the array without a warning.
        pixels = np.load(directory / PIXELS, mmap_mode="c", allow_pickle=False)
        labels = np.load(directory / LABELS, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{directory} is damaged ({error}): delete it and prepare it again") from error
    if pixels.shape != manifest.shape or pixels.dtype != np.uint8 or labels.shape != manifest.shape[:1]:
        raise DataError(f"{directory} does not hold what its manifest says: delete it and prepare it again")
    return pixels, labels


def verify_packed(manifest: Manifest, data_dir: Path, progress: Progress = quiet, chunk: int = 4096) -> None:
    """Read every pixel again and compare with the fingerprints. DataError, with the split, if one differs."""
    pixels, labels = open_packed(manifest, data_dir)
    images = {}
    for split, (first, last) in manifest.splits.items():
        digest = _pixel_digest(manifest.shape)
        for start in range(first, last, chunk):
            stop = min(start + chunk, last)
            digest.update(pixels[start:stop].tobytes())
            progress(f"verifying {manifest.name}", stop, len(pixels))
        images[split] = digest.hexdigest()
    if changed := changed_part(manifest, images, label_fingerprints(labels, manifest.splits)):
        raise DataError(
            f"{data_dir / manifest.name}: {changed} have changed since it was packed: delete it and prepare it again"
        )


def pack_digits(data_dir: Path) -> None:
    """Pack scikit-learn's digits: values 0..16 scaled to 0..255; the last 360 in their order are the test split."""
    from sklearn.datasets import load_digits

    info = dataset_info("digits")
    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]  # (1797, 8, 8, 1)
    with building("digits", data_dir) as directory:
        if directory is None:
            return
        train = info.splits["train"]
        with PackedWriter(
            directory, "digits", pixels.shape, tuple(str(digit) for digit in bunch.target_names)
        ) as writer:
            writer.add("train", pixels[:train], bunch.target[:train])
            writer.add("test", pixels[train:], bunch.target[train:])
            writer.close()
