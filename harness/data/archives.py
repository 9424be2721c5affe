"""Unpacks archives that nobody vouches for. Owns what is refused: names that lead elsewhere, links, devices, names
given twice, encryption, and more bytes or files than the dataset can have. Never writes outside the folder it is
given.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from harness.data.datasets import DataError

Progress = Callable[[str, int, int | None], None]
"""(what is being done, so much done, of so much or None where that is not known), in bytes or images."""

BLOCK = 1 << 20
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, NotImplementedError)


def quiet(what: str, done: int, total: int | None) -> None:
    """A Progress that tells nobody."""


@dataclass(frozen=True)
class Limits:
    """What an archive may hold, unpacked."""

    size: int
    """Bytes."""
    files: int


class Readable(Protocol):
    """What gives bytes, from its start to its end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Bounded:
    """A stream that refuses to give more than so many bytes: what is compressed says little about its size."""

    def __init__(self, stream: Readable, size: int, label: str) -> None:
        self._stream, self._left, self._size, self._label = stream, size, size, label

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise DataError(f"{self._label} unpacks to more than {self._size:,} bytes: not this dataset, refused")
        return data


@contextmanager
def intact(label: object) -> Iterator[None]:
    """Errors of a damaged file become one that says so."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(f"{label} is damaged or incomplete ({error}): fetch it again") from error


def unpack(archive: Path, into: Path, limits: Limits, progress: Progress = quiet) -> None:
    """Unpack a .tar, .tar.gz or .zip into the empty folder `into`. DataError for anything but plain files and
    folders."""
    with intact(archive):
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, into, limits, progress)
        else:
            with open_plain(archive) as stream:
                unpack_tar(stream, into, limits, archive.name, progress)


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, gunzipped if it is gzip by its first bytes."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not zipped:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as stream:
            yield cast(BinaryIO, stream)


def unpack_tar(stream: Readable, into: Path, limits: Limits, label: str, progress: Progress = quiet) -> None:
    """Unpack the tar that a stream gives."""
    for name, size, member in tar_members(stream, limits, label, progress):
        _write(member, into, name, size, label)


def tar_members(
    stream: Readable, limits: Limits, label: str, progress: Progress = quiet
) -> Iterator[tuple[PurePosixPath, int, Readable]]:
    """Name, size and contents of the plain files of a tar, read once from start to end."""
    # The headers count too, and a block of 512 bytes may be padding.
    bounded = Bounded(stream, limits.size + 2048 * limits.files + tarfile.RECORDSIZE, label)
    files = size = 0
    with tarfile.open(fileobj=cast(BinaryIO, bounded), mode="r|") as tar:
        for member in tar:
            name = safe_name(member.name, label)
            if member.isdir():
                continue
            if not member.isreg():
                raise DataError(f"{label} holds a link or device, {member.name!r}: refused")
            files, size = files + 1, size + member.size
            _within(files, size, limits, label)
            contents = tar.extractfile(member)
            assert contents is not None
            yield name, member.size, contents
            progress(f"unpacking {label}", size, None)


def _unpack_zip(archive: Path, into: Path, limits: Limits, progress: Progress) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        total = sum(member.file_size for member in members)
        _within(len(members), total, limits, archive.name)
        done = 0
        for member in members:
            name = safe_name(member.filename, archive.name)
            if member.is_dir():
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise DataError(f"{archive.name} holds a link or device, {member.filename!r}: refused")
            if member.flag_bits & 1:
                raise DataError(f"{archive.name} is encrypted: refused")
            with opened.open(member) as contents:
                _write(contents, into, name, member.file_size, archive.name)
            done += member.file_size
            progress(f"unpacking {archive.name}", done, total)


def safe_name(name: str, label: str) -> PurePosixPath:
    """A member's name, if it stays inside the folder it is unpacked to."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\\0:"):
        raise DataError(f"{label} holds a file that would be written elsewhere, {name!r}: refused")
    return path


def _within(files: int, size: int, limits: Limits, label: str) -> None:
    if size > limits.size:
        raise DataError(f"{label} unpacks to more than {limits.size:,} bytes: not this dataset, refused")
    if files > limits.files:
        raise DataError(f"{label} holds more than {limits.files:,} files: not this dataset, refused")


def _write(contents: Readable, into: Path, name: PurePosixPath, size: int, label: str) -> None:
    target = into / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while block := contents.read(BLOCK):
                file.write(block)
            written = file.tell()
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(f"{label} holds {str(name)!r} twice: refused") from error
    if written != size:
        raise DataError(f"{label} is damaged or incomplete ({name} ends early): fetch it again")
