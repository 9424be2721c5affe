"""One labelled method on one dataset: the layers of a suite become a cell, every default written out.

Owns the order of precedence: built-in defaults, the dataset's own, the suite's defaults, the dataset's row, the method's
row, the method's row for the dataset, axes, the suite's overrides, the command line. Crosses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from harness.suite.axes import locate
from harness.suite.catalogue import DatasetLike, MethodLike
from harness.suite.cell import AugmentationSpec, BackboneSpec, Cell, EvaluationSpec, OptimiserSpec, ScheduleSpec
from harness.suite.nodes import Node, Problem, SuiteError, marked, merge, nested, plain, problem
from harness.suite.problems import problems_of, validate
from harness.suite.suite import Suite

NOT_A_CELL = ("method", "datasets", "axes")  # keys of a method's row that are not fields of a cell
_NOTHING = Node({})


def _built_in() -> Node:
    specs = {
        "backbone": BackboneSpec(),
        "augmentation": AugmentationSpec(),
        "optimiser": OptimiserSpec(),
        "schedule": ScheduleSpec(),
        "evaluation": EvaluationSpec(),
    }
    parts = {name: spec.model_dump(mode="json") for name, spec in specs.items()}
    single = {"data_parallel_width": 1, "views": 2, "epochs": None, "batch_size": None, "precision": "float32", "seed": 0}
    return marked({**parts, **single, "dataset": {}, "settings": {}})


BUILT_IN_CELL = _built_in()


def of_dataset(info: DatasetLike) -> Node:
    """The fields of a cell that the dataset's own protocol gives."""
    values = {
        "name": info.name,
        "fingerprint": None,
        "image_size": info.image_size,
        "channels": info.channels,
        "mean": list(info.mean),
        "std": list(info.std),
        "eval_resize": info.eval_resize,
        "train_images": None,
        "validation_fraction": 0.0,
    }
    return marked({"dataset": values})


def prune(top: Node, base: Node) -> Node:
    """Of settings meant for several methods, those that this one has; a mapping of another `kind` is kept whole."""
    kinds = top.entries.get("kind"), base.entries.get("kind")
    if kinds[0] is not None and kinds[1] is not None and kinds[0].value != kinds[1].value:
        return top
    kept = {}
    for key, value in top.entries.items():
        below = base.entries.get(key)
        if below is not None:
            both = isinstance(value.value, dict) and isinstance(below.value, dict)
            kept[key] = prune(value, below) if both else value
    return Node({key: value for key, value in kept.items() if value.value != {}}, top.mark, top.path)


@dataclass
class Pairing:
    """One labelled method on one labelled dataset, before axes. Raises SuiteError where its settings are not valid."""

    suite: Suite
    label: str
    entry: MethodLike
    dataset: str
    info: DatasetLike
    _settings: dict[tuple[int, ...], Node] = field(default_factory=dict)
    _kept: list[Node] = field(default_factory=list)  # keeps the nodes alive whose addresses are keys above

    def __post_init__(self) -> None:
        root = self.suite.root
        self.row = root.find(["methods", self.label]) or _NOTHING
        self.shared = [root.find(["defaults"]), root.find(["datasets", self.dataset])]
        self.own = [self.row.without(*NOT_A_CELL), self.row.find(["datasets", self.dataset])]
        self.default_settings = marked(json.loads(self.entry.settings().model_dump_json()))
        tree = merge(BUILT_IN_CELL, of_dataset(self.info))
        for layer in [*self.shared, *self.own]:
            tree = merge(tree, layer.without("settings")) if layer is not None else tree
        self.base = tree
        self.tree = self.with_settings(tree, ())
        overrides = root.find(["overrides"])
        self.last = [*([self.for_this(overrides)] if overrides else []), *self._command_line()]
        self.tree = self.resolved(())

    def _command_line(self) -> list[Node]:
        found = []
        for name, value in self.suite.fixed:
            path = locate(name, self.tree) if name != "seeds" else None
            if path is not None and path[0] not in self.entry.unused:
                found.append(nested(path, value))
        return found

    def for_this(self, overrides: Node) -> Node:
        """Overrides meant for several methods, without the settings that this one does not have and unused fields."""
        kept = overrides.without(*self.entry.unused)
        settings = overrides.entries.get("settings")
        if settings is None:
            return kept
        mine = prune(settings, self.tree.entries["settings"])
        kept = kept.without("settings")
        return Node({**kept.entries, "settings": mine}, kept.mark, kept.path) if mine.value else kept

    def resolved(self, axes: Sequence[Node]) -> Node:
        """The cell's tree with the axes' layers, and what wins over them."""
        layers = [*axes, *self.last]
        tree = self.base
        for layer in layers:
            tree = merge(tree, layer.without("settings"))
        return self.with_settings(tree, [layer for layer in layers if "settings" in layer.entries])

    def with_settings(self, tree: Node, layers: Sequence[Node]) -> Node:
        """The tree with the method's settings, validated and complete."""
        key = tuple(map(id, layers))
        if key not in self._settings:
            self._kept.extend(layers)
            self._settings[key] = self._complete_settings(layers)
        return Node({**tree.entries, "settings": self._settings[key]}, tree.mark, tree.path)

    def _complete_settings(self, layers: Sequence[Node]) -> Node:
        """Shared settings apply where the method, as its own settings make it, has them; its own win over them."""
        own = [found for layer in [*self.own, *layers] if layer and (found := layer.entries.get("settings"))]
        shape = self._validated(self._over(self.default_settings, own))
        shared = [prune(found, shape) for layer in self.shared if layer and (found := layer.entries.get("settings"))]
        return self._validated(self._over(shape, [*shared, *own])) if shared else shape

    def _over(self, base: Node, layers: Sequence[Node]) -> Node:
        for layer in layers:
            base = merge(base, layer)
        return base

    def _validated(self, settings: Node) -> Node:
        """The settings with every default of the model written out; what the user wrote keeps its mark."""
        try:
            model = self.entry.settings.model_validate_json(json.dumps(plain(settings)), strict=True)
        except ValidationError as error:
            raise SuiteError(problems_of(error, self.entry.settings, settings, self.row)) from error
        return _written_out(json.loads(model.model_dump_json()), settings)

    def cell(self, tree: Node, fingerprint: str | None) -> tuple[Cell | None, list[Problem]]:
        """The tree as a cell without what the method does not use, or why it is none."""
        problems = []
        for name in ("views", "backbone", "augmentation", "optimiser", "schedule", "epochs", "batch_size"):
            value = tree.entries[name]
            if value.value is None and name not in self.entry.unused:
                place = value if value.mark.line else self.row
                message = f"`{name}` is not set, but `{self.entry.name}` on `{self.dataset}` needs it; write it in `defaults`"
                problems.append(problem(place, message))
        if problems:
            return None, problems
        dataset = merge(tree.entries["dataset"], marked({"fingerprint": fingerprint}))
        unused = dict.fromkeys(self.entry.unused, Node(None))
        named = {"method": Node(self.entry.name), "dataset": dataset}
        return validate(Cell, Node({**tree.entries, **unused, **named}, tree.mark), self.row)


def _written_out(value: object, node: Node) -> Node:
    """Validated values, with the marks of the node that they were validated from."""
    if isinstance(value, dict):
        entries = {key: _written_out(entry, node.entries.get(key, Node(None))) for key, entry in value.items()}
        return Node(entries, node.mark, node.path)
    if isinstance(value, list):
        return Node([_written_out(item, node.items[i] if i < len(node.items) else Node(None)) for i, item in enumerate(value)],
                    node.mark, node.path)  # fmt: skip
    return Node(value, node.mark, node.path)  # type: ignore[arg-type]
