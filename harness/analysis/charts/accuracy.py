"""Every run a point, every row a line: the table as a picture. Computes nothing but means and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from altair.typing import ChartType

from harness.analysis.charts.style import (
    COLLAPSED,
    CONTROL,
    PALETTE,
    PANEL_WIDTH,
    ROW_HEIGHT,
    fitted_scale,
    inline_data,
    panel_grid,
)
from harness.analysis.entries import title_of
from harness.analysis.frame import Record
from harness.analysis.row_results import RowResults, titles_of
from harness.analysis.statistics import mean_interval

MINIMUM_RUNS = 3  # Student's interval of two runs is wider than any axis; the two points say as much
_COLOURS = {"run": PALETTE[0], "run of a control": CONTROL, "collapsed run": COLLAPSED}
_SHAPES = {"run": "circle", "run of a control": "circle", "collapsed run": "cross"}


def accuracy_chart(title: str, rows: Sequence[RowResults], metrics: Sequence[str]) -> ChartType | None:
    """A panel for each dataset and metric; rows with results keep their order, first on top. None without a metric.

    Args:
        metrics: accuracies in per cent.
    """
    names = list(dict.fromkeys(row.name for row in rows))
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    titles, intervals = titles_of(rows), False
    panels: list[ChartType] = []
    present = {_kind(row, record) for row in rows for record in row.records}
    channels = _kind_channels([kind for kind in _COLOURS if kind in present])
    for dataset in datasets:
        for metric in metrics:
            here = [row for row in rows if row.dataset == dataset]
            means = [mean for row in here if (mean := _mean(row, metric)) is not None]
            intervals |= any(mean["low"] is not None for mean in means)
            labels = None if panels else alt.Axis(title=None, domain=False, ticks=False)
            y = alt.Y("row:N", scale=alt.Scale(domain=names), axis=labels)
            heading = title_of(metric, titles) + (f", {dataset}" if len(datasets) > 1 else "")
            panel = _panel(_runs(here, metric), means, y, channels, heading)
            panels.append(panel.properties(width=PANEL_WIDTH, height=ROW_HEIGHT * len(names)))
    if not panels:
        return None
    note = "points are runs, strokes their means" + (", bars 95 % intervals of the means" if intervals else "")
    shown = ", ".join(title_of(metric, titles) for metric in metrics)
    described = f"{shown} of {len(names)} rows, a point for each run"
    return panel_grid(panels, title, described, notes=[note], columns=len(panels))


def _kind(row: RowResults, record: Record) -> str:
    return "collapsed run" if record.collapsed else "run of a control" if row.control else "run"


def _kind_channels(kinds: Sequence[str]) -> dict[str, Any]:
    legend = alt.Legend(orient="bottom") if len(kinds) > 1 else None

    def scale(values: Mapping[str, str]) -> alt.Scale:
        return alt.Scale(domain=list(kinds), range=[values[kind] for kind in kinds])

    return {
        "color": alt.Color("kind:N", scale=scale(_COLOURS), legend=legend),
        "shape": alt.Shape("kind:N", scale=scale(_SHAPES), legend=legend),
    }


def _runs(rows: Sequence[RowResults], metric: str) -> list[dict[str, Any]]:
    return [
        {"row": row.name, "kind": _kind(row, record), "seed": record.placed.cell.seed, "value": value}
        for row in rows
        for record in row.records
        if (value := record.value(metric)) is not None
    ]


def _mean(row: RowResults, metric: str) -> dict[str, Any] | None:
    values = [value for record in row.records if (value := record.value(metric)) is not None]
    if not values:
        return None
    interval = mean_interval(values)
    low, high = (interval.low, interval.high) if interval.n >= MINIMUM_RUNS else (None, None)
    kind = "run of a control" if row.control else "run"
    return {"row": row.name, "kind": kind, "mean": interval.mean, "low": low, "high": high}


def _panel(
    runs: Sequence[dict[str, Any]],
    means: Sequence[dict[str, Any]],
    y: alt.Y,
    channels: Mapping[str, Any],
    heading: str,
) -> ChartType:
    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=heading, scale=fitted_scale(), axis=alt.Axis(tickCount=5))

    of_row = {"y": y, "color": channels["color"], "tooltip": ["row:N", "mean:Q", "low:Q", "high:Q"]}
    bars = alt.Chart(inline_data([mean for mean in means if mean["low"] is not None])).mark_bar(height=5, opacity=0.3)
    strokes = alt.Chart(inline_data(means)).mark_tick(thickness=2, height=13, opacity=1)
    points = alt.Chart(inline_data(runs)).mark_point(size=28, filled=True, opacity=0.8)
    layers = [bars.encode(**of_row, x=x("low"), x2="high:Q")] if any(mean["low"] is not None for mean in means) else []
    layers += [
        strokes.encode(**of_row, x=x("mean")),
        points.encode(y=y, x=x("value"), **channels, tooltip=["row:N", "seed:N", "value:Q"]),
    ]
    return alt.layer(*layers)
