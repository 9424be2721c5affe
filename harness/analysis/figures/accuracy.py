"""Every run a point, every row a line: the table as a picture. Computes nothing but means and their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.entries import title_of
from harness.analysis.figures.style import COLLAPSED, COLOURS, CONTROL, PANEL_WIDTH, new_figure, plain
from harness.analysis.report.rows import Row, titles_of
from harness.analysis.statistics import mean_interval

ROW_INCHES, LABEL_INCHES = 0.28, 2.2
LEAST_RUNS = 3  # Student's interval of two runs is wider than any axis; the two points say as much


def accuracy(title: str, rows: Sequence[Row], metrics: Sequence[str]) -> Figure:
    """A panel for each dataset and metric; rows with results keep their order, first on top.

    Args:
        metrics: accuracies in per cent.
    """
    titles = titles_of(rows)
    names = list(dict.fromkeys(row.name for row in rows))
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    shown = [(dataset, metric) for dataset in datasets for metric in metrics]
    figure = new_figure(title, LABEL_INCHES + PANEL_WIDTH * len(shown), 1.1 + ROW_INCHES * len(names))
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    several = False
    for axis, (dataset, metric) in zip(axes, shown, strict=True):
        plain(axis)
        several |= _panel(axis, [row for row in rows if row.dataset == dataset], names, metric)
        axis.set_xlabel(title_of(metric, titles) + (f", {dataset}" if len(datasets) > 1 else ""), fontsize=9)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    if several:
        figure.supxlabel("points are runs, strokes their means, bars 95 % intervals of the means", fontsize=7)
    return figure


def _panel(axis: Axes, rows: Sequence[Row], names: Sequence[str], metric: str) -> bool:
    """Draw one metric on one dataset; whether any row has an interval."""
    several = False
    for row in rows:
        place = names.index(row.name)
        found = [(value, r.collapsed) for r in row.records if (value := r.value(metric)) is not None]
        if not found:
            continue
        values = [value for value, _ in found]
        colour = CONTROL if row.control else COLOURS[0]
        interval = mean_interval(values)
        if interval.low is not None and interval.high is not None and interval.n >= LEAST_RUNS:
            several = True
            axis.plot([interval.low, interval.high], [place, place], color=colour, linewidth=5, alpha=0.25)
        axis.plot([interval.mean] * 2, [place - 0.28, place + 0.28], color=colour, linewidth=2)
        for value, collapsed in found:
            marker, shade = ("x", COLLAPSED) if collapsed else ("o", colour)
            axis.plot(value, place, marker, color=shade, markersize=5, alpha=0.85)
        if any(collapsed for _, collapsed in found):
            axis.annotate(
                "collapsed", (max(values), place), (6, 0), textcoords="offset points", va="center", fontsize=7
            )
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0, labelsize=9)
    return several
