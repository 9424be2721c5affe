"""Which code, libraries and machine make a result, and whether the code has changed since. Imports no torch; asks git
for the commit and never changes anything."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from harness.registry import BACKBONE, METHOD, PROBE, in_use
from harness.store.digests import ROOMS, SOURCES, digest_of, room_digest
from harness.store.records import Description, EvaluationRecord, PretrainingRecord, Provenance

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scikit-learn")
_GIT_SECONDS = 5.0


@dataclass(frozen=True)
class Code:
    """The code as it stands on disk. Read it once, when a process starts: what was loaded does not change later."""

    digests: Mapping[str, str]
    """By part: `method w_mse`, `probe knn`, `training on cpu`."""
    commit: str | None
    """None outside a checkout, or where git is missing."""
    dirty: bool | None
    """Whether tracked files of the harness and the methods differ from the commit; None where there is no commit."""
    backbone: str | None = None
    """The backbone of the results that are asked about, which counts if it is an extension."""

    @classmethod
    def read(cls, root: Path = SOURCES) -> Code:
        """The code in the packages below `root`, and of the extensions in use. Not of datasets, for whose local copies
        fingerprints vouch, nor of loggers."""
        digests = {room: room_digest(room, root) for room in ROOMS}
        for kind in (METHOD, PROBE, BACKBONE):
            digests |= {f"{kind.name} {name}": digest_of(extension, root) for name, extension in in_use(kind).items()}
        commit, dirty = git_state(root)
        return cls(digests, commit, dirty)

    def of_training(self, method: str, device: str) -> dict[str, str]:
        """The parts that a pretraining rests on; `device` as provenance names it."""
        kind = device.partition(":")[0]
        return self._parts(f"method {method}", f"training on {kind}")

    def of_description(self, method: str) -> dict[str, str]:
        return self._parts(f"method {method}", "description")

    def of_evaluation(self, probe: str) -> dict[str, str]:
        return self._parts(f"probe {probe}", "evaluation")

    def with_backbone(self, name: str | None) -> Code:
        """The same, asked about results of encoders with this backbone."""
        return replace(self, backbone=name)

    def _parts(self, *names: str) -> dict[str, str]:
        own = [part for part in (f"backbone {self.backbone}",) if part in self.digests]
        return {name: self.digests.get(name, MISSING) for name in (*names, *own)}


MISSING = "missing"


def collect(
    code: Code, parts: Mapping[str, str], *, device: str, threads: int, started: str, resumed: int = 0
) -> Provenance:
    """The provenance of a result that ends now.

    Args:
        code: read when this process started.
        parts: of it, those that the result rests on.
        device: as a reader would name it, such as "cpu" or "cuda: NVIDIA H100 80GB HBM3".
        threads: CPU threads torch was given.
        started: UTC, ISO 8601 (`utc_now`).
        resumed: how often training went on from a checkpoint.
    """
    return Provenance(
        code=dict(parts),
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


def stale_reason(record: PretrainingRecord | Description | EvaluationRecord, code: Code) -> str | None:
    """Why a record is of older code, in words; None if its code is what `code` holds."""
    changed = []
    for part, digest in record.provenance.code.items():
        now = code.digests.get(part, MISSING)
        if now == MISSING and digest != MISSING:
            changed.append(f"{part} is not here any more")
        elif now != digest:
            changed.append(f"the code of {part} has changed since")
    return "; ".join(changed) or None


def versions() -> dict[str, str]:
    """Of Python and of the libraries that the numbers depend on."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


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
