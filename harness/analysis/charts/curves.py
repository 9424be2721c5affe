"""How training went: what rows share (accuracies, rank, spread) in common panels, losses each in its own, because
losses of different methods have no common scale. Lines are means over seeds, shades go from the lowest to the highest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from altair.typing import ChartType

from harness.analysis.charts.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    choice,
    chosen_title,
    fitted_scale,
    inline_data,
    legend_selection,
    panel_grid,
    row_channels,
)
from harness.analysis.curves import curve_title, recorded_measures, training_curve
from harness.analysis.row_results import RowResults, titles_of

HORIZONTAL = {"epochs": "epoch", "views seen in training": "views", "seconds of training": "seconds"}
LOGARITHMIC = ("slice_condition_max", "slice_condition_median")
LOSS_COLUMNS = 4


def curves_chart(title: str, rows: Sequence[RowResults]) -> ChartType | None:
    """A panel for each dataset and measure but the loss; None where no run has more than one reading of any."""
    titles, datasets = titles_of(rows), list(dict.fromkeys(row.dataset for row in rows))
    drawn: dict[tuple[str, str], list[dict[str, Any]]] = {}  # by measure and heading
    for dataset in datasets:
        here = [row for row in rows if row.dataset == dataset]
        for measure in (name for name in recorded_measures(here) if name != "loss"):
            heading = curve_title(measure, titles) + (f", {dataset}" if len(datasets) > 1 else "")
            drawn[measure, heading] = [
                point for row in here for point in _readings(row, measure) or _final(row, measure)
            ]
    if not drawn:
        return None
    channels = row_channels(rows, {point["row"] for points in drawn.values() for point in points})
    panels = []
    for (measure, heading), points in drawn.items():
        panel = _panel(points, channels, heading, log=measure in LOGARITHMIC)
        sized = panel.properties(width=PANEL_WIDTH, height=PANEL_HEIGHT, title=chosen_title("horizontal", "bottom"))
        panels.append(sized)
    notes = ["lines are means over seeds, shades their lowest to highest; straight across: rows without a curve"]
    parameters = [legend_selection("row"), choice("horizontal", list(HORIZONTAL), "horizontal axis:")]
    described = f"{', '.join(heading for _, heading in drawn)} during training, a line for each row"
    return panel_grid(panels, title, described, notes=notes, parameters=parameters)


def losses_chart(title: str, rows: Sequence[RowResults]) -> ChartType | None:
    """A small panel for each row and dataset; None where nothing was trained for more than an epoch."""
    drawn = [(row, points) for row in rows if (points := _readings(row, "loss"))]
    if not drawn:
        return None
    channels = row_channels(rows, {row.name for row, _ in drawn})
    channels = {"color": channels["color"].legend(None), "strokeDash": channels["strokeDash"].legend(None)}
    several = len({row.dataset for row, _ in drawn}) > 1
    panels = []
    for row, points in drawn:
        heading = alt.Title(f"{row.name}, {row.dataset}" if several else row.name, fontSize=11)
        panel = _panel(points, channels, None, across="epochs")
        panels.append(panel.properties(width=PANEL_WIDTH - 60, height=PANEL_HEIGHT - 50, title=heading))
    described = f"Training loss of {len(panels)} rows, each in a panel and on a scale of its own"
    return panel_grid(panels, title, described, columns=LOSS_COLUMNS)


def _readings(row: RowResults, measure: str) -> list[dict[str, Any]]:
    """A record for each of several readings that all seeds have; empty without."""
    curve = training_curve(row, measure)
    if curve is None or len(curve["epoch"]) < 2:
        return []
    return [
        {name: curve[field][index] for name, field in HORIZONTAL.items()}
        | {"row": row.name, "mean": sum(values) / len(values), "low": min(values), "high": max(values)}
        for index, values in enumerate(zip(*curve["values"], strict=True))
        if None not in values
    ]


def _final(row: RowResults, measure: str) -> list[dict[str, Any]]:
    """A record without a place in training, for a row that has a final value alone."""
    mean = row.mean(measure)
    return [] if mean is None else [{"row": row.name, "mean": mean}]


def _panel(
    points: Sequence[Mapping[str, Any]],
    channels: Mapping[str, Any],
    heading: str | None,
    *,
    across: str | None = None,
    log: bool = False,
) -> ChartType:
    """Lines and shades of readings, and lines across of final values.

    Args:
        across: the horizontal axis; None leaves it to the select box `horizontal`.
    """
    scale = fitted_scale(log=True) if log else alt.Scale(zero=False)
    y = alt.Y("mean:Q", title=heading, scale=scale, axis=alt.Axis(tickCount=5, format="~s" if log else ".4~g"))
    x_axis = alt.Axis(tickCount=5, format="~s")
    x = alt.X("place:Q", title=across, axis=x_axis, scale=alt.Scale(zero=False, nice=False))
    mean = alt.Tooltip("mean:Q", title=heading or "loss")
    tooltip: list[Any] = ["row:N", mean, "low:Q", "high:Q", *(f"{name}:Q" for name in HORIZONTAL)]
    readings = alt.Chart(inline_data([point for point in points if "epochs" in point]))
    readings = readings.transform_calculate(place=f"datum.{across}" if across else "datum[horizontal]")
    placed = readings.transform_filter("isValid(datum.place)").encode(x=x, tooltip=tooltip)
    shades = {name: channel for name, channel in channels.items() if name != "strokeDash"}
    low = alt.Y("low:Q", title=heading, scale=scale)
    band = placed.mark_area(fillOpacity=0.15).encode(**shades, y=low, y2="high:Q")
    line = placed.mark_line(strokeWidth=1.6).encode(**channels, y=y)
    targets = placed.mark_circle(size=60, fillOpacity=0).encode(**shades, y=y)  # what the pointer finds
    finals = [point for point in points if "epochs" not in point]
    rules = alt.Chart(inline_data(finals)).mark_rule().encode(**channels, y=y, tooltip=["row:N", mean])
    return alt.layer(band, line, targets, *([rules] if finals else []))
