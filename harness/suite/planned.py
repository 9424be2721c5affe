"""What a suite comes down to: cells that would run and cells that cannot, each with its place in the suite's tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.spec.metric import Metric
from harness.spec.models import Cell
from harness.suite.axes import ALIASES, locate
from harness.suite.nodes import Node, marked, plain
from harness.suite.row import RowFields


@dataclass(frozen=True)
class Placed:
    """A cell and its place in the suite."""

    cell: Cell
    fields: RowFields
    """What the suite says of it, every default written out."""
    label: str
    """Of the method."""
    dataset: str
    """Label of the dataset."""
    axes: Mapping[str, Any]
    """Axis -> its value or label, of the axes that vary for this method; `seeds` is called `seed`."""

    @property
    def row(self) -> str:
        """The method's label and every axis that varies but the seed: `w_mse d=4 lr=0.003`."""
        varying = [f"{name}={shown(value)}" for name, value in self.axes.items() if name != "seed"]
        return " ".join([self.label, *varying])

    @cached_property
    def id(self) -> str:
        """The cell's id: of its pretraining, evaluations and monitors together."""
        return self.cell.id

    @cached_property
    def _tree(self) -> Node:
        return marked(self.fields.model_dump(mode="json"))

    def value(self, name: str) -> Any:
        """What the cell has under a name: `method` and `dataset` (labels), an axis, or a field; None if it has none.

        Raises axes.Ambiguous if several fields answer to the name.
        """
        if name in ("method", "dataset"):
            return self.label if name == "method" else self.dataset
        for key in (name, ALIASES.get(name, name)):
            if key in self.axes:
                return self.axes[key]
        path = locate(name, self._tree)
        node = self._tree.find(path) if path else None
        return plain(node) if node is not None else None

    def matches(self, rule: Mapping[str, Any]) -> bool:
        """Whether every key of the rule has the value, or one of the values, that the rule gives."""
        names = {"method": self.cell.method, "dataset": self.cell.dataset}  # a name will do for a label
        for key, value in rule.items():
            choices = value if isinstance(value, list | tuple) else [value]
            if self.value(key) not in choices and names.get(key, _ABSENT) not in choices:
                return False
        return True


_ABSENT = object()


@dataclass(frozen=True)
class Planned(Placed):
    """A cell to run. The same cell may stand under several labels; it is run once."""

    missing_data: str | None = None
    """What to do to get its dataset, where it is not on this machine."""


@dataclass(frozen=True)
class Skipped(Placed):
    """A cell that is not run."""

    reason: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Expansion:
    """Everything a suite stands for."""

    planned: tuple[Planned, ...]
    skipped: tuple[Skipped, ...]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Every metric that some cell has; the first of each evaluation come first."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Evaluations that are called otherwise than the files say, since `knn5` with another k is not `knn5`."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells to run, each once."""
        return tuple({placed.id: placed.cell for placed in self.planned}.values())


def shown(value: Any) -> str:
    """A value as tables and terminals print it: `0.003`, `true`, `[1, 2]`."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return format(value, "g")
    return json.dumps(value, ensure_ascii=False)
