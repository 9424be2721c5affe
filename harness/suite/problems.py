"""Validates nodes with pydantic models, and says what is wrong: file, line, key, value, nearest name.

Owns the translation of pydantic's errors. Validation is strict: `"3"` is not a number and `no` not a boolean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from harness.suite.fields import ALIASES, cell_paths, keys_at, nearest, suggestion
from harness.suite.nodes import BUILT_IN, Mark, Node, Problem, plain

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], node: Node, fallback: Node | None = None) -> tuple[M | None, list[Problem]]:
    """The node as a model, or the problems it has.

    Args:
        model: validated strictly, from JSON (so that a list may stand for a tuple).
        node: the values, each with its mark.
        fallback: whose mark stands for values that the user did not write.
    """
    try:
        return model.model_validate_json(to_json(plain(node), inf_nan_mode="constants"), strict=True), []
    except ValidationError as error:
        return None, problems_of(error, model, node, fallback)


def problems_of(
    error: ValidationError, model: type[BaseModel], node: Node, fallback: Node | None = None
) -> list[Problem]:
    """A validation's errors, located in the nodes; the branches of a union that all failed are one problem."""
    grouped: dict[tuple[Mark, str], list[str]] = {}
    for detail in error.errors(include_url=False):
        mark, path, message = _located(detail, model, node, fallback)
        messages = grouped.setdefault((mark, path), [])
        if message not in messages:
            messages.append(message)
    return [Problem(mark, path, " or ".join(messages)) for (mark, path), messages in grouped.items()]


def _located(detail: ErrorDetails, model: type[BaseModel], root: Node, fallback: Node | None) -> tuple[Mark, str, str]:
    node, steps = root, list[str | int]()
    trail = [root]
    for step in detail["loc"]:
        inner = node.find([step])
        if inner is not None:  # else: the name of a union's branch, or of a missing key
            node, steps = inner, [*steps, step]
            trail.append(node)
    message = _message(detail, model, node, steps)
    if node.mark is BUILT_IN:  # the nearest outer place that the user wrote
        written = [outer for outer in reversed(trail) if outer.mark is not BUILT_IN]
        place = written[0] if written else fallback or node
        name = ".".join(map(str, steps))
        return place.mark, place.path, f"{name}: {message}" if name else message
    return node.mark, node.path, message


def _message(detail: ErrorDetails, model: type[BaseModel], node: Node, steps: Sequence[str | int]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key; {_instead(str(steps[-1]), keys_at(model, steps[:-1]))}"
    if kind == "missing":
        return f"`{detail['loc'][-1]}` is missing"
    shown = _shown(plain(node))
    if kind == "literal_error":
        words = str(context["expected"]).replace("'", "`")
        near = nearest(str(plain(node)), str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", "))
        return f"{shown} is not {words}" + (f"; did you mean `{near}`?" if near else "")
    if kind == "union_tag_invalid":
        tags = str(context["expected_tags"]).replace("'", "").split(", ")
        key = str(context["discriminator"]).strip("'")
        return f"there is no {key} `{context['tag']}`; {suggestion(str(context['tag']), tags)}"
    if kind == "union_tag_not_found":
        return f"needs `{str(context['discriminator']).strip(chr(39))}`"
    if kind == "value_error":
        return str(context["error"])
    text = detail["msg"].removeprefix("Input ")
    return f"{text}, not {shown}"


def _instead(name: str, keys: Sequence[str]) -> str:
    if ALIASES.get(name) in keys:
        return f"write `{ALIASES[name]}` here"
    if nearest(name, keys) is None and "optimiser" in keys:  # a field of a cell, without the part it stands in
        deeper = [
            ".".join(path)
            for path in sorted(cell_paths(), key=lambda path: (len(path), path))
            if path[-1] == name and path[0] in keys
        ]
        if deeper:
            return f"did you mean {' or '.join(f'`{path}`' for path in deeper)}?"
    return suggestion(name, keys, "valid keys")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"
