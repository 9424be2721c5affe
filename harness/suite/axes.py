"""What a suite crosses: axes as lists of choices, and how the name of an axis or field finds its place in a cell.

Owns the rules for names. An axis is named by the path of a field (`optimiser.lr`), by a name that occurs once
(`sub_batch_size`), or by a label, when its values are labelled overrides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.suite.fields import ALIASES as ALIASES
from harness.suite.fields import cell_paths
from harness.suite.models import Overrides
from harness.suite.nodes import Node, Problem, nested, plain, problem
from harness.suite.problems import validate

Path = tuple[str, ...]
QUESTIONS = ("monitors", "evaluations")


class Ambiguous(ValueError):
    """A name that stands for several fields; lists their paths."""


@dataclass(frozen=True)
class Choice:
    """One value of an axis."""

    value: Any
    """As tables print it: the value, or its label."""
    node: Node
    """The value, or the overrides that the label stands for."""


@dataclass(frozen=True)
class Axis:
    """One axis as written."""

    name: str
    node: Node
    choices: tuple[Choice, ...]
    labelled: bool
    """Whether the choices are overrides under labels, rather than values of one field."""

    @property
    def key(self) -> str:
        """Its name; `seeds: 3` crosses `seed`."""
        return "seed" if self.name == "seeds" else self.name


def read_axis(name: str, node: Node) -> tuple[Axis | None, list[Problem]]:
    """An axis from its node: a list of values; for seeds also how many; or a mapping of labels to overrides."""
    if isinstance(node.value, dict) and node.value:
        problems = [wrong for choice in node.value.values() for wrong in validate(Overrides, choice)[1]]
        return Axis(name, node, tuple(Choice(label, value) for label, value in node.value.items()), True), problems
    if isinstance(node.value, list) and node.value:
        return Axis(name, node, tuple(Choice(plain(item), item) for item in node.value), False), []
    counted = ALIASES.get(name, name) == "seed" and isinstance(node.value, int) and not isinstance(node.value, bool)
    if counted and isinstance(node.value, int) and node.value > 0:
        seeds = tuple(Choice(seed, Node(seed, node.mark, node.path)) for seed in range(node.value))
        return Axis(name, node, seeds, False), []
    expected = "a list of values, such as [1, 2], or a mapping of labels to overrides"
    if ALIASES.get(name, name) == "seed":
        expected = "a list of seeds, or how many, such as 3 for 0, 1, 2"
    return None, [problem(node, f"an axis is {expected}, and not empty")]


def _walk(tree: Node, path: Path = ()) -> Iterator[Path]:
    for key, value in tree.entries.items():
        yield (*path, key)
        yield from _walk(value, (*path, key))


def locate(name: str, tree: Node) -> Path | None:
    """Where the field of that name stands in a cell's tree, or None if the cell has none.

    Top-level fields win over deeper ones; fields of evaluations are found by a bare name only where no other part has
    it, those of monitors only where no evaluation has it. Raises Ambiguous if several fields answer to the name.
    """
    name = ALIASES.get(name, name)
    path = tuple(name.split("."))
    if tree.find(path) is not None:
        return path
    if len(path) > 1:
        possible = (path in cell_paths() and path[0] != "settings") or path[0] in QUESTIONS
        top = tree.find(path[:1])
        return path if possible and top is not None and isinstance(top.value, dict) else None
    places = [place for place in _walk(tree) if place[-1] == name]
    for last in QUESTIONS:
        places = [place for place in places if place[0] != last] or places
    if len(places) > 1:
        listed = ", ".join(f"`{'.'.join(place)}`" for place in places)
        raise Ambiguous(f"`{name}` stands for several fields; write one of {listed}")
    return places[0] if places else None


def names_in(tree: Node) -> list[str]:
    """Every name that `locate` understands in this tree: bare names first, the method's own settings before all."""
    places = sorted(_walk(tree), key=lambda place: place[0] != "settings")
    return [*dict.fromkeys(place[-1] for place in places), *(".".join(place) for place in places), *ALIASES]


def layer(choice: Choice, path: Path | None) -> Node:
    """What a choice lays over a cell's tree: its overrides, or its value at the axis's path."""
    return choice.node if path is None else nested(path, choice.node)
