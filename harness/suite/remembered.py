"""What suites came down to, kept so that looking at one need not import every method (and torch with them) again.

Owns the files of one directory, a plan each, named by a hash of everything that an expansion depends on: the suite as
it is written, the code and the settings of methods, the datasets at hand. A plan that does not read back as the same
expansion is never kept, and one that cannot be read counts as none. Suites with the user's own method files are not
kept, since what those import is not known.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from harness.store.atomic import StoreError, write_text
from harness.store.digests import SOURCES
from harness.suite.cell import Cell
from harness.suite.nodes import plain
from harness.suite.planned import Expansion, Planned, Skipped
from harness.suite.suite import Suite

KEPT = 64
"""Plans; older ones are removed."""
CODE = ("harness/suite/*.py", "harness/data/datasets.py", "methods/*.py")


@dataclass(frozen=True)
class Plan:
    """An expansion, and which of the methods are controls."""

    expansion: Expansion
    controls: frozenset[str]


def key(suite: Suite, fingerprints: Mapping[str, str | None], root: Path = SOURCES) -> str | None:
    """The name of a suite's plan; None if it must not be kept.

    Args:
        fingerprints: of every dataset there is; None where it is not on this machine.
        root: directory of the packages `harness` and `methods`.
    """
    if suite.method_files:
        return None
    digest = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in root.glob(pattern)):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    said = [
        plain(suite.root),
        [(name, plain(node)) for name, node in suite.fixed],
        dict(fingerprints),
        platform.python_version(),
        pydantic.VERSION,
    ]
    digest.update(json.dumps(said, sort_keys=False, default=repr).encode())
    return digest.hexdigest()


def recall(directory: Path, name: str) -> Plan | None:
    """The plan kept under this name, if there is one that can be read."""
    try:
        return _decoded(json.loads((directory / f"{name}.json").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(directory: Path, name: str, plan: Plan) -> None:
    """Keep a plan, if it reads back as it is; a directory that cannot be written keeps none."""
    try:
        text = json.dumps(_encoded(plan))
        if _decoded(json.loads(text)) != plan:
            return
        write_text(directory / f"{name}.json", text)
    except (StoreError, TypeError, ValueError):
        return
    with contextlib.suppress(OSError):  # another process tidies up too
        for old in sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)


def _encoded(plan: Plan) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for placed in (*plan.expansion.planned, *plan.expansion.skipped):
        cells.setdefault(placed.id, placed.cell.model_dump(mode="json"))

    def place(placed: Planned | Skipped, more: str | None) -> list[Any]:
        return [placed.id, placed.label, placed.dataset, dict(placed.axes), more]

    return {
        "cells": cells,
        "planned": [place(item, item.missing_data) for item in plan.expansion.planned],
        "skipped": [place(item, item.reason) for item in plan.expansion.skipped],
        "controls": sorted(plan.controls),
    }


def _decoded(kept: Mapping[str, Any]) -> Plan:
    cells = {name: Cell.model_validate(fields) for name, fields in kept["cells"].items()}

    def places(items: Iterable[list[Any]]) -> Iterable[tuple[tuple[Cell, str, str, dict[str, Any]], Any]]:
        return (((cells[name], label, dataset, axes), more) for name, label, dataset, axes, more in items)

    planned = tuple(Planned(*place, missing_data=more) for place, more in places(kept["planned"]))
    skipped = tuple(Skipped(*place, reason=more) for place, more in places(kept["skipped"]))
    return Plan(Expansion(planned, skipped), frozenset(kept["controls"]))
