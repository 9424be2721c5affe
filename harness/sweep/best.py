"""The winners as a suite: `best.yaml`, which runs as it is and includes nothing. Owns its text, and checks that the
text stands for the winners' cells. No torch.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.spec.models import Cell
from harness.store.atomic import write_text
from harness.suite.assemble import fields_without_use
from harness.suite.expand import expand
from harness.suite.facts import Catalogue, Facts
from harness.suite.nodes import marked, merge, other_kind, plain
from harness.suite.resolve import Pairing
from harness.suite.suite import Suite, load_suite
from harness.sweep.rows import SweepRow, final_seeds

ABSENT = object()
NOT_SWEPT = "not swept"


@dataclass(frozen=True)
class Winner:
    """A row with the values that won; none where nothing was tuned, or no trial has ended well."""

    row: SweepRow
    values: Mapping[str, Any]
    comment: str


def write_best(path: Path, suite: Suite, winners: Sequence[Winner], catalogue: Catalogue, facts: Facts) -> Path:
    """Write the winners' suite: the suite's own text, and in each row what its winner has otherwise."""
    assert suite.content.sweep is not None
    seeds = final_seeds(suite.content.sweep)
    content = _content(path, suite, winners, seeds, catalogue)
    text = _header(path, suite, winners) + _yaml({key: value for key, value in content.items() if value})
    _check(text, path, winners, seeds, catalogue, facts)
    write_text(path, text)
    return path


def _content(
    path: Path, suite: Suite, winners: Sequence[Winner], seeds: Sequence[int], catalogue: Catalogue
) -> dict[str, Any]:
    said = plain(suite.root)
    labels = dict.fromkeys(winner.row.dataset for winner in winners)
    methods = {w.row.name: {"method": w.row.entry.name, **_own(said, w.row)} for w in winners}
    table = suite.content.tables[0] if suite.content.tables else None
    pairs = {(winner.row.name, winner.row.dataset) for winner in winners}
    absent = [(name, label) for name in methods for label in labels if (name, label) not in pairs]
    content = {
        "title": f"{suite.title}, tuned",
        "extensions": [os.path.relpath(file, path.parent) for file in suite.extensions],
        "defaults": _final(said.get("defaults", {})),
        "datasets": {label: _final(said["datasets"][label]) for label in labels},
        "methods": methods,
        "axes": {"seeds": list(seeds)},
        "skip": [{"method": name, "dataset": label, "reason": NOT_SWEPT} for name, label in absent],
        "collapse": suite.content.collapse.model_dump(mode="json", exclude_defaults=True),
        "tables": [{"title": "Tuned", **({"metrics": list(table.metrics), "cost": list(table.cost)} if table else {})}],
    }
    before = Suite(suite.path, None, suite.content, marked(content), (), (), frozenset())
    for winner in winners:
        row, entry = winner.row, methods[winner.row.name]
        changes = (
            {"datasets": {row.dataset: changed}} if (changed := _changes(before, winner, seeds[0], catalogue)) else {}
        )
        methods[row.name] = plain(merge(marked(entry), marked(changes if len(labels) > 1 else changed)))
    relative: dict[str, Any] = _weights_from(content, path.parent)
    return relative


def _own(said: Mapping[str, Any], row: SweepRow) -> dict[str, Any]:
    """What the suite says of a row's method, without its axes."""
    own = said["methods"][row.placed.label]
    datasets = {label: _final(overrides or {}) for label, overrides in own.get("datasets", {}).items()}
    own = {key: value for key, value in _final(own).items() if key not in ("axes", "datasets", "method")}
    return {**own, **({"datasets": datasets} if datasets else {})}


def _final(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides without what final cells have otherwise: all training images, no monitors, the test split."""
    final = {key: value for key, value in overrides.items() if key not in ("split", "monitors", "seed")}
    if isinstance(final.get("dataset"), dict):
        final["dataset"] = {k: v for k, v in final["dataset"].items() if k != "validation_fraction"}
    return {key: value for key, value in final.items() if value != {} or key in ("settings", "evaluations")}


def _changes(suite: Suite, winner: Winner, seed: int, catalogue: Catalogue) -> dict[str, Any]:
    """Fields of the winner that are not what the suite gives its row by itself."""
    row = winner.row
    info = catalogue.datasets[row.placed.fields.dataset.name]
    given = plain(Pairing(suite, row.name, row.entry, row.dataset, info, catalogue.probes).tree)
    fields = row.winner_fields(winner.values, seed).model_dump(mode="json", exclude={"method", "seed"})
    changed = _difference({k: v for k, v in fields.items() if k not in fields_without_use(row.entry)}, given)
    removed = {label: None for label in given["evaluations"] if label not in fields["evaluations"]}
    return {**changed, **({"evaluations": {**removed, **changed.get("evaluations", {})}} if removed else {})}


def _difference(tree: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a tree says that is not given already. A mapping of another `kind` or `probe` is replaced as a whole."""
    changed: dict[str, Any] = {}
    for key, value in tree.items():
        below = given.get(key, ABSENT)
        if isinstance(value, dict) and isinstance(below, dict) and not other_kind(marked(below), marked(value)):
            inner = _difference(value, below)
            changed |= {key: inner} if inner else {}
        elif value != below:
            changed[key] = value
    return changed


def _weights_from(tree: Any, directory: Path, within: str = "") -> Any:
    """The tree with every file of weights named from a directory."""
    if not isinstance(tree, dict):
        return tree
    return {
        key: os.path.relpath(value, directory)
        if (within, key) == ("backbone", "weights") and isinstance(value, str)
        else _weights_from(value, directory, key)
        for key, value in tree.items()
    }


def _header(path: Path, suite: Suite, winners: Sequence[Winner]) -> str:
    lines = [
        f"# The best settings that `harness sweep` found for {suite.path}"
        + (f", preset {suite.preset}" if suite.preset else ""),
        "# by a validation split held out of the training images. These cells train on all of them, with seeds that no",
        "# trial had, and see the test split once:",
        f"#   harness run {path}",
        *(f"# - {winner.row.title}: {winner.comment}" for winner in winners),
    ]
    return "\n".join(lines) + "\n"


def _yaml(content: Mapping[str, Any]) -> str:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = None
    writer.width = 118
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # ruamel declares it as None
    stream = io.StringIO()
    writer.dump(dict(content), stream)
    return stream.getvalue()


def _check(
    text: str, path: Path, winners: Sequence[Winner], seeds: Sequence[int], catalogue: Catalogue, facts: Facts
) -> None:
    """That the text stands for the winners' cells and no others. It is read where it will lie, since it names files."""
    draft = path.with_name(f".{path.name}")
    write_text(draft, text)
    try:
        expansion = expand(load_suite(draft), catalogue, facts)
    finally:
        draft.unlink(missing_ok=True)
    expected = {_identity(w.row.name, w.row.dataset, w.row.winner(w.values, seed)) for w in winners for seed in seeds}
    meant = [*expansion.planned, *(skipped for skipped in expansion.skipped if skipped.reason != NOT_SWEPT)]
    written = {_identity(p.label, p.dataset, p.cell) for p in meant}
    assert written == expected, f"best.yaml would run other cells: {written ^ expected}"


def _identity(row: str, dataset: str, cell: Cell) -> tuple[Any, ...]:
    """What a cell is in a suite's tables: its place, its encoder, and what its metrics are of."""
    evaluations = frozenset((label, evaluation.id) for label, evaluation in cell.evaluations.items())
    return row, dataset, cell.seed, cell.pretraining.id, evaluations, frozenset(cell.monitors)
