"""Whether every method, dataset, setting and field that a suite names exists; if not, what was meant.

Owns the checks of names and their messages; changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence

from pydantic import BaseModel

from harness.suite.axes import Ambiguous, Axis, locate, names_in
from harness.suite.claims import ClaimError, matching_cells
from harness.suite.facts import Catalogue
from harness.suite.fields import models_in, suggestion
from harness.suite.nodes import Node, Problem, problem
from harness.suite.planned import Placed
from harness.suite.resolve import Pairing
from harness.suite.suite import Suite

_NOTHING = Node({})


def method_name(label: str, row: Node) -> Node:
    """The method of a labelled row, as a node: what `method` says, or the label."""
    return row.entries.get("method") or Node(label, row.mark, row.path)


def dataset_name(label: str, row: Node) -> Node:
    """The dataset of a labelled row, as a node: what `dataset.name` says, or the label."""
    return row.find(["dataset", "name"]) or Node(label, row.mark, row.path)


def check_names(suite: Suite, known: Catalogue) -> list[Problem]:
    """Methods, datasets and shared settings that do not exist."""
    problems = []
    catalogue, datasets = known.methods, known.datasets
    rows = suite.root.entries.get("methods", _NOTHING).entries
    for label, row in rows.items():
        name = method_name(label, row)
        if name.value not in catalogue:
            problems.append(
                problem(name, f"there is no method `{name.value}`; {suggestion(str(name.value), catalogue)}")
            )
        for dataset, overrides in row.entries.get("datasets", _NOTHING).entries.items():
            if dataset not in {*suite.known_datasets, *datasets}:
                hint = suggestion(dataset, sorted(suite.known_datasets), "datasets of this suite")
                problems.append(problem(overrides, f"there is no dataset `{dataset}` in this suite; {hint}"))
    for label, row in suite.root.entries.get("datasets", _NOTHING).entries.items():
        name = dataset_name(label, row)
        if name.value not in datasets:
            message = f"there is no dataset `{name.value}`; {suggestion(str(name.value), datasets)}"
            problems.append(problem(name, message))
    used = [str(method_name(label, row).value) for label, row in rows.items()]
    models = [catalogue[name].settings for name in used if name in catalogue]
    if models and not any(model.model_fields for model in models):  # controls alone, whose suite may include a recipe
        models = [entry.settings for entry in catalogue.values()]
    return problems + _check_shared_settings(suite, models)


def _check_shared_settings(suite: Suite, models: Sequence[type[BaseModel]]) -> list[Problem]:
    """Settings in the suite's defaults, overrides and datasets' rows that none of its methods has."""
    if not models:
        return []
    root = suite.root
    rows = [root.find(["defaults"]), root.find(["overrides"]), *root.entries.get("datasets", _NOTHING).entries.values()]
    shared = [row.entries["settings"] for row in rows if row and "settings" in row.entries]
    return [wrong for settings in shared for wrong in _unknown_keys(settings, models)]


def _unknown_keys(settings: Node, models: Sequence[type[BaseModel]]) -> Iterator[Problem]:
    for key, value in settings.entries.items():
        fields = [model.model_fields[key] for model in models if key in model.model_fields]
        if not fields:
            known = dict.fromkeys(name for model in models for name in model.model_fields)
            yield problem(value, f"no method of this suite has the setting `{key}`; {suggestion(key, known)}")
        inner = [model for info in fields for model in models_in(info.annotation)]
        if inner:
            yield from _unknown_keys(value, inner)


def check_backbone(tree: Node, own: Collection[str]) -> list[Problem]:
    """What a cell's tree says of a user's own backbone that is of timm's ResNets alone."""
    backbone = tree.entries["backbone"].entries
    name = backbone["name"].value if backbone else None
    if name not in own:
        return []
    neutral = {"stem": "standard", "width": None, "zero_init_last": False}
    return [
        problem(
            backbone[key],
            f"`{name}` is no ResNet of timm's, `{key}` does not apply to it; leave it out, or write "
            f"`{key}: {json.dumps(value).strip(chr(34))}`",
        )
        for key, value in neutral.items()
        if backbone[key].value != value
    ]


def check_axes(axes: Iterable[Axis], used: Collection[str], pairings: Sequence[Pairing]) -> list[Problem]:
    """Axes (global, or one method's) that none of the pairings has."""
    unknown = [axis for axis in axes if axis.name not in used]
    if not pairings or not unknown:
        return []
    known = list(dict.fromkeys(name for pairing in pairings for name in pairing.names()))
    alone = len({pairing.label for pairing in pairings}) == 1
    who = f"`{pairings[0].label}` has no" if alone else "no method in this suite has"
    return [problem(axis.node, f"{who} `{axis.name}`; {suggestion(axis.name, known)}") for axis in unknown]


def check_rules(
    suite: Suite, axes: Collection[str], pairings: Sequence[Pairing], placed: Sequence[Placed]
) -> list[Problem]:
    """Names in skip rules and tables that nothing in the suite answers to, and baselines that are no row."""
    if not pairings:
        return []
    trees = [pairing.tree for pairing in pairings]
    known = list(dict.fromkeys(["method", "dataset", *axes, *(name for tree in trees for name in names_in(tree))]))
    problems = []

    def check(name: str, node: Node) -> None:
        if name in ("method", "dataset", *axes):
            return
        try:
            places = [locate(name, tree) for tree in trees]  # in all of them: in one it may be ambiguous
            if not any(places):
                problems.append(problem(node, f"nothing in this suite is called `{name}`; {suggestion(name, known)}"))
        except Ambiguous as error:
            problems.append(problem(node, str(error)))

    for rule in suite.root.entries.get("skip", _NOTHING).items:
        for key, node in rule.without("reason").entries.items():
            check(key, node)
    rows = dict.fromkeys([*(row.label for row in placed), *(row.row for row in placed)])
    for table in suite.root.entries.get("tables", _NOTHING).items:
        for key, node in table.entries.get("where", _NOTHING).entries.items():
            check(key, node)
        for name in [*table.entries.get("rows", _NOTHING).items, *table.entries.get("columns", _NOTHING).items]:
            check(str(name.value), name)
        baseline = table.entries.get("baseline", Node(None))
        if isinstance(baseline.value, str) and rows and baseline.value not in rows:
            problems.append(
                problem(baseline, f"there is no row `{baseline.value}`; {suggestion(baseline.value, rows)}")
            )
    return problems


def check_claims(
    suite: Suite, datasets: Iterable[str], placed: Sequence[Placed], metrics: Collection[str]
) -> list[Problem]:
    """Rows, metrics and datasets in claims that do not exist.

    A selection of methods, and a field fixed on the command line, take rows away: claims about them are not testable.
    """
    removed = suite.known_methods - {cell.label for cell in placed}
    rows = list(dict.fromkeys([*(cell.label for cell in placed), *(cell.row for cell in placed)]))
    places = [*dict.fromkeys([*sorted(suite.known_datasets), "every dataset"])]
    problems = []
    for node, written in zip(suite.root.entries.get("claims", _NOTHING).items, suite.content.claims, strict=True):
        try:
            claim = written.with_metric(metrics)
        except ClaimError as error:
            problems.append(problem(node, str(error)))
            continue
        for name in claim.rows:
            taken = suite.fixed or any(f"{name} ".startswith(f"{label} ") for label in removed)
            if rows and not taken and not matching_cells(name, placed):
                problems.append(problem(node, f"there is no row `{name}`; {suggestion(name, rows, 'rows')}"))
        for name in claim.datasets:
            if name not in suite.known_datasets and name not in datasets:
                message = f"there is no dataset or metric `{name}`; {suggestion(name, places)}"
                problems.append(problem(node, message))
    return problems


def check_metrics(suite: Suite, metrics: Collection[str]) -> list[Problem]:
    """Metrics in tables, references, claims and the sweep that no evaluation of the suite gives.

    What the command line changed may have taken one away: tables then show it as not measured.
    """
    if suite.fixed:
        return []
    named: list[tuple[str, Node]] = []
    for table in suite.root.entries.get("tables", _NOTHING).items:
        named += [(str(node.value), node) for node in table.entries.get("metrics", _NOTHING).items]
        for reference in table.entries.get("references", _NOTHING).items:
            named += [(str(node.value), node) for key, node in reference.entries.items() if key == "metric"]
    for node, claim in zip(suite.root.entries.get("claims", _NOTHING).items, suite.content.claims, strict=True):
        if claim.relation not in ("collapses", "does not collapse", "earlier") and not set(claim.datasets) & set(
            metrics
        ):
            named.append((claim.metric, node))
    metric = suite.root.find(["sweep", "metric"])
    named += [(str(metric.value), metric)] if metric is not None else []
    return [
        problem(node, f"no evaluation of this suite gives `{name}`; {suggestion(name, metrics)}")
        for name, node in named
        if name not in metrics
    ]
