"""Evaluations and monitors of a row: every default of their probes written out, and names that clash."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from harness.suite.assemble import question_name
from harness.suite.axes import QUESTIONS
from harness.suite.facts import ProbeLike
from harness.suite.fields import suggestion
from harness.suite.nodes import Node, Problem, plain, problem, with_marks_of
from harness.suite.problems import validate
from harness.suite.row import EvaluationFields, MonitorFields

CURVE_NAMES = ("loss", "lr", "h", "v")
"""What is on a training's curve begins so: the loss and its terms, the diagnostics of features h and embeddings v."""


def complete_question(
    node: Node, model: type[EvaluationFields], probes: Mapping[str, ProbeLike], row: Node
) -> tuple[Node | None, list[Problem]]:
    """An evaluation or monitor with every default of its probe written out, or why it is none.

    Args:
        row: whose mark stands for values that the user did not write.
    """
    fields, problems = validate(model, node, row)
    if fields is None:
        return None, problems
    entry = probes.get(fields.probe)
    if entry is None:
        at = node.entries.get("probe", node)
        return None, [problem(at, f"there is no probe `{fields.probe}`; {suggestion(fields.probe, probes)}")]
    known = [*model.model_fields, *entry.settings.model_fields]
    unknown = [(key, value) for key, value in node.entries.items() if key not in known]
    if unknown:
        return None, [problem(value, f"unknown key; {_instead(key, known)}") for key, value in unknown]
    settings, problems = validate(entry.settings, node.without(*model.model_fields), row)
    if settings is None:
        return None, problems
    written = {name: getattr(fields, name) for name in model.model_fields}
    return with_marks_of({**written, **json.loads(settings.model_dump_json())}, node), []


def check_question_names(tree: Node) -> list[Problem]:
    """Names of questions in a cell's tree that cannot be told apart in its results."""
    problems = [wrong for part in QUESTIONS for wrong in _duplicate_names(tree.entries[part])]
    return problems + _reserved_names(tree.entries["monitors"])


def _instead(key: str, known: Sequence[str]) -> str:
    if key in MonitorFields.model_fields:
        return f"an evaluation is asked at the end; for a curve write it under `monitors`, with `{key}`"
    return suggestion(key, known, "valid keys")


def _duplicate_names(questions: Node) -> list[Problem]:
    """Different questions of one name: `knn5` whose k was set to 20, beside a `knn20`."""
    by_name: dict[str, tuple[str, Node]] = {}
    problems = []
    for label, node in questions.entries.items():
        name = question_name(label, {"k": node.entries.get("k", Node(None)).value})
        other, first = by_name.setdefault(name, (label, node))
        if other != label and plain(first) != plain(node):
            message = f"`{label}` and `{other}` would both be called `{name}`; give one of them another name"
            problems.append(problem(node, message))
    return problems


def _reserved_names(monitors: Node) -> list[Problem]:
    """Monitors whose readings would have names that every curve has already."""
    return [
        problem(node, f"a monitor cannot be called `{label}`: the curve has `{label}_...` of its own; rename it")
        for label, node in monitors.entries.items()
        if label in CURVE_NAMES and node.value is not None
    ]
