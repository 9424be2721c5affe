"""How training went: what rows share (accuracies, rank, spread) in common panels, losses each in its own, because
losses of different methods have no common scale. Lines are means over seeds, shades go from the lowest to the highest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.analysis.entries import title_of
from harness.analysis.figures.style import COLOURS, CONTROL, Look, legend, looks, panels
from harness.analysis.report.curves import curve, measures_of
from harness.analysis.report.rows import Row, monitored, titles_of

TITLES = {
    "h_rankme": "RankMe of the features h",
    "h_std": "std × √D of the features h",
    "v_rankme": "RankMe of the embeddings v",
    "v_std": "std × √D of the embeddings v",
    "slice_condition_max": "largest condition number of a slice",
}
LOGARITHMIC = ("slice_condition_max",)
CURVE_COLUMNS, LOSS_COLUMNS = 3, 4


def curves(title: str, rows: Sequence[Row]) -> Figure | None:
    """A panel for each dataset and measure; None where no run has more than one reading of any."""
    titles, accuracies = titles_of(rows), monitored(rows)
    measures = [name for name in measures_of(rows) if name in accuracies or name in TITLES]
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    if not measures:
        return None
    shown = looks(rows)
    wanted = list(product(datasets, measures))
    columns = min(CURVE_COLUMNS, len(wanted))
    figure, axes = panels(title, math.ceil(len(wanted) / columns), columns, legend=True)
    places = [axis for line in axes for axis in line]
    drawn: dict[str, None] = {}
    for axis, (dataset, measure) in zip(places, wanted, strict=False):
        for row in (row for row in rows if row.dataset == dataset):
            if _draw(axis, curve(row, measure), shown[row.name]):
                drawn[row.name] = None
        if measure in LOGARITHMIC:
            axis.set_yscale("log")
        axis.set_ylabel(TITLES.get(measure) or title_of(measure, titles))
        axis.set_xlabel("epochs" + (f", {dataset}" if len(datasets) > 1 else ""))
    _hide(places[len(wanted) :])
    legend(figure, drawn, shown, points=False)
    return figure


def losses(title: str, rows: Sequence[Row]) -> Figure | None:
    """A small panel for each row and dataset; None where nothing was trained for more than an epoch."""
    found = [(row, points) for row in rows if (points := curve(row, "loss")) and len(points["epoch"]) > 1]
    if not found:
        return None
    columns = min(LOSS_COLUMNS, len(found))
    figure, axes = panels(f"{title}: training loss", math.ceil(len(found) / columns), columns, legend=False)
    several = len({row.dataset for row, _ in found}) > 1
    places = [axis for line in axes for axis in line]
    for axis, (row, points) in zip(places, found, strict=False):
        _draw(axis, points, Look(CONTROL if row.control else COLOURS[0], "-", "o"))
        axis.set_title(f"{row.name}, {row.dataset}" if several else row.name, fontsize=9)
        axis.set_xlabel("epochs")
    _hide(places[len(found) :])
    return figure


def _hide(axes: Sequence[Axes]) -> None:
    for axis in axes:
        axis.set_visible(False)


def _draw(axis: Axes, points: dict[str, Any] | None, look: Look) -> bool:
    """One row's line; False where it has none."""
    if points is None or len(points["epoch"]) < 2:
        return False
    seeds = [[math.nan if value is None else value for value in run] for run in points["values"]]
    together = list(zip(*seeds, strict=True))
    means = [math.fsum(values) / len(values) for values in together]
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.plot(points["epoch"], means, color=look.colour, linestyle=look.dash, linewidth=1.5)
    if len(seeds) > 1:
        low, high = [min(values) for values in together], [max(values) for values in together]
        axis.fill_between(points["epoch"], low, high, color=look.colour, alpha=0.15, linewidth=0)
    return True
