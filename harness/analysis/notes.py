"""What stands below a table: what a reader must know to trust it. All of it is found in the cells and results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.differences import differences
from harness.analysis.frame import DEFAULT_RULE, Record
from harness.analysis.layout import Cells
from harness.spec.collapse import CollapseRule
from harness.store.cell_result import CellResult
from harness.store.records import Provenance

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
    cells: Cells,
    row_names: Sequence[str],
    column_names: Sequence[str],
    measures: Collection[str] = (),
    rule: CollapseRule = DEFAULT_RULE,
) -> list[Note]:
    """Every note that a table of these cells, by row and column as printed, and of these measures must carry.

    Args:
        rule: by which the records were found to have collapsed.
    """
    if not cells:
        return []
    records = list({id(record): record for group in cells.values() for record in group}.values())
    sections = [
        ("What differs between rows besides the method", differences(cells, row_names, column_names)),
        ("How to read it", _reading(cells, records, measures, rule)),
        ("Code, libraries and devices", _provenance(records)),
        ("Stale", [f"{_name(r)}: {r.stale}" for r in records if r.stale and r.status_of(None) == "done"]),
        ("Failed", [f"{_name(r)}: {_one_line(r.reason)}" for r in records if r.status == "failed"]),
        ("Skipped", _by_reason(r for r in records if r.status == "skipped")),
        ("No data", _by_reason(r for r in records if r.status == "no data")),
        ("Not done", _unfinished(records)),
    ]
    return [Note(heading, tuple(lines)) for heading, lines in sections if lines]


def _reading(cells: Cells, records: list[Record], measures: Collection[str], rule: CollapseRule) -> list[str]:
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
        if len({_without_seed(record) for record in group}) > 1:
            lines.append(f"The entry of {_name(group[0])} mixes cells that differ by more than their seed.")
    lines += [f"Collapsed: {rule_text(rule)}."] if any(record.collapsed for record in records) else []
    return lines + [text for measure, text in _COST_NOTES.items() if measure in measures]


def _provenance(records: list[Record]) -> list[str]:
    """What all results share in one line, and a line for each thing they do not share.

    A result's device, libraries and commit are its training's; evaluations made otherwise have a line of their own.
    """
    results = [record.result for record in records if record.result is not None]
    if not results:
        return []
    each = [_facts(result.provenance) for result in results]
    names = dict.fromkeys(name for facts in each for name in facts)
    columns = {name: [facts.get(name, "unknown") for facts in each] for name in names}
    same = [f"{name} {values[0]}" for name, values in columns.items() if len(set(values)) == 1]
    whose = f"All {len(results)} results" if len(results) > 1 else "The one result"
    lines = [f"{whose}: {', '.join(same)}."] if same else []
    for name, values in columns.items():
        if len(set(values)) > 1:
            lines.append(f"Mixed {name}: {_counted(values, 'result')}")
    for name in names:
        elsewhere = [
            facts.get(name, "unknown")
            for result, trained in zip(results, each, strict=True)
            for facts in (_facts(answer.provenance) for answer in result.evaluations.values())
            if facts.get(name) != trained.get(name)
        ]
        if elsewhere:
            lines.append(f"Evaluated with another {name} than trained: {_counted(elsewhere, 'evaluation')}")
    return lines + _mixed_code(results)


def _facts(made: Provenance) -> dict[str, str]:
    commit = (made.commit or "none")[:12] + (" with changes not committed" if made.dirty else "")
    return {"device": made.device, "threads": str(made.threads), **made.versions, "commit": commit}


def _counted(values: Sequence[str], noun: str) -> str:
    """`cpu (2 results); cuda: H100 (1 result)`."""
    return "; ".join(f"{value} ({n} {noun}{'s' * (n > 1)})" for value, n in sorted(Counter(values).items()))


def _mixed_code(results: Sequence[CellResult]) -> list[str]:
    """Parts of the code of which the results were made with more than one version."""
    digests: dict[str, set[str]] = {}
    for result in results:
        made = [result.provenance, *(answer.provenance for answer in result.evaluations.values())]
        made += [result.description.provenance] if result.description else []
        for provenance in made:
            for part, digest in provenance.code.items():
                digests.setdefault(part, set()).add(digest)
    mixed = [f"{part} ({len(versions)} versions)" for part, versions in digests.items() if len(versions) > 1]
    return [f"Mixed code: {', '.join(mixed)}."] if mixed else []


def _unfinished(records: list[Record]) -> list[str]:
    left = [r for r in records if r.status in ("pending", "running", "interrupted")]
    lines = [f"{count} {status}" for status, count in Counter(r.status for r in left).items()]
    trained = Counter(" and ".join(r.to_do) for r in left if r.to_do and "training" not in r.to_do)
    lines += [f"{count} of them trained, with {stages} to do" for stages, count in trained.items()]
    return lines + [f"{_name(r)}: its result is not used: {r.reason}" for r in left if r.reason]


def _by_reason(records: Iterable[Record]) -> list[str]:
    names: dict[str, list[str]] = {}
    for record in records:
        names.setdefault(_one_line(record.reason), []).append(_name(record))
    return [f"{', '.join(dict.fromkeys(labels))}: {reason}" for reason, labels in names.items()]


def _name(record: Record) -> str:
    """`w_mse d=4 (digits, seed 0, cell ID)`."""
    return f"{record.placed.row} ({record.placed.dataset}, seed {record.cell.seed}, cell {record.cell.pretraining.id})"


def rule_text(rule: CollapseRule) -> str:
    """When a run counts as collapsed, in words."""
    return (
        f"std x sqrt(D) of the normalised features below {rule.min_std:g}, or RankMe below "
        f"{100 * rule.min_rank_fraction:g} % of D, on {rule.consecutive} readings in a row (all, if fewer)"
    )


def _without_seed(record: Record) -> str:
    return json.dumps(record.placed.fields.model_dump(mode="json", exclude={"seed", "monitors"}), sort_keys=True)


def _one_line(text: str | None) -> str:
    return " ".join((text or "unknown").split())
