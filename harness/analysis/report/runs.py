"""What the page says of single runs: failures with their tracebacks, what is missing and why, and what made the
results. Owns the grouping; adds nothing to what the store says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.frame import NOTHING, Record
from harness.analysis.report.rows import hardware


@dataclass(frozen=True)
class Failed:
    """A run that ended with an exception."""

    name: str
    summary: str
    where: str
    traceback: str


@dataclass(frozen=True)
class Group:
    """Runs of which the same is to be said."""

    heading: str
    reason: str
    names: tuple[str, ...]


def unique(records: Iterable[Record]) -> list[Record]:
    """Each cell once, under its first label: one that stands under several is still one run."""
    found: dict[str, Record] = {}
    for record in records:
        found.setdefault(record.placed.id, record)
    return list(found.values())


def statuses(records: Sequence[Record]) -> dict[str, int]:
    """How many cells are in each state."""
    found: dict[str, int] = {}
    for record in records:
        found[record.status] = found.get(record.status, 0) + 1
    return found


def failures(records: Sequence[Record]) -> list[Failed]:
    """In the order of the plan."""
    found = []
    for record in records:
        failure = record.result.failure if record.result is not None and record.status == "failed" else None
        if failure is not None:
            place = [f"epoch {failure.epoch}"] if failure.epoch is not None else []
            place += [f"step {failure.step}"] if failure.step is not None else []
            where = ", ".join(place) or "before training"
            found.append(Failed(name(record), f"{failure.kind}: {failure.message}", where, failure.traceback))
    return found


def groups(records: Sequence[Record]) -> list[Group]:
    """What is not there, and what is there but stale, by reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status not in ("done", "failed"):
            reason = record.reason or ("it has not run" if record.status == "pending" else "")
            found.setdefault((record.status, reason), []).append(name(record))
        elif record.stale is not None:
            found.setdefault(("stale", record.stale), []).append(name(record))
    return [Group(heading, reason, tuple(names)) for (heading, reason), names in sorted(found.items())]


def name(record: Record) -> str:
    """`w_mse d=4, digits, seed 0`."""
    return f"{record.placed.row}, {record.placed.dataset}, seed {record.placed.cell.seed}"


@dataclass(frozen=True)
class Made:
    """What made some of the results: everything that is not one run's own."""

    results: int
    facts: tuple[tuple[str, str], ...]


def provenance(records: Sequence[Record]) -> list[Made]:
    """Results grouped by code, libraries and machine, the largest group first."""
    found: dict[tuple[tuple[str, str], ...], int] = {}
    for record in records:
        if record.result is None:
            continue
        made = record.result.provenance
        commit = (made.commit or "none") + (" with changes not committed" if made.dirty else "")
        facts = {"commit": commit, "shared code": made.shared_digest[:12], "machine": hardware(record.result)}
        facts |= {"platform": made.platform} | made.versions
        key = tuple(facts.items())
        found[key] = found.get(key, 0) + 1
    return [Made(count, facts) for facts, count in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))]


CELL_COLUMNS = ("cell", "row", "dataset", "seed", "state", "started", "finished", "resumed", "train s", "method code")


def cells(records: Sequence[Record]) -> list[tuple[Any, ...]]:
    """A line for each cell, as CELL_COLUMNS names it."""
    lines = []
    for record in records:
        placed, result = record.placed, record.result
        line: list[Any] = [record.cell.id, placed.row, placed.dataset, placed.cell.seed, record.status]
        if result is None:
            line += [NOTHING] * 5
        else:
            made, cost = result.provenance, result.cost
            seconds = f"{cost.train_seconds:,.1f}" if cost else NOTHING
            line += [made.started, made.finished, made.resumed, seconds, made.method_digest[:12]]
        lines.append(tuple(line))
    return lines
