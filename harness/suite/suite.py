"""A suite file and those it includes become one suite: layers, presets, selection. Reads suite files; plans nothing.

Everything said in a file stays a node with its mark, so that mistakes seen later are reported at its line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.suite.fields import suggestion
from harness.suite.loading import parse, read
from harness.suite.models import SuiteContent
from harness.suite.nodes import Mark, Node, Problem, SuiteError, merge, plain, problem
from harness.suite.problems import validate

LABELLED = ("datasets", "methods", "axes", "presets")  # mappings of the user's own names, from which null takes one out
_WEIGHTS = {("backbone", "weights"), ("axes", "backbone.weights"), ("axes", "weights")}
_NOTHING = Node({})


@dataclass(frozen=True)
class Suite:
    """What the files say, after includes and preset."""

    path: Path
    preset: str | None
    content: SuiteContent
    """The texts, tables, claims, ... as models."""
    root: Node
    """The same, each value with its mark; what `expand` resolves."""
    fixed: tuple[tuple[str, Node], ...]
    """Fields set on the command line: (name, value)."""
    files: tuple[Path, ...]
    """Every file read, this suite's own last."""
    known_datasets: frozenset[str]
    """Labels of datasets in any layer, selected or not."""
    known_methods: frozenset[str] = frozenset()
    """Labels of methods, likewise."""

    @property
    def name(self) -> str:
        """The name of its results: the file's, and the preset's. A sweep's `best.yaml` is named after the sweep, in
        whose directory it lies."""
        stem = self.path.stem
        if stem == "best" and self.path.parent.name:
            stem = f"{self.path.parent.name}-best"
        return f"{stem}-{self.preset}" if self.preset else stem

    @property
    def title(self) -> str:
        """Its title, or else its name."""
        return self.content.title or self.name

    @property
    def extensions(self) -> tuple[Path, ...]:
        """The user's own files of extensions, from the directory we are in."""
        return tuple(Path(name) for name in self.content.extensions)


def load_suite(path: Path | str, preset: str | None = None, settings: Sequence[str] = ()) -> Suite:
    """The suite in a file.

    Args:
        path: a suite file.
        preset: the name of one of its presets.
        settings: `key=value` each, as given to `--set`; values are YAML.

    Raises:
        SuiteError: with every problem, located by file and line.
    """
    layers = _Layers()
    root = layers.load(Path(path), ())
    root = layers.apply_preset(root, preset, Path(path))
    fixed = tuple(layers.fix(text) for text in settings)
    content, problems = validate(SuiteContent, root)
    problems = [*layers.problems, *problems]
    if problems or content is None:
        raise SuiteError(problems)
    return Suite(
        Path(path),
        preset,
        content,
        root,
        fixed,
        tuple(layers.files),
        frozenset(layers.datasets),
        frozenset(layers.methods),
    )


class _Layers:
    """Lays files, and a preset, over each other; collects their problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.files: list[Path] = []
        self.datasets: set[str] = set()
        self.methods: set[str] = set()

    def load(self, path: Path, chain: tuple[Path, ...], included_at: Node | None = None) -> Node:
        """The file over what it includes."""
        chain = (*chain, path)
        if path.resolve() in [earlier.resolve() for earlier in chain[:-1]]:
            assert included_at is not None
            names = " -> ".join(map(str, chain))
            raise SuiteError([problem(included_at, f"suites include each other: {names}")])
        if included_at is not None and not path.is_file():
            there = sorted(file.name for file in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
            message = f"there is no file {path}; {suggestion(path.name, there, 'suites there')}"
            raise SuiteError([problem(included_at, message)])
        node = read(path)
        base: Node | None = None
        for name in _names(node.entries.get("include")):
            below = self.load(_beside(path, str(name.value)), chain, name)
            base = below if base is None else self.over(base, below)
        if path not in self.files:
            self.files.append(path)
        return self.over(base, _own_weights(_own_files(node.without("include"), path), path))

    def over(self, base: Node | None, top: Node) -> Node:
        """One layer over another: lists select, null takes out, the rest merges."""
        top = self.selected(top, base)
        self.datasets.update(top.entries.get("datasets", _NOTHING).entries)
        self.methods.update(top.entries.get("methods", _NOTHING).entries)
        merged = merge(base, top)
        entries = dict(merged.entries)
        for section in LABELLED:
            for label, value in top.entries.get(section, _NOTHING).entries.items():
                if value.value is None and (base is None or base.find([section, label]) is None):
                    message = "there is nothing to take out; write `{}` for an entry with nothing of its own"
                    self.problems.append(problem(value, message))
            if section in entries:
                entries[section] = _without_null(entries[section])
        return Node(entries, merged.mark, merged.path)

    def selected(self, layer: Node, base: Node | None) -> Node:
        """The layer with its lists of datasets and methods as mappings."""
        if not isinstance(layer.value, dict):
            return layer
        chosen: dict[str, Node] = {
            key: self.select(layer.entries[key], base.find([key]) if base else None)
            for key in ("datasets", "methods")
            if key in layer.entries
        }
        return Node({**layer.entries, **chosen}, layer.mark, layer.path)

    def select(self, chosen: Node, base: Node | None) -> Node:
        """A list of labels as a mapping: those, and null for every other label below. Anything else as it is."""
        if not isinstance(chosen.value, list) or not all(isinstance(item.value, str) for item in chosen.items):
            return chosen
        entries = {str(item.value): Node({}, item.mark, item.path) for item in chosen.items}
        for label, value in (base.entries if base else {}).items():
            entries.setdefault(label, Node(None, chosen.mark, value.path))
        return Node(entries, chosen.mark, chosen.path)

    def apply_preset(self, root: Node, preset: str | None, path: Path) -> Node:
        """The suite with one preset's changes."""
        presets = root.entries.get("presets", _NOTHING)
        if preset is not None and preset not in presets.entries:
            hint = suggestion(preset, presets.entries, "presets")
            raise SuiteError([Problem(Mark(str(path)), "", f"there is no preset `{preset}`; {hint}")])
        if preset is not None:
            root = self.over(root, presets.entries[preset])
        as_mappings = {name: self.selected(content, None) for name, content in presets.entries.items()}
        if as_mappings:
            presets = Node(as_mappings, presets.mark, presets.path)
            root = Node({**root.entries, "presets": presets}, root.mark, root.path)
        return root

    def fix(self, text: str) -> tuple[str, Node]:
        """One `key=value` of the command line."""
        name, equals, value = text.partition("=")
        shown = f"--set {text}"
        if not equals or not name.strip():
            raise SuiteError([Problem(Mark(shown), "", "write key=value, such as epochs=10 or optimiser.lr=1e-3")])
        return name.strip(), parse(value, shown, line=0)


def _names(include: Node | None) -> Iterable[Node]:
    """The files named by `include`; whatever is no text is left to validation."""
    if include is None:
        return []
    return [name for name in include.items or [include] if isinstance(name.value, str)]


def _beside(path: Path, name: str) -> Path:
    """A path written in a file, from the directory we are in."""
    return Path(os.path.normpath(path.parent / name))


def _own_files(node: Node, path: Path) -> Node:
    """`extensions` from the directory we are in, so that they survive being included from elsewhere."""
    own = node.entries.get("extensions")
    if own is None or not isinstance(own.value, list):
        return node
    return Node({**node.entries, "extensions": _own_paths(own, path)}, node.mark, node.path)


def _own_weights(node: Node, path: Path, within: str = "") -> Node:
    """Every `backbone.weights`, an axis of it among them, from the directory we are in, likewise."""
    if not isinstance(node.value, dict):
        return node
    entries: dict[str, Node] = {}
    for key, value in node.entries.items():
        if (within, key) in _WEIGHTS:
            entries[key] = _own_paths(value, path)
        else:
            entries[key] = _own_weights(value, path, key)
    return Node(entries, node.mark, node.path)


def _own_paths(node: Node, path: Path) -> Node:
    """A path, or a list of them, written in a file."""
    if isinstance(node.value, list):
        return Node([_own_paths(item, path) for item in node.value], node.mark, node.path)
    return Node(str(_beside(path, node.value)), node.mark, node.path) if isinstance(node.value, str) else node


def _without_null(node: Node) -> Node:
    if not isinstance(node.value, dict):
        return node
    return Node({key: value for key, value in node.value.items() if value.value is not None}, node.mark, node.path)


def suite_as_dict(suite: Suite) -> dict[str, object]:
    """The suite after includes and preset as plain values, for the report."""
    return {key: value for key, value in plain(suite.root).items() if key != "presets"}
