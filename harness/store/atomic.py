"""Whole files or nothing: the only way this package writes a file that somebody will rely on.

A write goes to a temporary file in the same directory (`.NAME.TOKEN.tmp`), is flushed to the disk, renamed over the
target, and the directory is flushed too. Killed at any byte, it leaves the old file intact, and at worst a temporary
one, which `sweep` removes. Never appends, never edits in place; where the target is a link, the link is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
FULL = {errno.ENOSPC, errno.EDQUOT}
"""Error numbers of a disk, or of a user's share of it, that is full."""
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


class StoreError(RuntimeError):
    """The disk refused: what was being done, where, why, and what to do about it."""


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as `write_bytes` does; line ends are kept as given."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, *parts: bytes | bytearray | memoryview, durable: bool = True) -> None:
    """Replace `path` by the parts, one behind the other, all or nothing; missing parent directories are made.

    Args:
        durable: flush to the disk. Without it readers still see old or new, but a crash of the machine may lose both.

    Raises:
        StoreError: disk full, no permission or an I/O error; the old file, if there was one, is intact.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
    try:
        make_directory(path.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            for part in parts:
                _write_all(descriptor, memoryview(part).cast("B"))
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        if durable:
            _sync_directory(path.parent)
    except OSError as error:
        size = sum(memoryview(part).nbytes for part in parts)
        raise explained(error, f"cannot write {path} ({size:,} bytes)", path.parent) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make `path` and its parents, so that a crash of the machine cannot lose their names.

    Raises:
        StoreError: a parent is a file, the disk is full, or permission is missing.
    """
    try:
        missing = [directory for directory in (path, *path.parents) if not directory.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for directory in missing:
            _sync_directory(directory.parent)
    except OSError as error:
        raise explained(error, f"cannot make the directory {path}", path) from error


def sweep(directory: Path, older_than_seconds: float = 0.0) -> int:
    """Remove temporary files that killed writers left in `directory`, and return how many.

    Only names that `write_bytes` makes are touched. Without a lock that keeps other writers out, give an age that no
    write takes, since a younger file may be another process's write in progress.
    """
    removed = 0
    for path in sorted(directory.glob(".*.tmp")):
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours: leaving it harms nobody
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime >= older_than_seconds:
                path.unlink()
                removed += 1
    return removed


def explained(error: OSError, what: str, where: Path) -> StoreError:
    """The error as a message to the user: what failed, why, the room left, and the remedy."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        remedy = "free some space or choose a results directory on another disk, then run the same command again"
        return StoreError(f"{what}: {reason}; {_free_space(where)}. Nothing was lost: {remedy}.")
    if error.errno in _DENIED:
        remedy = "choose a results directory you may write to, or change its permissions or owner"
        return StoreError(f"{what}: {reason}. To go on, {remedy}.")
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return StoreError(
            f"{what}: {reason}. A file stands where a directory is needed; move it or choose another place."
        )
    return StoreError(f"{what}: {reason}. Check the disk or file system there, then run the same command again.")


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:  # some network file systems cannot, and rename durably anyway
            raise
    finally:
        os.close(descriptor)


def _free_space(where: Path) -> str:
    for directory in (where, *where.parents):
        if directory.is_dir():
            return f"{shutil.disk_usage(directory).free / 2**20:,.1f} MiB are free in {directory}"
    return "the free space is unknown"
