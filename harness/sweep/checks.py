"""Whether what a sweep names exists: settings, rows, the metric, the curve that pruning reads. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from harness.suite.axes import names_in
from harness.suite.fields import suggestion
from harness.suite.nodes import Node, Problem, problem
from harness.suite.search import SweepSpec
from harness.sweep.rows import Row, curve_of

_NOTHING = Node({})


def check_measure(spec: SweepSpec, root: Node, row: Row) -> Iterator[Problem]:
    """A metric that the row's trials do not have, or pruning without a curve; `root` is the sweep's node."""
    if spec.metric not in row.metrics:
        message = f"{row.title} is not evaluated by `{spec.metric}`; {suggestion(spec.metric, row.metrics)}"
        yield problem(root.entries.get("metric", root), message)
    if spec.pruner != "none" and row.prune and curve_of(row.placed.cell) is None:
        message = "pruning reads the k-NN curve, and there is none: set monitors: {knn5: {probe: knn, every_epochs: 2}}"
        yield problem(root.entries["pruner"], message)


def check_names(root: Node, used: Collection[str], trees: Iterable[Node], rows: Sequence[Row]) -> Iterator[Problem]:
    """Settings that no row has (`used`: those that some row has), and entries of methods for which there is no row."""
    own = root.entries.get("methods", _NOTHING).entries
    spaces = [root.entries.get("space", _NOTHING), *(n.entries["space"] for n in own.values() if "space" in n.entries)]
    known = list(dict.fromkeys(name for tree in trees for name in names_in(tree)))
    for space in spaces:
        for name, node in space.entries.items():
            if name not in used and node.value is not None:
                yield problem(node, f"no method in this sweep has `{name}`; {suggestion(name, known)}")
    labels = dict.fromkeys(name for row in rows for name in (row.placed.label, row.placed.cell.method, row.name))
    for label, node in own.items():
        if label not in labels:
            yield problem(node, f"there is no row `{label}`; {suggestion(label, labels)}")


def check_tuned(root: Node, rows: Sequence[Row]) -> Iterator[Problem]:
    """A space in which nothing can vary."""
    if not any(row.tuned for row in rows):
        message = "the space is empty: name at least one setting with two values, such as optimiser.lr"
        yield problem(root.entries.get("space", root), message)
