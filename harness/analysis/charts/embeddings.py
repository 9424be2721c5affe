"""What the encoder's output looks like: alignment against uniformity, and test images in the plane (t-SNE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
from altair.typing import ChartType

from harness.analysis.charts.style import (
    PALETTE,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    fitted_scale,
    inline_data,
    legend_selection,
    panel_grid,
    row_channels,
    zoomable,
)
from harness.analysis.row_results import RowResults

LEGEND_CLASSES = 30  # more classes than these have no legend


def alignment_chart(title: str, rows: Sequence[RowResults]) -> ChartType | None:
    """Uniformity against alignment of the L2-normalised features, a point a row; None where nothing was recorded."""
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    drawn = {name: [point for row in rows if row.dataset == name for point in _alignment(row)] for name in datasets}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return None
    channels = row_channels(rows, {point["row"] for points in drawn.values() for point in points}, points=True)
    panels: list[ChartType] = []
    for dataset, points in drawn.items():
        scale = fitted_scale()
        beside = f", {dataset}" if len(datasets) > 1 else ""
        chart = (
            alt.Chart(inline_data(points))
            .mark_point(size=70, strokeWidth=2, filled=True)
            .encode(
                **channels,
                x=alt.X("alignment:Q", title=f"alignment (smaller: views of an image lie closer){beside}", scale=scale),
                y=alt.Y("uniformity:Q", title="uniformity (smaller: images spread better)", scale=scale),
                tooltip=["row:N", "alignment:Q", "uniformity:Q"],
            )
        )
        sized = chart.properties(width=PANEL_WIDTH + 100, height=PANEL_HEIGHT + 60)
        panels.append(zoomable(sized, f"zoom_{len(panels)}"))
    described = "Uniformity against alignment of the features, a point for each row; both are better when smaller"
    return panel_grid(panels, title, described, columns=2, parameters=[legend_selection("row")])


def _alignment(row: RowResults) -> list[dict[str, Any]]:
    """Means over the seeds, if all have them."""
    point: dict[str, Any] = {"row": row.name}
    for name in ("alignment", "uniformity"):
        values = [result.diagnostics.get(f"h_{name}") for result in row.results]
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return []
        point[name] = sum(known) / len(known)
    return [point]


def projection_chart(
    title: str, planes: Sequence[tuple[str, Sequence[int], Sequence[int]]], classes: Sequence[str]
) -> ChartType | None:
    """Test images in the plane, a panel a row, each image the number of its class; None without any.

    Args:
        planes: (heading, coordinates x0, y0, x1, y1, ..., the images' classes).
        classes: names of the classes; empty where they are not known.
    """
    if not planes:
        return None
    present = sorted({label for _, _, labels in planes for label in labels})
    names = {label: _class_name(label, classes) for label in present}
    colours = [PALETTE[label % len(PALETTE)] for label in present]
    shown = alt.Legend(columns=1) if len(present) <= LEGEND_CLASSES else None
    colour = alt.Color("class:N", scale=alt.Scale(domain=list(names.values()), range=colours), legend=shown)
    side = alt.Scale(domain=[-20, 1020])
    panels: list[ChartType] = []
    for heading, xy, labels in planes:
        images = [
            {"x": xy[2 * index], "y": xy[2 * index + 1], "label": label, "class": names[label]}
            for index, label in enumerate(labels)
        ]
        chart = (
            alt.Chart(inline_data(images))
            .mark_text(fontSize=9, fontWeight=600)
            .encode(
                x=alt.X("x:Q", axis=None, scale=side),
                y=alt.Y("y:Q", axis=None, scale=side),
                text="label:N",
                color=colour,
                opacity=alt.when(legend_selection("class")).then(alt.value(1)).otherwise(alt.value(0.08)),
                tooltip=["class:N"],
            )
        )
        sized = chart.properties(width=PANEL_WIDTH, height=PANEL_WIDTH, title=alt.Title(heading, fontSize=11))
        panels.append(zoomable(sized, f"zoom_{len(panels)}"))
    described = f"Test images of {len(panels)} rows in the plane, each shown as the number of its class"
    return panel_grid(panels, title, described, parameters=[legend_selection("class")])


def _class_name(label: int, classes: Sequence[str]) -> str:
    name = classes[label] if label < len(classes) else ""
    return str(label) if name in ("", str(label)) else f"{label} {name}"
