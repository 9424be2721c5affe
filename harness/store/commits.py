"""Results as a git commit has them. Asks git and writes below a directory it is given; never changes a repository."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path

from harness.store.store import Store

_GIT_SECONDS = 120.0
_RECORD = re.compile(r"[0-9a-f]+/((evaluations|curves|arrays)/)?[\w-]+\.json")


class CommitError(ValueError):
    """A commit that cannot be read."""


def checkout_results(name: str, cells: Path, into: Path) -> tuple[Store, str]:
    """The results that a commit has of a directory of cells, copied into a store below `into`; and the commit's hash.

    Args:
        name: a commit, as git understands it: a hash, a branch, `HEAD~3`.
        cells: the directory of the store, in the work tree of the repository, whether or not it is there now.

    Raises:
        CommitError: the directory is in no repository, or git knows no such commit, or it holds no results there.
    """
    place = next(folder for folder in (cells, *cells.parents) if folder.is_dir()).resolve()
    top = _git(place, "rev-parse", "--show-toplevel")
    if top is None:
        raise CommitError(f"{name}: there is no such directory, and {place} is in no git repository that could have it")
    commit = _git(place, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None:
        raise CommitError(
            f"{name}: there is no such directory, and no such commit in {top.decode().strip()}; "
            "give a results directory, or a commit"
        )
    folder = cells.resolve().relative_to(Path(top.decode().strip()).resolve()).as_posix()
    revision = commit.decode().strip()
    archive = _git(place, "-C", top.decode().strip(), "archive", "--format=tar", f"{revision}:{folder}")
    if archive is None:
        raise CommitError(f"{name}: commit {revision[:12]} has no {folder}; results must be committed to be compared")
    _unpack(archive, into)
    return Store(into), revision


def _unpack(archive: bytes, into: Path) -> None:
    """Write the records of each pretraining, and nothing else that the commit may have there."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if not (member.isfile() and _RECORD.fullmatch(member.name)):
                continue
            source = tar.extractfile(member)
            assert source is not None
            path = into / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read())


def _git(place: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(place), *arguments], capture_output=True, check=True, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
