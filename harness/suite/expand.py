"""A suite becomes cells: axes crossed, duplicates dropped, what cannot work skipped with its reason. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from harness.data.datasets import prepare_command
from harness.spec.metric import Metric
from harness.suite.assemble import assemble, cannot_run, question_name
from harness.suite.axes import Axis, Path, layer, read_axis
from harness.suite.facts import Catalogue, Facts
from harness.suite.fields import suggestion
from harness.suite.names import (
    check_axes,
    check_backbone,
    check_claims,
    check_metrics,
    check_names,
    check_rules,
    dataset_name,
    method_name,
)
from harness.suite.nodes import Node, Problem, SuiteError, problem
from harness.suite.planned import Expansion, Placed, Planned, Skipped
from harness.suite.resolve import Pairing
from harness.suite.suite import Suite

_NOTHING = Node({})


def expand(suite: Suite, catalogue: Catalogue, facts: Facts) -> Expansion:
    """Every cell of a suite, in the order in which its methods, datasets and axes are written.

    Args:
        catalogue: the extensions that it may name.
        facts: the content of the data and weights that it names.

    Raises:
        SuiteError: with every name, value and setting that is wrong, located by file and line.
    """
    return _Expander(suite, catalogue, facts).expansion()


@dataclass(frozen=True)
class _Crossed:
    """An axis as one pairing has it: each value or label, and the layer it lays over the cell."""

    axis: Axis
    values: tuple[tuple[Any, Node], ...]


class _Expander:
    """Holds what is looked up while a suite is expanded, and the problems so far."""

    def __init__(self, suite: Suite, catalogue: Catalogue, facts: Facts) -> None:
        self.suite, self.catalogue, self.facts = suite, catalogue, facts
        self.problems: list[Problem] = []
        self.used: dict[str | None, set[str]] = {None: set()}  # axes that some cell has: global, and by method label
        self.fixed: set[str] = set()  # names set on the command line that some cell has
        self.axes = self.read_axes(suite.root)
        seeds = [read_axis(name, node) for name, node in suite.fixed if name == "seeds"]
        self.problems += [wrong for _, problems in seeds for wrong in problems]
        self.seeds = next((axis for axis, _ in reversed(seeds) if axis), None)

    def read_axes(self, row: Node) -> list[Axis]:
        axes = []
        for name, node in row.entries.get("axes", _NOTHING).entries.items():
            axis, problems = read_axis(name, node)
            self.problems += problems
            axes += [axis] if axis else []
        return axes

    def expansion(self) -> Expansion:
        self.problems += check_names(self.suite, self.catalogue)
        placed: list[Placed] = []
        pairings: list[Pairing] = []
        own_axes: list[str] = []
        for label, row in self.suite.root.entries.get("methods", _NOTHING).entries.items():
            axes = self.read_axes(row)
            own_axes += [axis.name for axis in axes]
            of_method = list(self.pairings(label, row))
            for pairing in of_method:
                placed += self.cells(pairing, axes)
            self.problems += check_axes(axes, self.used.get(label, ()), of_method)
            pairings += of_method
        self.problems += check_axes(self.axes, self.used[None], pairings)
        self.check_command_line(pairings)
        names = [*(axis.name for axis in self.axes), *own_axes]
        known = [] if self.problems else placed
        self.problems += check_rules(self.suite, names, pairings, known)
        metrics = self.metrics(known)
        self.problems += check_claims(self.suite, self.catalogue.datasets, known, metrics)
        self.problems += check_metrics(self.suite, metrics) if known else []
        if self.problems:
            raise SuiteError(self.problems)
        return self.collected(placed, metrics)

    def metrics(self, placed: Sequence[Placed]) -> dict[str, Metric]:
        """Every metric that a cell has; the first of each evaluation before all others."""
        first: dict[str, Metric] = {}
        others: dict[str, Metric] = {}
        for one in placed:
            for label, question in one.cell.evaluations.items():
                probe = self.catalogue.probes[question.probe]
                classes = self.facts.dataset(question.train.name).classes
                measured = probe.all_metrics(probe.settings.model_validate(question.settings), classes)
                for number, metric in enumerate(measured):
                    (others if number else first).setdefault(f"{label}_{metric.name}", metric)
        return {**first, **others}

    def pairings(self, label: str, row: Node) -> Iterator[Pairing]:
        """The method on each dataset; those whose settings are not valid become problems."""
        entry = self.catalogue.methods.get(str(method_name(label, row).value))
        for dataset, dataset_row in self.suite.root.entries.get("datasets", _NOTHING).entries.items():
            info = self.catalogue.datasets.get(str(dataset_name(dataset, dataset_row).value))
            if entry is None or info is None:
                continue
            try:
                yield Pairing(self.suite, label, entry, dataset, info, self.catalogue.probes)
            except SuiteError as error:
                self.problems += error.problems

    def cells(self, pairing: Pairing, own: Sequence[Axis]) -> Iterator[Placed]:
        """The pairing crossed with its axes."""
        self.fixed |= {name for name, node in self.suite.fixed if name == "seeds" or pairing.place(name, node)}
        crossed = self.crossed(pairing, own)
        for combination in product(*(axis.values for axis in crossed)):
            try:
                tree = pairing.resolved([node for _, node in combination])
            except SuiteError as error:
                self.problems += error.problems
                continue
            fields, problems = pairing.fields(tree)
            problems += [*self.unknown_datasets(tree), *check_backbone(tree, self.catalogue.backbones)]
            self.problems += problems
            if fields is not None and not problems:
                axes = {
                    one.axis.key: value
                    for one, (value, _) in zip(crossed, combination, strict=True)
                    if len(one.values) > 1
                }
                yield Placed(assemble(fields, self.catalogue, self.facts), fields, pairing.label, pairing.dataset, axes)

    def unknown_datasets(self, tree: Node) -> list[Problem]:
        """Datasets of evaluations that there are not."""
        named = [
            name
            for part in ("evaluations", "monitors")
            for question in tree.entries[part].entries.values()
            if (name := question.entries.get("dataset")) and name.value not in (None, *self.catalogue.datasets)
        ]
        known = self.catalogue.datasets
        return [problem(n, f"there is no dataset `{n.value}`; {suggestion(str(n.value), known)}") for n in named]

    def crossed(self, pairing: Pairing, own: Sequence[Axis]) -> list[_Crossed]:
        """The axes that this pairing has: global ones, then its own, which replace global ones of the same field."""
        crossed: dict[Path | str, _Crossed] = {}
        for axis, scope in [*((axis, None) for axis in self.axes), *((axis, pairing.label) for axis in own)]:
            try:
                path = None if axis.labelled else pairing.place(axis.name, axis.node)
            except SuiteError as error:
                self.problems += error.problems
                self.used.setdefault(scope, set()).add(axis.name)
                continue
            if path is None and not axis.labelled:
                continue
            shared = axis.labelled and scope is None
            values = tuple(
                (c.value, pairing.applicable(c.node, replace_parts=True) if shared else layer(c, path))
                for c in axis.choices
            )
            if any(node.value for _, node in values):
                self.used.setdefault(scope, set()).add(axis.name)
                if path is None or not any(_covers(last, path) for last in pairing.last):
                    crossed[path or axis.name] = _Crossed(axis, values)
        if self.seeds is not None and pairing.place("seed", self.seeds.node):
            values = tuple((c.value, layer(c, ("seed",))) for c in self.seeds.choices)
            crossed[("seed",)] = _Crossed(self.seeds, values)
        return list(crossed.values())

    def check_command_line(self, pairings: Sequence[Pairing]) -> None:
        names = [(name, node) for name, node in self.suite.fixed if name not in self.fixed]
        self.problems += check_axes([Axis(name, node, (), False) for name, node in names], (), pairings)

    def collected(self, placed: Sequence[Placed], metrics: Mapping[str, Metric]) -> Expansion:
        """Each cell once under each label, sorted into those that run and those that cannot."""
        planned, skipped = [], []
        seen = set()
        for one in placed:
            place = (one.label, one.dataset, one.id)
            if place in seen:
                continue
            seen.add(place)
            reason = self.reason(one)
            if reason:
                skipped.append(Skipped(one.cell, one.fields, one.label, one.dataset, one.axes, reason=reason))
            else:
                missing = self.missing_data(one)
                planned.append(Planned(one.cell, one.fields, one.label, one.dataset, one.axes, missing_data=missing))
        return Expansion(tuple(planned), tuple(skipped), metrics, _renamed(placed))

    def reason(self, placed: Placed) -> str | None:
        """Why a cell cannot or must not run."""
        for rule in self.suite.content.skip:
            if placed.matches(rule.model_extra or {}):
                return rule.reason
        return cannot_run(placed.fields, placed.cell, self.catalogue, self.facts)

    def missing_data(self, placed: Placed) -> str | None:
        """What to do to get the data that a cell reads, where it is not on this machine."""
        source = placed.cell.pretraining.source
        sources = [source] if source else []
        questions = (*placed.cell.evaluations.values(), *placed.cell.monitors.values())
        sources += [part for question in questions for part in (question.train, question.scored)]
        names = [n for n in dict.fromkeys(part.name for part in sources) if not self.facts.dataset(n).here]
        if not names:
            return None
        return "; ".join(f"{name} is not on this machine: `{prepare_command(name)}`" for name in names)


def _renamed(placed: Sequence[Placed]) -> dict[str, str]:
    """Labels of evaluations that no cell has, and what every cell has in their place."""
    names: dict[str, set[str]] = {}
    for one in placed:
        for label, evaluation in one.fields.evaluations.items():
            if evaluation is not None:
                names.setdefault(label, set()).add(question_name(label, evaluation.model_extra or {}))
    return {label: name for label, (name, *others) in names.items() if not others and name != label}


def _covers(layer: Node, path: Path) -> bool:
    """Whether a layer sets the field at a path, or something that the field is part of."""
    node = layer
    for step in path:
        if not isinstance(node.value, dict):
            return True
        if step not in node.value:
            return False
        node = node.value[step]
    return True
