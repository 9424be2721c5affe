"""What the page says of single runs: failures with their tracebacks, what is missing and why, and what made the
results. Owns the grouping; adds nothing to what the store says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.frame import NOTHING, Record
from harness.analysis.row_results import describe_hardware
from harness.store.cell_result import CellResult
from harness.store.records import Failure, Provenance


@dataclass(frozen=True)
class Failed:
    """A stage of a run that ended with an exception."""

    name: str
    summary: str
    where: str
    """The stage and, of a training, its last step."""
    traceback: str


@dataclass(frozen=True)
class RunGroup:
    """Runs of which the same is to be said."""

    heading: str
    reason: str
    names: tuple[str, ...]


def unique(records: Iterable[Record]) -> list[Record]:
    """Each cell once, under its first label: one that stands under several is still one run."""
    records_by_id: dict[str, Record] = {}
    for record in records:
        records_by_id.setdefault(record.placed.id, record)
    return list(records_by_id.values())


def statuses(records: Sequence[Record]) -> dict[str, int]:
    """How many cells are in each state."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
    return counts


def failures(records: Sequence[Record]) -> list[Failed]:
    """Of every stage, in the order of the plan; what cells share is told once, under the first one's name."""
    failures_by_stage: dict[tuple[str, str], Failed] = {}
    for record in records:
        result = record.result
        for stage, failure in result.failures.items() if result is not None else ():
            asked = record.cell.evaluations.get(stage)
            summary = f"{failure.kind}: {failure.message}"
            failed = Failed(name(record), summary, _where(stage, failure), failure.traceback)
            failures_by_stage.setdefault((record.cell.pretraining.id, asked.id if asked else stage), failed)
    return list(failures_by_stage.values())


def _where(stage: str, failure: Failure) -> str:
    if stage == "description":
        return "description of the encoder"
    if stage != "training":
        return f"evaluation {stage}"
    place = [f"epoch {failure.epoch}"] if failure.epoch is not None else []
    place += [f"step {failure.step}"] if failure.step is not None else []
    return f"training, last begun: {', '.join(place)}" if place else "before training"


def groups(records: Sequence[Record]) -> list[RunGroup]:
    """What is not there, and what is there but stale, by reason."""
    names_by_reason: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for key in _reasons(record):
            names_by_reason.setdefault(key, []).append(name(record))
    return [RunGroup(heading, reason, tuple(names)) for (heading, reason), names in sorted(names_by_reason.items())]


def _reasons(record: Record) -> Iterator[tuple[str, str]]:
    """What is to be said of one run: (heading, reason)."""
    left = stages_to_do(record)
    trained = "training" not in record.to_do
    if record.status not in ("done", "failed"):
        unsaid = f"to do: {left}" if left and trained else "it has not run" if record.status == "pending" else ""
        yield record.status, record.reason or unsaid
    elif left and trained:
        yield "to do", left
    if record.stale is not None:
        yield "stale", record.stale


def stages_to_do(record: Record) -> str:
    """Stages that are not there, other than by failing: `knn20, lbfgs`."""
    failed = record.result.failures if record.result is not None else {}
    return ", ".join(stage for stage in record.to_do if stage not in failed)


def name(record: Record) -> str:
    """`w_mse d=4, digits, seed 0`."""
    return f"{record.placed.row}, {record.placed.dataset}, seed {record.placed.cell.seed}"


@dataclass(frozen=True)
class ProvenanceGroup:
    """What made some of the results: everything that is not one run's own."""

    results: str
    """How many there are of what: `2 pretrainings, 4 evaluations`."""
    facts: tuple[tuple[str, str], ...]


def provenance(records: Sequence[Record]) -> list[ProvenanceGroup]:
    """What is stored, grouped by commit, libraries and machine, the largest group first."""
    results_by_facts: dict[tuple[tuple[str, str], ...], dict[tuple[str, str], Provenance]] = {}
    for result in (record.result for record in records if record.result is not None):
        for kind, id_, made in _made(result):
            results_by_facts.setdefault(_facts(made), {})[kind, id_] = made
    ordered = sorted(results_by_facts.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        ProvenanceGroup(_counted([kind for kind, _ in group]), (*facts, _shared(group))) for facts, group in ordered
    ]


def _made(result: CellResult) -> Iterator[tuple[str, str, Provenance]]:
    """Kind, id and provenance of each thing that is stored of a cell."""
    yield "pretraining", result.id, result.pretraining.provenance
    if result.description is not None:
        yield "description", result.id, result.description.provenance
    for record in result.evaluations.values():
        yield "evaluation", record.id, record.provenance


def _facts(made: Provenance) -> tuple[tuple[str, str], ...]:
    commit = (made.commit or "none") + (" with changes not committed" if made.dirty else "")
    facts = {"commit": commit, "machine": describe_hardware(made), "platform": made.platform} | made.versions
    return tuple(facts.items())


def _shared(group: Mapping[tuple[str, str], Provenance]) -> tuple[str, str]:
    """The code that is no single method's or probe's; a part stands twice where a group has two versions of it."""
    parts = dict.fromkeys(_code(part, digest) for made in group.values() for part, digest in made.code.items())
    return "shared code", ", ".join(sorted(part for part in parts if not part.startswith(("method ", "probe "))))


def _code(part: str, digest: str) -> str:
    return f"{part} {digest[:12]}"


def _counted(kinds: Sequence[str]) -> str:
    return ", ".join(f"{count} {kind}{'s' * (count != 1)}" for kind, count in Counter(kinds).items())


CELL_COLUMNS = (
    *("cell", "row", "dataset", "seed", "state", "failed", "to do"),
    *("started", "finished", "resumed", "train s", "code"),
)


def cells(records: Sequence[Record]) -> list[tuple[Any, ...]]:
    """A line for each cell, as CELL_COLUMNS names it; its id is that of its pretraining."""
    lines = []
    for record in records:
        placed, result = record.placed, record.result
        line: list[Any] = [record.cell.pretraining.id, placed.row, placed.dataset, placed.cell.seed, record.status]
        line += [", ".join(result.failures) if result is not None else "", stages_to_do(record)]
        if result is None:
            line += [NOTHING] * 5
        else:
            made, cost = result.provenance, result.pretraining.cost
            seconds = f"{cost.train_seconds:,.1f}" if cost else NOTHING
            code = ", ".join(_code(*part) for part in made.code.items())
            line += [made.started, made.finished, made.resumed, seconds, code]
        lines.append(tuple(line))
    return lines
