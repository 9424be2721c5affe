"""Accuracy against what it cost, and the front no other row beats at its price. Draws what `pareto` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from altair.typing import ChartType

from harness.analysis.charts.style import (
    CONTROL,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    PAPER,
    choice,
    chosen_title,
    fitted_scale,
    inline_data,
    legend_selection,
    panel_grid,
    row_channels,
    zoomable,
)
from harness.analysis.entries import title_of
from harness.analysis.pareto import OF_HARDWARE, pareto_rows
from harness.analysis.row_results import RowResults, titles_of

COST_AXES = {
    "train_flops": ("training FLOPs (forward and backward)", 1.0),
    "views_seen": ("views seen in training", 1.0),
    "train_seconds": ("training seconds", 1.0),
    "peak_memory_bytes": ("peak memory, MiB", 2.0**20),
    "energy_joules": ("energy of training, kJ", 1e3),
}
"""Title of each cost's axis, and its unit."""
DECADE = 10.0
LARGE = 1e4  # costs above are written with k, M, G
HOW_TO_READ = (
    "steps join what no other row beats at its price; bars: lowest to highest seed; hollow: collapsed; "
    "across: nothing trained"
)


def frontier_chart(title: str, rows: Sequence[RowResults], metrics: Sequence[str]) -> ChartType | None:
    """Datasets down, costs across; None where no complete row has a metric and a cost above zero.

    Args:
        metrics: to choose from on the page; files show the first.
    """
    titles = {metric: title_of(metric, titles_of(rows)) for metric in metrics}
    titles = {metric: text for metric, text in titles.items() if any(row.mean(metric) is not None for row in rows)}
    complete = [row for row in rows if any(row.mean(metric) is not None for metric in titles)]
    costs = [cost for cost in COST_AXES if any(row.mean(cost) for row in complete)]
    if not costs:
        return None
    datasets = list(dict.fromkeys(row.dataset for row in complete))
    channels = row_channels(rows, {row.name for row in complete}, points=True)
    panels: list[ChartType] = []
    for dataset in datasets:
        for cost in costs:
            here = [row for row in complete if row.dataset == dataset]
            heading = COST_AXES[cost][0] + (f", {dataset}" if len(datasets) > 1 else "")
            panels.append(zoomable(_panel(here, cost, titles, heading, channels), f"zoom_{len(panels)}"))
    return panel_grid(
        panels,
        title,
        f"Accuracy against {', '.join(COST_AXES[cost][0] for cost in costs)}, a point for each row",
        notes=[HOW_TO_READ, *_hardware_note(complete, costs)],
        columns=2 if len(costs) == 4 else 3,
        parameters=[legend_selection("row"), choice("metric", list(titles.values()), "accuracy:")],
    )


def _panel(
    rows: Sequence[RowResults], cost: str, titles: Mapping[str, str], heading: str, channels: Mapping[str, Any]
) -> ChartType:
    """Points of rows with a cost, lines at the height of those without, the front as steps."""
    points = _points(rows, cost, titles)
    paid, free = [p for p in points if p["cost"]], [p for p in points if not p["cost"]]
    prices = [point["cost"] for point in paid] or [1.0]
    log = max(prices) > DECADE * min(prices)  # a shorter logarithmic axis has ticks that nobody can read
    axis = alt.Axis(tickCount=4, format="~s" if max(prices) >= LARGE else ",.4~r")
    x = alt.X("cost:Q", title=heading, scale=fitted_scale(log=log), axis=axis)

    def chart(data: Sequence[Mapping[str, Any]]) -> alt.Chart:
        return alt.Chart(inline_data(data)).transform_filter("datum.metric == metric")

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=None, scale=fitted_scale())

    price = alt.Tooltip("cost:Q", title=COST_AXES[cost][0], format=",.5~r")
    tooltip = ["row:N", "mean:Q", "low:Q", "high:Q", price, *(["hardware:N"] if cost in OF_HARDWARE else [])]
    own = {"color": channels["color"], "opacity": channels["opacity"], "tooltip": tooltip}
    fill = alt.when("datum.collapsed").then(alt.value(PAPER)).otherwise(channels["color"])
    steps = chart(_front(rows, cost, titles)).mark_line(interpolate="step-after", color=CONTROL, strokeWidth=1)
    across = chart(free).mark_rule(strokeDash=[6, 4]).encode(**own, y=y("mean"))
    whiskers = chart(paid).mark_rule(strokeOpacity=0.6).encode(**own, x=x, y=y("low"), y2="high:Q")
    marks = chart(paid).mark_point(size=70, strokeWidth=2, fillOpacity=1)
    layers = [
        steps.encode(x=x, y=y("mean"), detail="hardware:N", order="cost:Q"),
        *([across] if free else []),
        whiskers,
        marks.encode(**own, x=x, y=y("mean"), shape=channels["shape"], fill=fill),
    ]
    return alt.layer(*layers).properties(
        width=PANEL_WIDTH, height=PANEL_HEIGHT + 20, title=chosen_title("metric", "left")
    )


def _points(rows: Sequence[RowResults], cost: str, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    points = []
    for row in rows:
        for metric, title in titles.items():
            mean, price, values = row.mean(metric), row.mean(cost), row.values(metric).values()
            if mean is not None and price is not None:
                point = {"row": row.name, "metric": title, "mean": mean, "low": min(values), "high": max(values)}
                point |= {"cost": price / COST_AXES[cost][1], "collapsed": row.collapsed > 0}
                points.append(point | {"hardware": "; ".join(row.hardware)})
    return points


def _front(rows: Sequence[RowResults], cost: str, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows on the front; each hardware has its own where the cost depends on it."""
    return [
        {"metric": title, "mean": row.mean(metric), "cost": (row.mean(cost) or 0.0) / COST_AXES[cost][1]}
        | {"hardware": "; ".join(row.hardware) if cost in OF_HARDWARE else ""}
        for metric, title in titles.items()
        for row in (rows[index] for index in pareto_rows(rows, cost, metric))
    ]


def _hardware_note(rows: Sequence[RowResults], costs: Sequence[str]) -> list[str]:
    """On which hardware seconds were taken."""
    machines = list(dict.fromkeys(name for row in rows for name in row.hardware))
    if not any(cost in OF_HARDWARE for cost in costs):
        return []
    if len(machines) <= 2:
        return [f"seconds on {' and on '.join(machines)}"]
    return [f"seconds on {len(machines)} kinds of hardware, each with its own steps"]
