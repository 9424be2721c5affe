"""A suite's `sweep` section becomes rows with their spaces. Mistakes are reported at their line.

Names of settings are those of axes and of `--set`; a setting that a method does not have is dropped for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

from harness.suite.assemble import fields_without_use
from harness.suite.axes import Ambiguous, Path, locate, names_in
from harness.suite.facts import Catalogue, Facts, MethodLike
from harness.suite.fields import suggestion
from harness.suite.nodes import Node, Problem, SuiteError, marked, plain, problem
from harness.suite.planned import Expansion, Placed
from harness.suite.search import SettingSpace, SweepSpec
from harness.suite.suite import Suite
from harness.sweep.rows import SweepRow, fields_of_trials, first_error, pruning_monitor, with_values
from harness.sweep.space import Condition, Setting, Space, feasible_points

MEASUREMENT = ("seed", "split", "evaluations", "monitors", "dataset")  # fields that say what is measured, on what
CONDITIONS = ("divides", "above", "below")
_NOTHING = Node({})


def sweep_rows(suite: Suite, expansion: Expansion, catalogue: Catalogue, facts: Facts) -> list[SweepRow]:
    """Every row of a suite on every dataset, in the suite's order; those without anything to tune have an empty space.

    Raises:
        SuiteError: the suite has no sweep, its space is empty or contradicts itself, or it names what does not exist.
    """
    spec = suite.content.sweep
    if spec is None:
        hint = "write a section `sweep: {space: {optimiser.lr: {low: 1e-4, high: 1e-1, log: true}}}`"
        raise SuiteError([problem(suite.root, f"there is nothing to sweep; {hint}")])
    resolver = _Resolver(suite, spec, catalogue, facts)
    rows = [resolver.row(placed) for placed in _first_cells(suite, expansion)]
    problems = [*resolver.problems, *resolver.unknown_names(rows)]
    if not problems and not any(row.tuned for row in rows):
        message = "the space is empty: name at least one setting with two values, such as optimiser.lr"
        problems.append(problem(resolver.root.entries.get("space", resolver.root), message))
    if problems:
        raise SuiteError(problems)
    return rows


def _first_cells(suite: Suite, expansion: Expansion) -> Iterable[Placed]:
    """One cell of each row on each dataset. A cell that cannot run as it is may be one that the space makes run."""
    rules = suite.content.skip
    skipped = [s for s in expansion.skipped if not any(s.matches(rule.model_extra or {}) for rule in rules)]
    firsts: dict[tuple[str, str], Placed] = {}
    for placed in [*expansion.planned, *skipped]:
        firsts.setdefault((placed.row, placed.dataset), placed)
    order = list(suite.root.entries.get("methods", _NOTHING).entries)
    return sorted(firsts.values(), key=lambda placed: order.index(placed.label))


class _Resolver:
    """Holds what rows have in common, and the problems so far."""

    def __init__(self, suite: Suite, spec: SweepSpec, catalogue: Catalogue, facts: Facts) -> None:
        self.suite, self.spec = suite, spec
        self.catalogue, self.facts = catalogue, facts
        self.root = suite.root.entries["sweep"]
        self.problems: list[Problem] = []
        self.used: set[str] = set()  # names of settings and of fields in conditions that some row has
        self.trees: list[Node] = []

    def row(self, placed: Placed) -> SweepRow:
        """One row, with what its method's entries change."""
        entry = self.catalogue.methods[placed.fields.method]
        tree = marked(placed.fields.model_dump(mode="json", exclude={"method"}))
        self.trees.append(tree)
        spaces, prune, reason = self.spaces(placed)
        settings: list[Setting] = []
        conditions: list[Condition] = []
        for name, (space, node) in spaces.items():
            path = self.place(name, node, tree, entry)
            if path is None:
                continue
            self.used.add(name)
            wrong = [*self.objections(name, space, path, placed, tree, entry)]
            self.problems += [problem(node, message) for message in wrong]
            if not wrong:
                settings.append(_setting(name, space, path, tree))
                conditions += self.conditions(name, space, node, tree, entry)
        unlimited = Space(tuple(settings), ())
        row = SweepRow(placed, self.catalogue, self.facts, unlimited, prune, reason, self.spec.seed, self.spec.metric)
        row = replace(row, space=self.feasible(row, conditions, tree))
        self.problems += self.without_measure(row) if row.tuned else ()
        return row

    def spaces(self, placed: Placed) -> tuple[Mapping[str, tuple[SettingSpace, Node]], bool, str | None]:
        """Where to look for each setting of the row, with its node; whether the row is pruned, and why not."""
        nodes = self.root.entries.get("space", _NOTHING).entries
        spaces = {name: (space, nodes[name]) for name, space in self.spec.space.items() if space}
        prune, reason = True, None
        for key in dict.fromkeys((placed.cell.method, placed.label, placed.row)):
            if key not in self.spec.methods:
                continue
            own = self.spec.methods[key]
            if own is None:
                return {}, prune, reason
            nodes = (self.root.find(["methods", key, "space"]) or _NOTHING).entries
            for name, space in own.space.items():
                if space is None:
                    spaces.pop(name, None)
                    self.used.add(name)
                else:
                    spaces[name] = space, nodes[name]
            if not own.prune or own.reason:
                prune, reason = own.prune, own.reason or reason
        return spaces, prune, reason

    def place(self, name: str, node: Node, tree: Node, entry: MethodLike) -> Path | None:
        """Where the row's cells have the field; None where they do not."""
        try:
            path = locate(name, tree)
        except Ambiguous as error:
            self.problems.append(problem(node, str(error)))
            self.used.add(name)
            return None
        return path if path is not None and path[0] not in fields_without_use(entry) else None

    def objections(
        self, name: str, space: SettingSpace, path: Path, placed: Placed, tree: Node, entry: MethodLike
    ) -> Iterator[str]:
        """Why the field, or a written value of it, must not be searched."""
        if path[0] in MEASUREMENT:
            yield f"`{'.'.join(path)}` says what is measured, and is not tuned"
        elif any(_located(axis, tree) == path for axis in placed.axes):
            yield f"`{name}` is an axis of `{placed.label}` too: take it out of one of them"
        elif any(_located(fixed, tree) == path for fixed, _ in self.suite.fixed):
            yield f"`{name}` is searched, so --set cannot fix it: leave it out, or take it out of the space"
        else:
            for value in [space.low, space.high] if space.choices is None else space.choices:
                try:
                    with_values(fields_of_trials(placed.fields, self.spec.seed), entry, {path: value})
                except ValidationError as error:
                    steps = [str(step) for step in error.errors()[0]["loc"]]
                    if path[-1] in steps:  # else: refused together with others, which the space may change too
                        yield f"{value}: {first_error(error)}"
            if space.choices is None and self.spec.sampler == "grid" and space.points is None:
                yield "a grid needs `points`, the number of values of this range: 5, say"

    def conditions(
        self, name: str, space: SettingSpace, node: Node, tree: Node, entry: MethodLike
    ) -> Iterable[Condition]:
        """What the setting's choices depend on, checked for names."""
        for kind in CONDITIONS:
            other = getattr(space, kind)
            if other is None:
                continue
            at = node.entries.get(kind, node)
            if self.place(other, at, tree, entry) is None:
                self.problems.append(problem(at, f"`{name}` cannot depend on `{other}`; {_hint(other, tree)}"))
            else:
                yield Condition(kind, name, other)

    def feasible(self, row: SweepRow, conditions: Sequence[Condition], tree: Node) -> Space:
        """The row's space without points that cannot be run."""
        by_path = {setting.path: setting for setting in row.space.settings}
        resolved = []
        for condition in conditions:
            path = locate(condition.other, tree)
            searched = by_path.get(path) if path else None
            if searched and searched.choices is None:
                node = self.root.find(["space", condition.setting]) or self.root
                message = f"`{condition.other}` is searched over a range, on which choices cannot depend: list choices"
                self.problems.append(problem(node, message))
            resolved.append(replace(condition, other=searched.name if searched else condition.other))

        def field(name: str) -> Any:
            path = locate(name, tree)
            node = tree.find(path) if path else None
            return plain(node) if node else None

        if self.problems:
            return Space((), ())
        space, reasons = feasible_points(row.space.settings, resolved, field, row.refusal)
        if not space.combinations:
            why = f"{row.title}: no point of the space is possible: {'; '.join(reasons[:3])}"
            self.problems.append(problem(self.root.entries.get("space", self.root), why))
        return space

    def without_measure(self, row: SweepRow) -> Iterator[Problem]:
        """A metric that the row's trials do not have, or pruning without a curve."""
        metric = self.spec.metric
        if metric not in row.metrics:
            message = f"{row.title} is not evaluated by `{metric}`; {suggestion(metric, row.metrics)}"
            yield problem(self.root.entries.get("metric", self.root), message)
        if self.spec.pruner != "none" and row.prune and pruning_monitor(row.placed.cell) is None:
            hint = "set monitors: {knn5: {probe: knn, every_epochs: 2}}"
            message = f"pruning reads the k-NN curve, and there is none: {hint}"
            yield problem(self.root.entries["pruner"], message)

    def unknown_names(self, rows: Sequence[SweepRow]) -> Iterator[Problem]:
        """Settings that no row has, and entries of methods for which there is no row."""
        own = self.root.entries.get("methods", _NOTHING).entries
        spaces = [self.root.entries.get("space", _NOTHING), *(n.entries.get("space", _NOTHING) for n in own.values())]
        for name, node in [item for space in spaces for item in space.entries.items()]:
            if name not in self.used and node.value is not None:
                yield problem(node, f"no method in this sweep has `{name}`; {_hint(name, *self.trees)}")
        labels = dict.fromkeys(name for row in rows for name in (row.placed.label, row.placed.cell.method, row.name))
        for label, node in own.items():
            if label not in labels:
                yield problem(node, f"there is no row `{label}`; {suggestion(label, labels)}")


def _setting(name: str, space: SettingSpace, path: Path, tree: Node) -> Setting:
    if space.choices is not None:
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in space.choices)
        return Setting(name, path, CategoricalDistribution(sorted(space.choices) if numbers else space.choices))
    assert space.low is not None
    assert space.high is not None
    now = tree.find(path)
    if now is not None and isinstance(now.value, int):
        return Setting(name, path, IntDistribution(int(space.low), int(space.high), log=space.log), space.points)
    return Setting(name, path, FloatDistribution(space.low, space.high, log=space.log), space.points)


def _hint(name: str, *trees: Node) -> str:
    return suggestion(name, dict.fromkeys(known for tree in trees for known in names_in(tree)))


def _located(name: str, tree: Node) -> Path | None:
    """Where a name stands; None where it is a label, or stands for several fields."""
    try:
        return locate(name, tree)
    except Ambiguous:
        return None
