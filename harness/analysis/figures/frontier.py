"""Accuracy against what it cost, and the front no other row beats at its price. Draws what `report.frontier` says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from harness.analysis.entries import title_of
from harness.analysis.figures.style import Look, legend, looks, panels
from harness.analysis.report.frontier import OF_HARDWARE, fronts
from harness.analysis.report.rows import Row, titles_of

COSTS = {
    "train_flops": "training FLOPs",
    "views_seen": "views seen in training",
    "train_seconds": "training seconds",
}

DECADE = 10.0


def frontier(title: str, rows: Sequence[Row], metric: str) -> Figure | None:
    """Datasets down, compute and time across; None where no complete row has a cost above zero."""
    complete = [row for row in rows if row.mean(metric) is not None]
    costs = [name for name in COSTS if any(row.mean(name) for row in complete)]
    if "train_flops" in costs:
        costs.remove("views_seen")  # says less than operations do
    if not costs:
        return None
    datasets = list(dict.fromkeys(row.dataset for row in complete))
    shown = looks(rows)
    figure, axes = panels(title, len(datasets), len(costs), legend=True)
    drawn: dict[str, None] = {}
    for (line, dataset), (column, cost) in product(enumerate(datasets), enumerate(costs)):
        here = [row for row in complete if row.dataset == dataset]
        drawn |= dict.fromkeys(_panel(axes[line][column], here, cost, metric, shown))
        axes[line][column].set_ylabel(title_of(metric, titles_of(rows)))
        axes[line][column].set_xlabel(COSTS[cost] + (f", {dataset}" if len(datasets) > 1 else ""))
    legend(figure, drawn, shown, points=True)
    figure.supxlabel(_said(complete, costs), fontsize=7)
    return figure


def _panel(axis: Axes, rows: Sequence[Row], cost: str, metric: str, shown: dict[str, Look]) -> list[str]:
    """Points of rows with a cost, lines at the height of those without, the front as steps; names in the legend."""
    named = []
    for row in rows:
        x, y, look = row.mean(cost), row.mean(metric), shown[row.name]
        if y is None or x is None:
            continue
        named.append(row.name)
        if x == 0:  # nothing was trained: its accuracy is had for nothing
            axis.axhline(y, color=look.colour, linestyle=look.dash, linewidth=1)
            axis.plot(0.02, y, look.marker, color=look.colour, markersize=5, transform=axis.get_yaxis_transform())
        else:
            axis.plot(x, y, look.marker, color=look.colour, markersize=6, markerfacecolor=_face(row, look))
    for group in _by_hardware(rows, fronts(rows, cost, metric), cost):
        xs, ys = [row.mean(cost) or 0.0 for row in group], [row.mean(metric) or 0.0 for row in group]
        axis.step(xs, ys, where="post", color="#555555", linewidth=0.9, zorder=0)
    prices = [price for row in rows if (price := row.mean(cost))]
    if prices and max(prices) > DECADE * min(prices):
        axis.set_xscale("log")
    else:  # a logarithmic axis of less than a decade has ticks that nobody can read
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    return named


def _face(row: Row, look: Look) -> str:
    """Collapsed runs are hollow."""
    return "none" if row.collapsed else look.colour


def _by_hardware(rows: Sequence[Row], front: Sequence[int], cost: str) -> list[list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for index in front:
        groups.setdefault(rows[index].hardware if cost in OF_HARDWARE else (), []).append(rows[index])
    return list(groups.values())


def _said(rows: Sequence[Row], costs: Sequence[str]) -> str:
    """How to read it, and on which hardware seconds were taken."""
    text = "the line joins what no other row beats at its price; hollow: collapsed; across: nothing trained"
    machines = list(dict.fromkeys(name for row in rows for name in row.hardware))
    if "train_seconds" in costs and len(machines) <= 2:
        text += f"\nseconds on {' and on '.join(machines)}"
    elif "train_seconds" in costs:
        text += f"\nseconds on {len(machines)} kinds of hardware, each with its own line"
    return text
