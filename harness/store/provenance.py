"""Which code, libraries and machine make a result, and whether the code has changed since. Imports no torch; asks git
for the commit and never changes anything."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from harness.store.digests import SOURCES, method_digest, method_files, shared_digest
from harness.store.result import Provenance, Result

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scikit-learn")
_GIT_SECONDS = 5.0


@dataclass(frozen=True)
class Code:
    """The code as it stands on disk. Read it once, when a process starts: what was loaded does not change later."""

    shared: str
    """Digest of the shared rooms."""
    methods: Mapping[str, str]
    """Digest of each method, by name."""
    commit: str | None
    """None outside a checkout, or where git is missing."""
    dirty: bool | None
    """Whether tracked files of the harness and the methods differ from the commit; None where there is no commit."""

    @classmethod
    def read(cls, files: Iterable[Path] = (), root: Path = SOURCES) -> Code:
        """The code in the packages below `root`, and the users' own method files."""
        methods = {name: method_digest(file, root) for name, file in method_files(root, files).items()}
        commit, dirty = git_state(root)
        return cls(shared_digest(root), methods, commit, dirty)


def collect(code: Code, method: str, *, device: str, threads: int, started: str, resumed: int) -> Provenance:
    """The provenance of a result that ends now.

    Args:
        code: read when this process started.
        method: the cell's method.
        device: as a reader would name it, such as "cpu" or "cuda: NVIDIA H100 80GB HBM3".
        threads: CPU threads torch was given.
        started: UTC, ISO 8601 (`utc_now`).
        resumed: how often training went on from a checkpoint.
    """
    return Provenance(
        method_digest=code.methods.get(method, "unknown"),
        shared_digest=code.shared,
        commit=code.commit,
        dirty=code.dirty,
        versions=versions(),
        device=device,
        threads=threads,
        host=platform.node(),
        platform=platform.platform(),
        started=started,
        finished=utc_now(),
        resumed=resumed,
    )


def is_stale(result: Result, code: Code) -> str | None:
    """Why the result is of older code, in words; None if its code is what `code` holds."""
    method = result.cell.method
    changed = []
    if method not in code.methods:
        changed.append(f"the file of the method {method} is gone")
    elif result.provenance.method_digest != code.methods[method]:
        changed.append(f"the code of the method {method} has changed since")
    if result.provenance.shared_digest != code.shared:
        changed.append("the code shared by all methods has changed since")
    return "; ".join(changed) or None


def versions() -> dict[str, str]:
    """Of Python and of the libraries that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def utc_now() -> str:
    """UTC to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_state(root: Path = SOURCES) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the checkout that tracks the code below `root`; (None, None) if none does."""
    tracked = _git(root, "ls-files", "--", "harness", "methods")
    commit = _git(root, "rev-parse", "HEAD") if tracked else None
    if not commit:
        return None, None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "harness", "methods")
    return commit, None if changes is None else bool(changes)


def _git(root: Path, *arguments: str) -> str | None:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
