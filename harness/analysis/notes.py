"""What stands below a table: what a reader must know to trust it. All of it is found in the cells and results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.differences import differences
from harness.analysis.frame import Record
from harness.analysis.layout import Cells
from harness.suite.cell import Cell, CollapseSpec

_COST_NOTES = {
    "train_flops": "Training FLOPs are those of all forward and backward passes, momentum targets and heads included, "
    "counted by torch: convolutions and matrix products; augmentation and probes are not in them.",
    "peak_memory_bytes": "Peak memory on a CPU is the process's largest resident set during the cell, libraries "
    "included; on CUDA what tensors took on the device.",
    "energy_joules": "Energy is what the processor package or the device took during training, by its own counter, "
    "whatever else ran on it.",
}


@dataclass(frozen=True)
class Note:
    """A heading and its lines, each one sentence of plain text."""

    heading: str
    lines: tuple[str, ...]


def notes(
    cells: Cells, row_names: Sequence[str], column_names: Sequence[str], measures: Collection[str] = ()
) -> list[Note]:
    """Every note that a table of these cells, by row and column as printed, and of these measures must carry."""
    if not cells:
        return []
    records = list({id(record): record for group in cells.values() for record in group}.values())
    sections = [
        ("What differs between rows besides the method", differences(cells, row_names, column_names)),
        ("How to read it", _reading(cells, records, measures)),
        ("Code, libraries and devices", _provenance(records)),
        ("Stale", [f"{_name(r)}: {r.stale}" for r in records if r.stale and r.status == "done"]),
        ("Failed", [f"{_name(r)}: {_one_line(r.reason)}" for r in records if r.status == "failed"]),
        ("Skipped", _by_reason(r for r in records if r.status == "skipped")),
        ("No data", _by_reason(r for r in records if r.status == "no data")),
        ("Not done", _unfinished(records)),
    ]
    return [Note(heading, tuple(lines)) for heading, lines in sections if lines]


def _reading(cells: Cells, records: list[Record], measures: Collection[str]) -> list[str]:
    sizes = sorted({len(group) for group in cells.values()})
    seeds = sorted({record.cell.seed for record in records})
    listed = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    if sizes[-1] > 1:
        counts = " or ".join(str(size) for size in sizes)
        single = "; a single run has no spread" if sizes[0] == 1 else ""
        lines = [f"Entries are mean ± sample standard deviation over n = {counts} runs ({listed}){single}."]
    else:
        lines = [f"Entries are single runs ({listed}): there is no spread."]
    for group in cells.values():
        if len({_without_seed(record.cell) for record in group}) > 1:
            lines.append(f"The entry of {_name(group[0])} mixes cells that differ by more than their seed.")
    rules = {record.cell.evaluation.collapse for record in records if record.collapsed}
    lines += [f"Collapsed: {rule_text(rule)}." for rule in sorted(rules, key=repr)]
    return lines + [text for measure, text in _COST_NOTES.items() if measure in measures]


def _provenance(records: list[Record]) -> list[str]:
    """What all results share in one line, and a line for each thing they do not share."""
    made = [record.result.provenance for record in records if record.result is not None]
    if not made:
        return []
    facts: dict[str, list[str]] = {"device": [p.device for p in made], "threads": [str(p.threads) for p in made]}
    for name in dict.fromkeys(name for p in made for name in p.versions):
        facts[name] = [p.versions.get(name, "unknown") for p in made]
    facts["commit"] = [(p.commit or "none")[:12] + (" with changes not committed" if p.dirty else "") for p in made]
    same = [f"{name} {values[0]}" for name, values in facts.items() if len(set(values)) == 1]
    whose = f"All {len(made)} results" if len(made) > 1 else "The one result"
    lines = [f"{whose}: {', '.join(same)}."] if same else []
    for name, values in facts.items():
        if len(set(values)) > 1:
            counts = [f"{value} ({n} result{'s' * (n > 1)})" for value, n in sorted(Counter(values).items())]
            lines.append(f"Mixed {name}: {'; '.join(counts)}")
    if (shared := len({p.shared_digest for p in made})) > 1:
        lines.append(f"Mixed code: results were made with {shared} versions of the code that all methods share.")
    digests: dict[str, set[str]] = {}
    for record in records:
        if record.result is not None:
            digests.setdefault(record.result.cell.method, set()).add(record.result.provenance.method_digest)
    mixed = [f"{method} ({len(found)} versions)" for method, found in digests.items() if len(found) > 1]
    return lines + ([f"Mixed code of methods: {', '.join(mixed)}."] if mixed else [])


def _unfinished(records: list[Record]) -> list[str]:
    left = [r for r in records if r.status in ("pending", "running", "interrupted")]
    lines = [f"{count} {status}" for status, count in Counter(r.status for r in left).items()]
    return lines + [f"{_name(r)}: its result is not used: {r.reason}" for r in left if r.reason]


def _by_reason(records: Iterable[Record]) -> list[str]:
    names: dict[str, list[str]] = {}
    for record in records:
        names.setdefault(_one_line(record.reason), []).append(_name(record))
    return [f"{', '.join(dict.fromkeys(found))}: {reason}" for reason, found in names.items()]


def _name(record: Record) -> str:
    """`w_mse d=4 (digits, seed 0, cell ID)`."""
    return f"{record.placed.row} ({record.placed.dataset}, seed {record.cell.seed}, cell {record.cell.id})"


def rule_text(rule: CollapseSpec) -> str:
    """When a run counts as collapsed, in words."""
    return (
        f"std x sqrt(D) of the normalised features below {rule.min_std:g}, or RankMe below "
        f"{100 * rule.min_rank_fraction:g} % of D, on {rule.consecutive} evaluations in a row (all, if fewer)"
    )


def _without_seed(cell: Cell) -> str:
    return json.dumps(cell.model_dump(mode="json", exclude={"seed"}), sort_keys=True)


def _one_line(text: str | None) -> str:
    return " ".join((text or "unknown").split())
