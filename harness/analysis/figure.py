"""The picture beside a table: every run a point, every row a line. Owns its looks; computes nothing but means.

The same records give the same bytes: no clock, no fonts but matplotlib's own.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.analysis.entries import title_of
from harness.analysis.frame import Record
from harness.store.atomic import write_bytes

ROW_INCHES, PANEL_INCHES, LABEL_INCHES = 0.28, 3.6, 2.2
METHOD, CONTROL, COLLAPSED = "#0b6fa4", "#8a8a8a", "#c4442b"


def write_figure(path: Path, title: str, records: Sequence[Record], metrics: Sequence[str], controls: set[str]) -> bool:
    """Write a PNG with a panel for each dataset and metric; False, and nothing written, where no cell is done.

    Args:
        records: of a suite; rows keep their order, first on top. What is not done is left out.
        metrics: accuracies in per cent.
        controls: methods drawn in grey.

    Raises:
        StoreError: the file cannot be written.
    """
    done = [record for record in records if record.result is not None and record.status == "done"]
    rows = list(dict.fromkeys(record.placed.row for record in done))
    datasets = list(dict.fromkeys(record.placed.dataset for record in done))
    if not done:
        return False
    panels = [(dataset, metric) for dataset in datasets for metric in metrics]
    size = (LABEL_INCHES + PANEL_INCHES * len(panels), 1.1 + ROW_INCHES * len(rows))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (dataset, metric) in zip(axes, panels, strict=True):
        here = [record for record in done if record.placed.dataset == dataset]
        _panel(axis, here, rows, metric, controls)
        axis.set_xlabel(f"{title_of(metric)}" + (f", {dataset}" if len(datasets) > 1 else ""))
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
    return True


def _panel(axis: Axes, records: Sequence[Record], rows: Sequence[str], metric: str, controls: set[str]) -> None:
    for place, row in enumerate(rows):
        runs = [record for record in records if record.placed.row == row]
        found = [
            (record.result.metrics[metric], record)
            for record in runs
            if record.result and metric in record.result.metrics
        ]
        if not found:
            continue
        values = [value for value, _ in found]
        colour = CONTROL if found[0][1].cell.method in controls else METHOD
        mean = sum(values) / len(values)
        axis.plot([mean, mean], [place - 0.28, place + 0.28], color=colour, linewidth=2)
        for value, record in found:
            marker, shade = ("x", COLLAPSED) if record.collapsed else ("o", colour)
            axis.plot(value, place, marker, color=shade, markersize=5, alpha=0.85)
        if any(record.collapsed for _, record in found):
            axis.annotate(
                "collapsed", (max(values), place), (6, 0), textcoords="offset points", va="center", fontsize=7
            )
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
