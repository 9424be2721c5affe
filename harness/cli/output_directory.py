"""Where a suite's tables lie: a directory of its own below the results. Owns the note in it that says whose it is."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.suite.suite import Suite

OWNER = "suite.json"


class OutputTaken(ValueError):
    """A directory of tables that belongs to another suite of the same name."""


def output_directory(results: Path, suite: Suite) -> Path:
    """The suite's directory, after its name and preset.

    Raises:
        OutputTaken: another suite file of that name writes there: two suites never share a directory of tables.
    """
    directory, own = results / suite.name, _own(suite, results)
    owner = _owner(directory)
    if owner and not {*owner.values()} & {*own.values()}:
        raise OutputTaken(
            f"{directory} holds the tables of another suite, {owner['suite']}: give this one's file another name, or "
            f"choose another directory with --results (delete {directory / OWNER} if that suite has become this one)"
        )
    return directory


def claim(directory: Path, suite: Suite, results: Path) -> None:
    """Note in a suite's directory whose it is. StoreError if that cannot be written."""
    from harness.store.atomic import write_text

    if not _owner(directory):
        write_text(directory / OWNER, json.dumps(_own(suite, results)) + "\n")


def _own(suite: Suite, results: Path) -> dict[str, str]:
    """The suite's file: by its place beside the results, so that both may be moved together; and by a digest of its
    whole path, so that the results alone may be moved."""
    path = suite.path.resolve()
    beside = Path(os.path.relpath(path, results.resolve())).as_posix()
    return {"suite": beside, "path_sha256": hashlib.sha256(str(path).encode()).hexdigest()}


def _owner(directory: Path) -> dict[str, str]:
    """What is noted; nothing where there is no note that can be read."""
    try:
        said = json.loads((directory / OWNER).read_bytes())
    except (OSError, ValueError):
        return {}
    known = isinstance(said, dict) and said.keys() == {"suite", "path_sha256"}
    return {key: str(value) for key, value in said.items()} if known else {}
