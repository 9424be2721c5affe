"""One labelled method on one dataset: the layers of a suite become a row's fields, every default written out.

Owns the order of precedence: built-in defaults, the dataset's own, the suite's defaults, the dataset's row, the
method's row, the method's row for the dataset, axes, the suite's overrides, the command line. Crosses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from harness.suite.assemble import fields_without_use
from harness.suite.axes import Ambiguous, Path, locate, names_in
from harness.suite.defaults import BUILT_IN_CELL, dataset_defaults
from harness.suite.facts import DatasetLike, MethodLike, ProbeLike
from harness.suite.nodes import Node, Problem, SuiteError, marked, merge, nested, other_kind, problem, with_marks_of
from harness.suite.problems import validate
from harness.suite.questions import check_question_names, complete_question
from harness.suite.row import NEEDED_TRAINING_FIELDS, EvaluationFields, MonitorFields, RowFields
from harness.suite.suite import Suite

NOT_A_CELL = ("method", "datasets", "axes")  # keys of a method's row that are not fields of a cell
_NOTHING = Node({})


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
        self._shared = _settings_of(shared)
        self._own = _settings_of(own)
        self._settings: dict[tuple[int, ...], tuple[Sequence[Node], Node]] = {}
        self._questions: dict[int, tuple[Node, Node]] = {}
        self._base = merge(BUILT_IN_CELL, dataset_defaults(info))
        for layer in [*shared, *own]:
            self._base = merge(self._base, layer.without("settings")) if layer is not None else self._base
        self.last: tuple[Node, ...] = ()
        self.tree = self.resolved(())
        if (overrides := suite.root.find(["overrides"])) is not None:
            self.last = (self.applicable(overrides),)
            self.tree = self.resolved(())
        self.last = (*self.last, *self._command_line())
        self.tree = self.resolved(())

    def _command_line(self) -> list[Node]:
        layers = []
        for name, value in self.suite.fixed:
            path = self.place(name, value) if name != "seeds" else None
            if path is not None:
                layers.append(nested(path, value))
        return layers

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

    def applicable(self, overrides: Node, replace_parts: bool = False) -> Node:
        """Overrides meant for several methods, without the settings that this one does not have and unused fields."""
        used = overrides.without(*self.without_use)
        settings = overrides.entries.get("settings")
        if settings is None:
            return used
        own = applicable_settings(settings, self.tree.entries["settings"], replace_parts)
        used = used.without("settings")
        return Node({**used.entries, "settings": own}, used.mark, used.path) if own.value else used

    def resolved(self, axes: Sequence[Node]) -> Node:
        """The cell's tree with the axes' layers, and what wins over them."""
        tree = self._base
        layers = [*axes, *self.last]
        for layer in layers:
            tree = merge(tree, layer.without("settings"))
        settings = _settings_of(layers)
        key = tuple(map(id, settings))
        if key not in self._settings:  # the layers are stored with the answer, so that no id is ever used again
            self._settings[key] = settings, self._complete_settings(settings)
        complete = {"settings": self._settings[key][1], "more_views": _complete_groups(tree)}
        for name, model in (("evaluations", EvaluationFields), ("monitors", MonitorFields)):
            complete[name] = self._complete_questions(tree.entries[name], model)
        return Node({**tree.entries, **complete}, tree.mark, tree.path)

    def _complete_questions(self, questions: Node, model: type[EvaluationFields]) -> Node:
        """Evaluations or monitors with every default of their probes written out, without those taken out by null."""
        if id(questions) not in self._questions:  # the node is stored with the answer, so that no id is ever used again
            complete, problems = {}, []
            for label, node in questions.entries.items():
                if node.value is None:
                    continue
                question, wrong = complete_question(node, model, self.probes, self.row)
                problems += wrong
                if question is not None:
                    complete[label] = question
            if problems:
                raise SuiteError(problems)
            self._questions[id(questions)] = questions, Node(complete, questions.mark, questions.path)
        return self._questions[id(questions)][1]

    def _complete_settings(self, layers: Sequence[Node]) -> Node:
        """Shared settings apply where the method, as its own settings make it, has them; its own win over them."""
        own = _NOTHING
        for layer in [*self._own, *layers]:
            own = merge(own, layer)
        settings = merge(self._default_settings, own)
        if not self._shared:
            return self._validated(settings)
        with suppress(SuiteError):  # perhaps valid only with what is shared; else reported below
            settings = self._validated(settings)
        for layer in self._shared:
            settings = merge(settings, applicable_settings(layer, settings))
        return self._validated(merge(settings, own))

    def _validated(self, settings: Node) -> Node:
        """The settings with every default of the model written out; what the user wrote keeps its mark."""
        model, problems = validate(self.entry.settings, settings, self.row)
        if model is None:
            raise SuiteError(problems)
        return with_marks_of(json.loads(model.model_dump_json()), settings)

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
        problems += check_question_names(tree)
        if problems:
            return None, problems
        nothing = {name: Node({} if name == "monitors" else None) for name in self.without_use}
        whole = Node({**tree.entries, **nothing, "method": Node(self.entry.name)}, self.row.mark, self.row.path)
        return validate(RowFields, whole, self.row)


def applicable_settings(shared: Node, own: Node, replace_parts: bool = False) -> Node:
    """Of settings meant for several methods, those that this one has.

    What a part (a mapping) says applies where the method has that part, and of that `kind`. With `replace_parts` it
    also replaces a part of another kind, or one that is off (null).
    """
    entries = {}
    for key, value in shared.entries.items():
        below = own.entries.get(key)
        if below is None:
            continue
        if not isinstance(value.value, dict):
            entries[key] = value
        elif not isinstance(below.value, dict) or other_kind(below, value):
            entries |= {key: value} if replace_parts else {}
        elif (inner := applicable_settings(value, below, replace_parts)).value:
            entries[key] = inner
    return Node(entries, shared.mark, shared.path)


def _settings_of(layers: Sequence[Node | None]) -> list[Node]:
    """What the layers say of the method's settings."""
    return [layer.entries["settings"] for layer in layers if layer and "settings" in layer.entries]


def _complete_groups(tree: Node) -> Node:
    """Further groups of views, each with the row's augmentation where it does not say another."""
    views, shared = tree.entries["more_views"], tree.entries["augmentation"]
    groups = [
        merge(Node({"augmentation": shared}), group) if isinstance(group.value, dict) else group
        for group in views.items
    ]
    return Node(groups, views.mark, views.path) if groups else views
