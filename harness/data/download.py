"""Fetches one published file. Owns resumption and the checksum: what it leaves under the final name is the published
file.

A partial download keeps its place under `<file>.part` and is continued by the next call. Never unpacks anything.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from harness.data.archives import BLOCK, Progress, quiet
from harness.data.datasets import DataError

TIMEOUT_SECONDS = 60


def fetch(url: str, path: Path, md5: str, limit: int, progress: Progress = quiet) -> None:
    """Download `url` to `path` if it is not there yet.

    Args:
        md5: the published checksum of the file.
        limit: bytes that the file cannot have more of.

    Raises DataError, which says what to do, if the server cannot be reached or breaks off (the part is kept), or if
    what it sends has another checksum (the part is deleted).
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _continue(url, part, limit, progress)
    except DataError:
        part.unlink(missing_ok=True)
        raise
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            part.unlink(missing_ok=True)
            raise
        raise DataError(
            f"cannot fetch {url} ({error}). Run it again to go on from {_size(part):,} bytes, or fetch the file by "
            "hand and pass it with --from"
        ) from error
    actual = md5_of(part, progress)
    if actual != md5:
        part.unlink()
        raise DataError(
            f"{url} has MD5 {actual}, not {md5} as published: it was damaged on the way or is another file, and was "
            "deleted. Run it again, or fetch the file by hand and pass it with --from"
        )
    os.replace(part, path)


def _continue(url: str, part: Path, limit: int, progress: Progress) -> None:
    """Append what is missing to the part; from the start where the server does not resume."""
    done = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return  # nothing is missing, or the part is of another file: its checksum tells
        raise
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        if (total or 0) > limit:
            raise DataError(
                f"{url} has {total:,} bytes, more than the {limit:,} it can have: not this dataset, refused"
            )
        with part.open("ab" if done else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                done += len(block)
                if done > limit:
                    raise DataError(f"{url} sends more than the {limit:,} bytes it can have: not this dataset, refused")
                progress(f"downloading {part.stem}", done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection broke off after {done:,} of {total:,} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def md5_of(path: Path, progress: Progress = quiet) -> str:
    """MD5 of a file: the sum that the datasets' authors and torchvision publish."""
    digest, done, total = hashlib.md5(usedforsecurity=False), 0, _size(path)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            progress(f"checking {path.name}", done, total)
    return digest.hexdigest()
