"""One labelled method on one dataset: the layers of a suite become a row's fields, every default written out.

Owns the order of precedence: built-in defaults, the dataset's own, the suite's defaults, the dataset's row, the
method's row, the method's row for the dataset, axes, the suite's overrides, the command line. Crosses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from harness.spec.models import Augmentation, Optimiser, Schedule
from harness.suite.assemble import fields_without_use, question_name
from harness.suite.axes import QUESTIONS, Ambiguous, Path, locate, names_in
from harness.suite.facts import DatasetLike, MethodLike, ProbeLike
from harness.suite.fields import suggestion
from harness.suite.nodes import Mark, Node, Problem, SuiteError, marked, merge, nested, other_kind, plain, problem
from harness.suite.problems import validate
from harness.suite.row import NEEDED_TRAINING_FIELDS, BackboneFields, EvaluationFields, MonitorFields, RowFields
from harness.suite.suite import Suite

NOT_A_CELL = ("method", "datasets", "axes")  # keys of a method's row that are not fields of a cell
CURVE_NAMES = ("loss", "lr", "h", "v")
"""What is on a training's curve begins so: the loss and its terms, the diagnostics of features h and embeddings v."""
_NOTHING = Node({})


def _built_in() -> Node:
    specs = {
        "backbone": BackboneFields(),
        "augmentation": Augmentation(),
        "optimiser": Optimiser(),
        "schedule": Schedule(),
    }
    parts = {name: spec.model_dump(mode="json") for name, spec in specs.items()}
    single = {
        "views": 2,
        "more_views": [],
        "weight_decay_schedule": None,
        "clip": None,
        "epochs": None,
        "batch_size": None,
        "precision": "float32",
        "seed": 0,
        "split": "test",
        "evaluations": {"linear": {"probe": "linear"}, "knn5": {"probe": "knn", "k": 5}},
        "monitors": {},
    }
    return marked({**parts, **single, "dataset": {}, "settings": {}})


BUILT_IN_CELL = _built_in()


def of_dataset(info: DatasetLike) -> Node:
    """The fields of a cell that the dataset's own protocol gives."""
    values = {
        "name": info.name,
        "image_size": info.image_size,
        "channels": info.channels,
        "mean": list(info.mean),
        "std": list(info.std),
        "eval_resize": info.eval_resize,
        "train_images": None,
        "validation_fraction": 0.0,
    }
    return marked({"dataset": values})


def prune(top: Node, base: Node, switch_on: bool = False) -> Node:
    """Of settings meant for several methods, those that this one has.

    What is said of a part (a mapping) applies where the method has that part, and of that `kind`. With `switch_on` it
    also replaces a part of another kind, or one that is off (null).
    """
    kept = {}
    for key, value in top.entries.items():
        below = base.entries.get(key)
        if below is None:
            continue
        if not isinstance(value.value, dict):
            kept[key] = value
        elif not isinstance(below.value, dict) or other_kind(below, value):
            kept |= {key: value} if switch_on else {}
        elif (inner := prune(value, below, switch_on)).value:
            kept[key] = inner
    return Node(kept, top.mark, top.path)


class Pairing:
    """One labelled method on one labelled dataset, before axes. Raises SuiteError where its settings are not valid.

    `tree` is the cell's tree without any axis; `last` holds the layers that win over every axis.
    """

    def __init__(
        self,
        suite: Suite,
        label: str,
        entry: MethodLike,
        dataset: str,
        info: DatasetLike,
        probes: Mapping[str, ProbeLike],
    ) -> None:
        self.suite, self.label, self.entry, self.dataset, self.info = suite, label, entry, dataset, info
        self.probes = probes
        self.without_use = fields_without_use(entry)
        self.row = suite.root.find(["methods", label]) or _NOTHING
        shared = [suite.root.find(["defaults"]), suite.root.find(["datasets", dataset])]
        own = [self.row.without(*NOT_A_CELL), self.row.find(["datasets", dataset])]
        self._default_settings = marked(json.loads(entry.settings().model_dump_json()))
        self._shared = [found for layer in shared if layer and (found := layer.entries.get("settings"))]
        self._own = [found for layer in own if layer and (found := layer.entries.get("settings"))]
        self._settings: dict[tuple[int, ...], tuple[Sequence[Node], Node]] = {}
        self._questions: dict[int, tuple[Node, Node]] = {}
        self._base = merge(BUILT_IN_CELL, of_dataset(info))
        for layer in [*shared, *own]:
            self._base = merge(self._base, layer.without("settings")) if layer is not None else self._base
        self.last: tuple[Node, ...] = ()
        self.tree = self.resolved(())
        if (overrides := suite.root.find(["overrides"])) is not None:
            self.last = (self.for_this(overrides),)
            self.tree = self.resolved(())
        self.last = (*self.last, *self._command_line())
        self.tree = self.resolved(())

    def _command_line(self) -> list[Node]:
        found = []
        for name, value in self.suite.fixed:
            path = self.place(name, value) if name != "seeds" else None
            if path is not None:
                found.append(nested(path, value))
        return found

    def place(self, name: str, written: Node) -> Path | None:
        """Where a field stands in this method's cells; None if they have none. SuiteError if it is ambiguous."""
        try:
            path = locate(name, self.tree)
        except Ambiguous as error:
            raise SuiteError([problem(written, str(error))]) from error
        return path if path is not None and path[0] not in self.without_use else None

    def names(self) -> list[str]:
        """Every name of a field that this method's cells have."""
        return [name for name in names_in(self.tree) if self._has(name)]

    def _has(self, name: str) -> bool:
        try:
            path = locate(name, self.tree)
        except Ambiguous:
            return True
        return path is not None and path[0] not in self.without_use

    def for_this(self, overrides: Node, switch_on: bool = False) -> Node:
        """Overrides meant for several methods, without the settings that this one does not have and unused fields."""
        kept = overrides.without(*self.without_use)
        settings = overrides.entries.get("settings")
        if settings is None:
            return kept
        mine = prune(settings, self.tree.entries["settings"], switch_on)
        kept = kept.without("settings")
        return Node({**kept.entries, "settings": mine}, kept.mark, kept.path) if mine.value else kept

    def resolved(self, axes: Sequence[Node]) -> Node:
        """The cell's tree with the axes' layers, and what wins over them."""
        tree = self._base
        layers = [*axes, *self.last]
        for layer in layers:
            tree = merge(tree, layer.without("settings"))
        settings = [found for layer in layers if (found := layer.entries.get("settings"))]
        key = tuple(map(id, settings))
        if key not in self._settings:  # the layers are kept with the answer, so that no id is ever used again
            self._settings[key] = settings, self._complete_settings(settings)
        complete = {"settings": self._settings[key][1], "more_views": _complete_groups(tree)}
        for name, model in (("evaluations", EvaluationFields), ("monitors", MonitorFields)):
            complete[name] = self._complete_questions(tree.entries[name], model)
        return Node({**tree.entries, **complete}, tree.mark, tree.path)

    def _complete_questions(self, asked: Node, model: type[EvaluationFields]) -> Node:
        """Evaluations or monitors with every default of their probes written out, without those taken out by null."""
        if id(asked) not in self._questions:  # the node is kept with the answer, so that no id is ever used again
            complete, problems = {}, []
            for label, node in asked.entries.items():
                if node.value is None:
                    continue
                question, wrong = self._complete_question(node, model)
                problems += wrong
                if question is not None:
                    complete[label] = question
            if problems:
                raise SuiteError(problems)
            self._questions[id(asked)] = asked, Node(complete, asked.mark, asked.path)
        return self._questions[id(asked)][1]

    def _complete_question(self, node: Node, model: type[EvaluationFields]) -> tuple[Node | None, list[Problem]]:
        said, problems = validate(model, node, self.row)
        if said is None:
            return None, problems
        entry = self.probes.get(said.probe)
        if entry is None:
            at = node.entries.get("probe", node)
            return None, [problem(at, f"there is no probe `{said.probe}`; {suggestion(said.probe, self.probes)}")]
        known = [*model.model_fields, *entry.settings.model_fields]
        strange = [(key, value) for key, value in node.entries.items() if key not in known]
        if strange:
            return None, [problem(value, f"unknown key; {_instead(key, known)}") for key, value in strange]
        settings, problems = validate(entry.settings, node.without(*model.model_fields), self.row)
        if settings is None:
            return None, problems
        written = {name: getattr(said, name) for name in model.model_fields}
        return _written_out({**written, **json.loads(settings.model_dump_json())}, node), []

    def _complete_settings(self, layers: Sequence[Node]) -> Node:
        """Shared settings apply where the method, as its own settings make it, has them; its own win over them."""
        own = _NOTHING
        for layer in [*self._own, *layers]:
            own = merge(own, layer)
        settings = merge(self._default_settings, own)
        if not self._shared:
            return self._validated(settings)
        with suppress(SuiteError):  # perhaps valid only with what is shared; else found below
            settings = self._validated(settings)
        for layer in self._shared:
            settings = merge(settings, prune(layer, settings))
        return self._validated(merge(settings, own))

    def _validated(self, settings: Node) -> Node:
        """The settings with every default of the model written out; what the user wrote keeps its mark."""
        model, problems = validate(self.entry.settings, settings, self.row)
        if model is None:
            raise SuiteError(problems)
        return _written_out(json.loads(model.model_dump_json()), settings)

    def fields(self, tree: Node) -> tuple[RowFields | None, list[Problem]]:
        """The tree as a row's fields without what the method has no use for, or why it is none."""
        problems = []
        for name in ("backbone", *NEEDED_TRAINING_FIELDS):
            value = tree.entries[name]
            if value.value is None and name not in self.without_use:
                place = value if value.mark.line else self.row
                message = (
                    f"`{name}` is not set, but `{self.entry.name}` on `{self.dataset}` needs it; write it in `defaults`"
                )
                problems.append(problem(place, message))
        problems += [found for part in QUESTIONS for found in _same_names(tree.entries[part])]
        problems += _names_of_the_curve(tree.entries["monitors"])
        if problems:
            return None, problems
        nothing = {name: Node({} if name == "monitors" else None) for name in self.without_use}
        whole = Node({**tree.entries, **nothing, "method": Node(self.entry.name)}, self.row.mark, self.row.path)
        return validate(RowFields, whole, self.row)


def _complete_groups(tree: Node) -> Node:
    """Further groups of views, each with the row's augmentation where it does not say another."""
    said, shared = tree.entries["more_views"], tree.entries["augmentation"]
    groups = [
        Node({**group.entries, "augmentation": merge(shared, group.entries.get("augmentation", _NOTHING))}, *_at(group))
        if isinstance(group.value, dict)
        else group
        for group in said.items
    ]
    return Node(groups, *_at(said)) if groups else said


def _at(node: Node) -> tuple[Mark, str]:
    return node.mark, node.path


def _instead(key: str, known: Sequence[str]) -> str:
    if key in MonitorFields.model_fields:
        return f"an evaluation is asked at the end; for a curve write it under `monitors`, with `{key}`"
    return suggestion(key, known, "valid keys")


def _same_names(asked: Node) -> list[Problem]:
    """Different questions of one name: `knn5` whose k was set to 20, beside a `knn20`."""
    found: dict[str, tuple[str, Node]] = {}
    problems = []
    for label, node in asked.entries.items():
        name = question_name(label, {"k": node.entries.get("k", Node(None)).value})
        other, first = found.setdefault(name, (label, node))
        if other != label and plain(first) != plain(node):
            message = f"`{label}` and `{other}` would both be called `{name}`; give one of them another name"
            problems.append(problem(node, message))
    return problems


def _names_of_the_curve(monitors: Node) -> list[Problem]:
    """Monitors whose readings could not be told from what is on every curve."""
    return [
        problem(node, f"a monitor cannot be called `{label}`: the curve has `{label}_...` of its own; rename it")
        for label, node in monitors.entries.items()
        if label in CURVE_NAMES and node.value is not None
    ]


def _written_out(value: object, node: Node) -> Node:
    """Validated values, with the marks of the node that they were validated from."""
    if isinstance(value, dict):
        entries = {key: _written_out(entry, node.entries.get(key, Node(None))) for key, entry in value.items()}
        return Node(entries, node.mark, node.path)
    if isinstance(value, list):
        below = [*node.items, *[Node(None)] * len(value)]
        return Node([_written_out(item, at) for item, at in zip(value, below, strict=False)], node.mark, node.path)
    return Node(value, node.mark, node.path)  # type: ignore[arg-type]
