"""A suite's `sweep` section becomes rows with their spaces. Owns its checks: whatever is wrong is found at its line.

Names of settings are those of axes and of `--set`; a setting that a method does not have is dropped for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from harness.suite.assemble import fields_without_use
from harness.suite.axes import Ambiguous, Path, locate, names_in
from harness.suite.facts import Catalogue, Facts, MethodLike
from harness.suite.fields import suggestion
from harness.suite.nodes import Node, Problem, SuiteError, marked, plain, problem
from harness.suite.planned import Expansion, Placed
from harness.suite.search import MethodSweep, SettingSpace, SweepSpec
from harness.suite.suite import Suite
from harness.sweep.checks import check_measure, check_names, check_tuned
from harness.sweep.possible import Condition, possible
from harness.sweep.rows import Row, fields_of_trials, first_error, with_values
from harness.sweep.space import Options, Range, Setting, Space

MEASURE = ("seed", "split", "evaluations", "monitors", "dataset")  # what is measured, and on what: nothing to be tuned
CONDITIONS = ("divides", "above", "below")
_NOTHING = Node({})


def sweep_rows(suite: Suite, expansion: Expansion, catalogue: Catalogue, facts: Facts) -> list[Row]:
    """Every row of a suite on every dataset, in the suite's order; those without anything to tune have an empty space.

    Raises:
        SuiteError: the suite has no sweep, its space is empty or contradicts itself, or it names what there is not.
    """
    spec = suite.content.sweep
    if spec is None:
        hint = "write a section `sweep: {space: {optimiser.lr: {low: 1e-4, high: 1e-1, log: true}}}`"
        raise SuiteError([problem(suite.root, f"there is nothing to sweep; {hint}")])
    resolver = _Resolver(suite, spec, catalogue, facts)
    rows = [resolver.row(placed) for placed in _first_cells(suite, expansion)]
    resolver.problems += check_names(resolver.root, resolver.used, resolver.trees, rows)
    resolver.problems += [] if resolver.problems else check_tuned(resolver.root, rows)
    if resolver.problems:
        raise SuiteError(resolver.problems)
    return rows


def _first_cells(suite: Suite, expansion: Expansion) -> Iterable[Placed]:
    """One cell of each row on each dataset. A cell that cannot run as it is may be one that the space makes run."""
    rules = suite.content.skip
    left = [s for s in expansion.skipped if not any(s.matches(rule.model_extra or {}) for rule in rules)]
    found: dict[tuple[str, str], Placed] = {}
    for placed in [*expansion.planned, *left]:
        found.setdefault((placed.row, placed.dataset), placed)
    order = list(suite.root.entries.get("methods", _NOTHING).entries)
    return sorted(found.values(), key=lambda placed: order.index(placed.label))


class _Resolver:
    """Holds what rows have in common, and the problems found."""

    def __init__(self, suite: Suite, spec: SweepSpec, catalogue: Catalogue, facts: Facts) -> None:
        self.suite, self.spec = suite, spec
        self.catalogue, self.facts = catalogue, facts
        self.root = suite.root.entries["sweep"]
        self.problems: list[Problem] = []
        self.used: set[str] = set()  # names of settings and of fields in conditions that some row has
        self.trees: list[Node] = []

    def row(self, placed: Placed) -> Row:
        """One row, with what its method's entries change."""
        entry = self.catalogue.methods[placed.fields.method]
        tree = marked(placed.fields.model_dump(mode="json", exclude={"method"}))
        self.trees.append(tree)
        wanted, prune, reason = self.wanted(placed)
        settings: list[Setting] = []
        conditions: list[Condition] = []
        for name, (where, node) in wanted.items():
            path = self.place(name, node, tree, entry)
            if path is None:
                continue
            self.used.add(name)
            if not self.refused(name, path, node, placed, tree):
                settings.append(Setting(name, path, self.domain(where, path, node, placed, entry)))
                conditions += self.conditions(name, where, node, tree, entry)
        unlimited = Space(tuple(settings), ())
        row = Row(placed, self.catalogue, self.facts, unlimited, prune, reason, self.spec.seed, self.spec.metric)
        row = replace(row, space=self.possible(row, conditions, tree))
        if row.tuned:
            self.problems += check_measure(self.spec, self.root, row)
        return row

    def wanted(self, placed: Placed) -> tuple[dict[str, tuple[SettingSpace, Node]], bool, str | None]:
        """Settings of the row with their nodes, whether it is pruned, and why not."""
        nodes = self.root.entries.get("space", _NOTHING).entries
        found = {name: (space, nodes[name]) for name, space in self.spec.space.items() if space}
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
                    found.pop(name, None)
                    self.used.add(name)
                else:
                    found[name] = space, nodes[name]
            prune, reason = _pruning(own, prune, reason)
        return found, prune, reason

    def place(self, name: str, node: Node, tree: Node, entry: MethodLike) -> Path | None:
        """Where the row's cells have the field; None where they do not."""
        try:
            path = locate(name, tree)
        except Ambiguous as error:
            self.problems.append(problem(node, str(error)))
            self.used.add(name)
            return None
        return path if path is not None and path[0] not in fields_without_use(entry) else None

    def refused(self, name: str, path: Path, node: Node, placed: Placed, tree: Node) -> bool:
        """Whether the field must not be searched."""
        message = None
        if path[0] in MEASURE:
            message = f"`{'.'.join(path)}` says what is measured, and is not tuned"
        elif any(_located(axis, tree) == path for axis in placed.axes):
            message = f"`{name}` is an axis of `{placed.label}` too: take it out of one of them"
        elif any(_located(fixed, tree) == path for fixed, _ in self.suite.fixed):
            message = f"`{name}` is searched, so --set cannot fix it: leave it out, or take it out of the space"
        if message:
            self.problems.append(problem(node, message))
        return message is not None

    def domain(self, space: SettingSpace, path: Path, node: Node, placed: Placed, entry: MethodLike) -> Range | Options:
        """Where to look, with every written value checked against the field."""
        now = marked(placed.fields.model_dump(mode="json")).find(path)
        values = [space.low, space.high] if space.choices is None else list(space.choices)
        for value in values:
            try:
                with_values(fields_of_trials(placed.fields, self.spec.seed), entry, {path: value})
            except ValidationError as error:
                steps = [str(step) for step in error.errors()[0]["loc"]]
                if path[-1] in steps:  # else: refused together with others, which the space may change too
                    self.problems.append(problem(node, f"{value}: {first_error(error)}"))
        if space.choices is not None:
            numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in space.choices)
            return Options(tuple(sorted(space.choices)) if numbers else space.choices)
        assert space.low is not None
        assert space.high is not None
        whole = isinstance(plain(now), int) if now is not None and now.value is not None else False
        if self.spec.sampler == "grid" and space.points is None:
            self.problems.append(problem(node, "a grid needs `points`, the number of values of this range: 5, say"))
        return Range(space.low, space.high, space.log, whole, space.points)

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
                known = names_in(tree)
                self.problems.append(problem(at, f"`{name}` cannot depend on `{other}`; {suggestion(other, known)}"))
            else:
                yield Condition(kind, name, other)

    def possible(self, row: Row, conditions: Sequence[Condition], tree: Node) -> Space:
        """The row's space without points that cannot be."""
        by_path = {setting.path: setting for setting in row.space.settings}
        resolved = []
        for condition in conditions:
            path = locate(condition.other, tree)
            searched = by_path.get(path) if path else None
            if searched and isinstance(searched.domain, Range):
                node = self.root.find(["space", condition.setting]) or self.root
                message = f"`{condition.other}` is searched over a range, on which choices cannot depend: list choices"
                self.problems.append(problem(node, message))
            resolved.append(
                Condition(condition.kind, condition.setting, searched.name if searched else condition.other)
            )

        def field(name: str) -> Any:
            path = locate(name, tree)
            node = tree.find(path) if path else None
            return plain(node) if node else None

        if self.problems:
            return Space((), ())
        space, reasons = possible(row.space.settings, resolved, field, row.refusal)
        if not space.combinations:
            why = f"{row.title}: no point of the space is possible: {'; '.join(reasons[:3])}"
            self.problems.append(problem(self.root.entries.get("space", self.root), why))
        return space


def _pruning(own: MethodSweep, prune: bool, reason: str | None) -> tuple[bool, str | None]:
    """What a method's entry says of pruning, or what was said before."""
    return (own.prune, own.reason or reason) if not own.prune or own.reason else (prune, reason)


def _located(name: str, tree: Node) -> Path | None:
    """Where a name stands; None where it is a label, or stands for several fields."""
    try:
        return locate(name, tree)
    except Ambiguous:
        return None
