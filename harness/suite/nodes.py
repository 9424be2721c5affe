"""Values that know where they were written, how they merge, and the error that says what is wrong with them.

Owns `Mark`, `Node`, `Problem` and `SuiteError`. Reads no file and knows no field of a suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "dict[str, Node] | list[Node] | Scalar"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text: lines and columns count from 1; line 0 stands for a place without lines (the command line)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


BUILT_IN = Mark("built-in default")


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value. `mark`: where its key stands, or the item of a list; `path`: its name in the file."""

    value: Value
    mark: Mark = BUILT_IN
    path: str = ""

    @property
    def entries(self) -> dict[str, Node]:
        """The keys and values of a mapping; nothing for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The items of a list; nothing for any other value."""
        return self.value if isinstance(self.value, list) else []

    def find(self, path: Iterable[str | int]) -> Node | None:
        """The value at a path of keys and positions, or None where there is none."""
        node: Node | None = self
        for step in path:
            if node is None:
                return None
            if isinstance(step, int):
                node = node.items[step] if step < len(node.items) else None
            else:
                node = node.entries.get(step)
        return node

    def without(self, *keys: str) -> Node:
        """The same mapping without some of its keys."""
        return Node({key: value for key, value in self.entries.items() if key not in keys}, self.mark, self.path)


def plain(node: Node) -> Any:
    """The value as plain Python, without marks."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def marked(value: Any, mark: Mark = BUILT_IN, path: str = "") -> Node:
    """Plain Python as a node whose every part stands at one place."""
    if isinstance(value, Mapping):
        return Node(
            {str(key): marked(entry, mark, f"{path}.{key}".lstrip(".")) for key, entry in value.items()}, mark, path
        )
    if isinstance(value, list | tuple):
        return Node([marked(item, mark, f"{path}[{index}]") for index, item in enumerate(value)], mark, path)
    return Node(value, mark, path)


def nested(path: Sequence[str], leaf: Node) -> Node:
    """A mapping that holds one value, at a path."""
    for key in reversed(path):
        leaf = Node({key: leaf}, leaf.mark, leaf.path)
    return leaf


def other_kind(base: Node, top: Node) -> bool:
    """Whether both are mappings that state their `kind` (of a part) or `probe` (of a question), and not the same."""
    for key in ("kind", "probe"):
        below, above = base.entries.get(key), top.entries.get(key)
        if below is not None and above is not None and below.value != above.value:
            return True
    return False


def merge(base: Node | None, top: Node) -> Node:
    """`top` over `base`: mappings merge deeply; lists, scalars, null and a mapping of another `kind` replace."""
    if base is None or not isinstance(base.value, dict) or not isinstance(top.value, dict) or other_kind(base, top):
        return top
    entries = dict(base.value)
    for key, value in top.value.items():
        entries[key] = merge(entries.get(key), value)
    return Node(entries, top.mark, top.path)


def with_marks_of(value: object, node: Node) -> Node:
    """Validated values as nodes, each with the mark of the node that it was validated from."""
    if isinstance(value, dict):
        entries = {key: with_marks_of(entry, node.entries.get(key, Node(None))) for key, entry in value.items()}
        return Node(entries, node.mark, node.path)
    if isinstance(value, list):
        below = [*node.items, *[Node(None)] * len(value)]
        return Node([with_marks_of(item, at) for item, at in zip(value, below, strict=False)], node.mark, node.path)
    return Node(value, node.mark, node.path)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Problem:
    """One mistake of the user's: where, in which key, and what to do."""

    mark: Mark
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.mark), self.path, self.message) if part)


class SuiteError(ValueError):
    """A suite that cannot be run as written. Its text has a line a problem: `file:line: key: what and what to do`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        mistakes = list(problems)
        files = list(dict.fromkeys(mistake.mark.file for mistake in mistakes))
        mistakes.sort(key=lambda m: (files.index(m.mark.file), m.mark.line, m.mark.column))
        self.problems = tuple(dict.fromkeys(mistakes))
        super().__init__("\n".join(map(str, self.problems)))


def problem(node: Node, message: str) -> Problem:
    """A mistake in this value."""
    return Problem(node.mark, node.path, message)
