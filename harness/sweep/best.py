"""The winners as a suite: `best.yaml`, which runs as it is and includes nothing. Owns its text, and checks that the
text means the cells that are meant. No torch, no Optuna.
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
from harness.suite.nodes import marked, plain
from harness.suite.resolve import Pairing
from harness.suite.row import RowFields
from harness.suite.suite import Suite, load_suite
from harness.sweep.rows import Row, final_seeds

ABSENT = object()


@dataclass(frozen=True)
class Winner:
    """A row with the values that won; None where nothing was tuned, or no trial has ended."""

    row: Row
    values: Mapping[str, Any] | None
    comment: str

    def cell(self, seed: int) -> Cell:
        """What it is judged by."""
        return self.row.winner(self.values or {}, seed)

    def fields(self, seed: int) -> RowFields:
        """What a suite would have to say for that cell."""
        return self.row.winner_fields(self.values or {}, seed)


def write_best(path: Path, suite: Suite, winners: Sequence[Winner], catalogue: Catalogue, facts: Facts) -> Path:
    """Write the winners' suite, with every field that is not the harness's own default."""
    assert suite.content.sweep is not None
    seeds = final_seeds(suite.content.sweep)
    text = _text(path, suite, winners, seeds, catalogue)
    _check(text, path, winners, seeds, catalogue, facts)
    write_text(path, text)
    return path


def _text(path: Path, suite: Suite, winners: Sequence[Winner], seeds: Sequence[int], catalogue: Catalogue) -> str:
    needed = {(w.row.name, w.row.dataset): _needed(path, suite, w, seeds[0], catalogue) for w in winners}
    shared = _defaults(needed, winners)
    labels = dict.fromkeys(winner.row.dataset for winner in winners)
    of_dataset = {
        label: _common([fields for (_, dataset), fields in needed.items() if dataset == label], only=("dataset",))
        for label in labels
    }
    methods: dict[str, Any] = {}
    for winner in winners:
        row = winner.row
        below = _merged(shared, of_dataset[row.dataset])
        own = _without(needed[row.name, row.dataset], below)
        entry = methods.setdefault(row.name, {"method": row.entry.name})
        if len(labels) == 1:
            entry |= own
        else:
            entry.setdefault("datasets", {})[row.dataset] = own
    content = {
        "title": f"{suite.title}, tuned",
        "extensions": [os.path.relpath(file, path.parent) for file in suite.extensions],
        "defaults": shared,
        "datasets": of_dataset,
        "methods": methods,
        "axes": {"seeds": list(seeds)},
        "collapse": suite.content.collapse.model_dump(mode="json", exclude_defaults=True),
        "tables": [_table(suite)],
    }
    return _header(path, suite, winners) + _yaml({key: value for key, value in content.items() if value})


def _needed(path: Path, suite: Suite, winner: Winner, seed: int, catalogue: Catalogue) -> dict[str, Any]:
    """Fields of the winner that are not what a suite of two names would give."""
    row = winner.row
    method, dataset = row.entry, row.placed.fields.dataset.name
    bare = Suite(suite.path, None, suite.content, marked({}), (), (), frozenset())
    default = plain(Pairing(bare, method.name, method, dataset, catalogue.datasets[dataset], catalogue.probes).tree)
    wanted = winner.fields(seed).model_dump(mode="json", exclude={"method", "seed"})
    fields = {key: value for key, value in wanted.items() if key not in fields_without_use(method)}
    changed = _without(fields, default)
    taken_out = {label: None for label in default["evaluations"] if label not in wanted["evaluations"]}
    if taken_out:
        changed["evaluations"] = {**taken_out, **changed.get("evaluations", {})}
    weights = changed.get("backbone", {}).get("weights")
    if weights is not None:
        changed["backbone"]["weights"] = os.path.relpath(weights, path.parent)
    if row.dataset != dataset:
        changed["dataset"] = {"name": dataset, **changed.get("dataset", {})}
    return changed


def _table(suite: Suite) -> dict[str, Any]:
    """One table, of the metrics and costs that the suite's first one has."""
    first = suite.content.tables[0] if suite.content.tables else None
    return {"title": "Tuned", **({"metrics": list(first.metrics), "cost": list(first.cost)} if first else {})}


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
    meant = {_meaning(w.row.name, w.row.dataset, w.cell(seed)) for w in winners for seed in seeds}
    found = {_meaning(p.label, p.dataset, p.cell) for p in [*expansion.planned, *expansion.skipped]}
    assert found == meant, f"best.yaml would run other cells: {found ^ meant}"


def _meaning(row: str, dataset: str, cell: Cell) -> tuple[Any, ...]:
    """What a cell is in a suite's tables: where it stands, its encoder, and what its metrics are of."""
    evaluations = frozenset((label, evaluation.id) for label, evaluation in cell.evaluations.items())
    return row, dataset, cell.seed, cell.pretraining.id, evaluations, frozenset(cell.monitors)


def _defaults(needed: Mapping[tuple[str, str], Mapping[str, Any]], winners: Sequence[Winner]) -> dict[str, Any]:
    """What all rows say alike of the fields that they use; settings and the dataset stay with their rows."""
    shared: dict[str, Any] = {}
    for key in dict.fromkeys(key for fields in needed.values() for key in fields):
        users = [w.row for w in winners if key not in fields_without_use(w.row.entry)]
        if key not in ("settings", "dataset"):
            shared |= _common([needed[row.name, row.dataset] for row in users], only=(key,))
    return shared


def _common(trees: Sequence[Mapping[str, Any]], only: Sequence[str] = ()) -> dict[str, Any]:
    """What all the trees say alike, mappings compared deeply."""
    shared: dict[str, Any] = {}
    for key, value in trees[0].items():
        others = [tree.get(key, ABSENT) for tree in trees[1:]]
        if only and key not in only:
            continue
        if all(isinstance(other, dict) and _alike(value, other) for other in [value, *others]):
            inner = _common([value, *others])
            if inner:
                shared[key] = inner
        elif all(other == value for other in others):
            shared[key] = value
    return shared


def _without(tree: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """What a tree says that is not below it already. A mapping of another `kind` or `probe` is replaced as a whole."""
    left: dict[str, Any] = {}
    for key, value in tree.items():
        under = below.get(key, ABSENT)
        if isinstance(value, dict) and isinstance(under, dict) and _alike(value, under):
            inner = _without(value, under)
            if inner:
                left[key] = inner
        elif value != under:
            left[key] = value
    return left


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both are of one `kind` of part and one `probe`, so that they are laid over each other key by key."""
    return all(one.get(key) == other.get(key) for key in ("kind", "probe"))


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        under = merged.get(key)
        merged[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
