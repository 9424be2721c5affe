"""A suite becomes cells: axes crossed, duplicates dropped, what cannot work skipped with its reason. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

from harness.suite.axes import Axis, Path, layer, read_axis
from harness.suite.catalogue import DatasetLike, MethodLike, SettingsLike, pretrain_images
from harness.suite.cell import Cell, DatasetSpec
from harness.suite.names import check_axes, check_claims, check_names, check_rules, dataset_name, method_name
from harness.suite.nodes import Node, Problem, SuiteError
from harness.suite.planned import Expansion, Placed, Planned, Skipped
from harness.suite.problems import validate
from harness.suite.resolve import Pairing
from harness.suite.suite import Suite

Fingerprint = Callable[[DatasetSpec], str | None]
"""Of the local copy of a dataset; None where there is none."""
_NOTHING = Node({})


def expand(
    suite: Suite,
    catalogue: Mapping[str, MethodLike],
    datasets: Mapping[str, DatasetLike],
    fingerprint: Fingerprint,
) -> Expansion:
    """Every cell of a suite, in the order in which its methods, datasets and axes are written.

    Raises:
        SuiteError: with every name, value and setting that is wrong, located by file and line.
    """
    return _Expander(suite, catalogue, datasets, fingerprint).expansion()


@dataclass(frozen=True)
class _Crossed:
    """An axis as one pairing has it: each value or label, and the layer it lays over the cell."""

    axis: Axis
    values: tuple[tuple[Any, Node], ...]


class _Expander:
    """Holds what is looked up while a suite is expanded, and the problems found."""

    def __init__(
        self,
        suite: Suite,
        catalogue: Mapping[str, MethodLike],
        datasets: Mapping[str, DatasetLike],
        fingerprint: Fingerprint,
    ) -> None:
        self.suite, self.catalogue, self.datasets, self.fingerprint = suite, catalogue, datasets, fingerprint
        self.problems: list[Problem] = []
        self.fingerprints: dict[int, tuple[Node, str | None]] = {}
        self.used: dict[str | None, set[str]] = {None: set()}  # axes that some cell has: global, and by method label
        self.fixed: set[str] = set()  # names set on the command line that some cell has
        self.axes = self.read_axes(suite.root)
        seeds = [read_axis(name, node) for name, node in suite.fixed if name == "seeds"]
        self.problems += [found for _, problems in seeds for found in problems]
        self.seeds = next((axis for axis, _ in reversed(seeds) if axis), None)

    def read_axes(self, row: Node) -> list[Axis]:
        axes = []
        for name, node in row.entries.get("axes", _NOTHING).entries.items():
            axis, problems = read_axis(name, node)
            self.problems += problems
            axes += [axis] if axis else []
        return axes

    def expansion(self) -> Expansion:
        self.problems += check_names(self.suite, self.catalogue, self.datasets)
        placed: list[Placed] = []
        pairings: list[Pairing] = []
        own_axes: list[str] = []
        for label, row in self.suite.root.entries.get("methods", _NOTHING).entries.items():
            axes = self.read_axes(row)
            own_axes += [axis.name for axis in axes]
            mine = list(self.pairings(label, row))
            for pairing in mine:
                placed += self.cells(pairing, axes)
            self.problems += check_axes(axes, self.used.get(label, ()), mine)
            pairings += mine
        self.problems += check_axes(self.axes, self.used[None], pairings)
        self.check_command_line(pairings)
        names = [*(axis.name for axis in self.axes), *own_axes]
        known = [] if self.problems else placed
        self.problems += check_rules(self.suite, names, pairings, known)
        self.problems += check_claims(self.suite, self.datasets, known)
        if self.problems:
            raise SuiteError(self.problems)
        return self.collected(placed)

    def pairings(self, label: str, row: Node) -> Iterator[Pairing]:
        """The method on each dataset; those whose settings are not valid become problems."""
        entry = self.catalogue.get(str(method_name(label, row).value))
        for dataset, dataset_row in self.suite.root.entries.get("datasets", _NOTHING).entries.items():
            info = self.datasets.get(str(dataset_name(dataset, dataset_row).value))
            if entry is None or info is None:
                continue
            try:
                yield Pairing(self.suite, label, entry, dataset, info)
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
            cell = self.cell(pairing, tree)
            if cell is not None:
                axes = {
                    here.axis.key: value
                    for here, (value, _) in zip(crossed, combination, strict=True)
                    if len(here.values) > 1
                }
                yield Placed(cell, pairing.label, pairing.dataset, axes)

    def crossed(self, pairing: Pairing, own: Sequence[Axis]) -> list[_Crossed]:
        """The axes that this pairing has: global ones, then its own, which replace global ones of the same field."""
        found: dict[Path | str, _Crossed] = {}
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
                (c.value, pairing.for_this(c.node, switch_on=True) if shared else layer(c, path)) for c in axis.choices
            )
            if any(node.value for _, node in values):
                self.used.setdefault(scope, set()).add(axis.name)
                if path is None or not any(_covers(last, path) for last in pairing.last):
                    found[path or axis.name] = _Crossed(axis, values)
        if self.seeds is not None and pairing.place("seed", self.seeds.node):
            values = tuple((c.value, layer(c, ("seed",))) for c in self.seeds.choices)
            found[("seed",)] = _Crossed(self.seeds, values)
        return list(found.values())

    def cell(self, pairing: Pairing, tree: Node) -> Cell | None:
        """The tree as a cell with its dataset's fingerprint; problems are collected."""
        values = tree.entries["dataset"]
        if id(values) not in self.fingerprints:  # the node is kept with the answer, so that no id is ever used again
            spec, problems = validate(DatasetSpec, values, pairing.row)
            self.problems += problems
            self.fingerprints[id(values)] = values, self.fingerprint(spec) if spec else None
        cell, problems = pairing.cell(tree, self.fingerprints[id(values)][1])
        self.problems += problems
        return cell

    def check_command_line(self, pairings: Sequence[Pairing]) -> None:
        names = [(name, node) for name, node in self.suite.fixed if name not in self.fixed]
        self.problems += check_axes([Axis(name, node, (), False) for name, node in names], (), pairings)

    def collected(self, placed: Sequence[Placed]) -> Expansion:
        """Each cell once under each label, sorted into those that run and those that cannot."""
        planned, skipped = [], []
        seen = set()
        for here in placed:
            place = (here.label, here.dataset, here.id)
            if place in seen:
                continue
            seen.add(place)
            reason = self.reason(here)
            if reason:
                skipped.append(Skipped(here.cell, here.label, here.dataset, here.axes, reason=reason))
            else:
                missing = _missing_data(here.cell.dataset)
                planned.append(Planned(here.cell, here.label, here.dataset, here.axes, missing_data=missing))
        return Expansion(tuple(planned), tuple(skipped))

    def reason(self, here: Placed) -> str | None:
        """Why a cell cannot or shall not run."""
        cell, entry = here.cell, self.catalogue[here.cell.method]
        for rule in self.suite.content.skip:
            if here.matches(rule.model_extra or {}):
                return rule.reason
        return cannot_run(cell, entry, self.datasets[cell.dataset.name])


def cannot_run(cell: Cell, entry: MethodLike, info: DatasetLike) -> str | None:
    """Why a cell would fail if it were run; None if nothing is known against it."""
    if cell.views is not None and cell.views < entry.min_views:
        return f"{cell.method} needs at least {entry.min_views} views, not {cell.views}"
    settings = cast(SettingsLike, entry.settings.model_validate(cell.settings))
    if cell.views is not None and cell.batch_size is not None:
        why = settings.problem(cell.views, cell.batch_size)
        if why:
            return why
    return _too_few_images(cell, info)


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


def _too_few_images(cell: Cell, info: DatasetLike) -> str | None:
    images = pretrain_images(info, cell.dataset.validation_fraction)
    wanted = cell.dataset.train_images
    if images is not None and wanted is not None and wanted > images:
        return f"train_images is {wanted}, but {cell.dataset.name} has only {images} to train on"
    images = wanted if wanted is not None else images
    if images is not None and cell.batch_size is not None and cell.batch_size > images:
        return f"a batch of {cell.batch_size} images is larger than the {images} that {cell.dataset.name} is trained on"
    return None


def _missing_data(spec: DatasetSpec) -> str | None:
    if spec.fingerprint is not None:
        return None
    return f"{spec.name} is not on this machine: `harness data prepare {spec.name}`"
