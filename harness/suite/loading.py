"""YAML 1.2 text becomes nodes that know their file, line and column. Reads YAML; knows no field of a suite.

Scalars follow YAML 1.2's core schema: `1e-3` is a float, `no` and `2024-01-01` are strings, `0o17` is fifteen and `017`
seventeen.
"""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode

from harness.suite.nodes import Mark, Node, Problem, Scalar, SuiteError

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = ("str", "int", "float", "bool", "null", "map", "seq", "timestamp", "value", "merge")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL = ("", "~", "null", "Null", "NULL")
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read(path: Path, shown: str | None = None) -> Node:
    """The mapping in a YAML file.

    Args:
        path: the file.
        shown: how messages name it; by default its path as given.

    Raises:
        SuiteError: the file cannot be read or is not one YAML 1.2 mapping with unique keys.
    """
    shown = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
        raise SuiteError([Problem(Mark(shown), "", f"cannot be read: {reason}")]) from error
    node = parse(text, shown)
    if node.value is None:
        return Node({}, Mark(shown, 1, 1))
    if not isinstance(node.value, dict):
        raise SuiteError([Problem(node.mark, "", "a suite is a mapping of keys to values, such as `title: ...`")])
    return node


def parse(text: str, shown: str, line: int | None = None) -> Node:
    """One YAML document as a node. With `line` given (0: no lines at all), every mark has that line."""
    try:
        document = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(shown, at.line + 1, at.column + 1) if at and line is None else Mark(shown, line or 0)
        why = ", ".join(filter(None, (error.context, error.problem)))
        raise SuiteError([Problem(mark, "", f"not YAML: {why}")]) from error
    except YAMLError as error:
        raise SuiteError([Problem(Mark(shown, line or 0), "", f"not YAML: {error}".splitlines()[0])]) from error
    reader = _Reader(shown, line)
    node = reader.node(document, "", None) if document is not None else Node(None, Mark(shown, line or 0))
    if reader.problems:
        raise SuiteError(reader.problems)
    return node


class _Reader:
    """Turns ruamel's nodes into ours, and collects what is wrong with them."""

    def __init__(self, shown: str, line: int | None) -> None:
        self.shown, self.line = shown, line
        self.problems: list[Problem] = []
        self.open: set[int] = set()  # nodes being read: an alias to one of them would never end

    def mark(self, node: YamlNode) -> Mark:
        if self.line is not None:
            return Mark(self.shown, self.line)
        return Mark(self.shown, node.start_mark.line + 1, node.start_mark.column + 1)

    def node(self, source: YamlNode, path: str, key: YamlNode | None) -> Node:
        mark = self.mark(key or source)
        if id(source) in self.open:
            self.problems.append(Problem(mark, path, "an alias to a value that it is part of"))
            return Node(None, mark, path)
        self.open.add(id(source))
        try:
            return Node(self.value(source, mark, path), mark, path)
        finally:
            self.open.discard(id(source))

    def value(self, source: YamlNode, mark: Mark, path: str) -> dict[str, Node] | list[Node] | Scalar:
        tag = str(source.tag or "")
        if tag.removeprefix(_TAG) not in _PLAIN_TAGS:
            self.problems.append(Problem(mark, path, f"unknown tag `{tag.replace(_TAG, '!!')}`; write a plain value"))
            return None
        if isinstance(source, MappingNode):
            return self.mapping(source, path)
        if isinstance(source, SequenceNode):
            return [self.node(item, f"{path}[{index}]", None) for index, item in enumerate(source.value)]
        assert isinstance(source, ScalarNode)
        text = str(source.value)
        return text if source.style is not None or tag == _TAG + "str" else scalar(text)

    def mapping(self, source: MappingNode, path: str) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in source.value:
            inner = f"{path}.{key.value}".lstrip(".")
            if not isinstance(key, ScalarNode):
                self.problems.append(Problem(self.mark(key), path, "a key must be plain text"))
            elif key.value == "<<" and key.style is None:
                message = "merge keys are not in YAML 1.2; use `include`, `defaults` or an alias of a whole value"
                self.problems.append(Problem(self.mark(key), inner, message))
            elif key.value in entries:
                first = entries[key.value].mark
                self.problems.append(Problem(self.mark(key), inner, f"key written twice, first at line {first.line}"))
            else:
                entries[key.value] = self.node(value, inner, key)
        return entries


def scalar(text: str) -> Scalar:
    """A plain scalar's value by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text
