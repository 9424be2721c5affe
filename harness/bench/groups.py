"""Every row of the speed table, group by group, and those that a command asks for. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch

import torch

from harness.bench import augmentation, evaluation, growth, losses, overheads, training
from harness.bench.row import Row

GROUPS: dict[str, Callable[[torch.device], tuple[Row, ...]]] = {
    module.GROUP: module.rows for module in (augmentation, losses, training, evaluation, overheads, growth)
}


class NoSuchRow(ValueError):
    """A pattern that selects nothing."""


def all_rows(device: torch.device) -> list[Row]:
    """In the table's order."""
    return [row for rows in GROUPS.values() for row in rows(device)]


def selected(rows: Iterable[Row], patterns: Sequence[str]) -> list[Row]:
    """The rows whose "group: name" has one of the patterns (* and ? allowed) in it, whatever the case; all without a
    pattern.

    Raises:
        NoSuchRow: a pattern selects no row.
    """
    offered = list(rows)
    if not patterns:
        return offered
    for pattern in patterns:
        if not any(_matches(row, pattern) for row in offered):
            raise NoSuchRow(
                f"--only {pattern}: no row of that name; groups are {', '.join(GROUPS)}, and part of a row's name will "
                "do, such as `w-mse`"
            )
    return [row for row in offered if any(_matches(row, pattern) for pattern in patterns)]


def _matches(row: Row, pattern: str) -> bool:
    return fnmatch(row.title.lower(), f"*{pattern.lower()}*")
