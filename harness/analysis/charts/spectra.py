"""Eigenvalues of the covariance of features and embeddings: what collapses shows as a cliff. Means over seeds;
those at step 0 stand beside them as thin lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
from altair.typing import ChartType

from harness.analysis.charts.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    inline_data,
    legend_selection,
    panel_grid,
    row_channels,
)
from harness.analysis.row_results import RowResults

SPACES = {"h": "features h", "v": "embeddings v"}
WHEN = ["after training", "at step 0"]
FLOOR = 1e-7  # of the largest eigenvalue: below it stands rounding of float32 features
DECADES, RANK_TICKS = [10.0**-power for power in range(8)], [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]
RANKS = 60  # drawn of one spectrum, evenly on a logarithmic axis


def spectra_chart(title: str, rows: Sequence[RowResults]) -> ChartType | None:
    """Datasets down, features and embeddings across; None where no run stored a spectrum."""
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    spaces = [name for name in SPACES if any(spectrum(row, name) for row in rows)]
    if not spaces:
        return None
    drawn = {
        (dataset, space): [point for row in rows if row.dataset == dataset for point in _points(row, space)]
        for dataset in datasets
        for space in spaces
    }
    points = [point for panel in drawn.values() for point in panel]
    channels = row_channels(rows, {point["row"] for point in points})
    x_axis, y_axis = alt.Axis(values=RANK_TICKS), alt.Axis(values=DECADES, format="~e")
    widths = alt.Scale(domain=WHEN, range=[1.6, 0.5])
    panels = []
    for (dataset, space), own in drawn.items():
        heading = f"rank, {SPACES[space]}" + (f", {dataset}" if len(datasets) > 1 else "")
        lines = alt.Chart(inline_data(own), width=PANEL_WIDTH + 60, height=PANEL_HEIGHT + 20).mark_line()
        chart = lines.encode(
            **channels,
            x=alt.X("rank:Q", title=heading, scale=alt.Scale(type="log", nice=False), axis=x_axis),
            y=alt.Y("share:Q", title="eigenvalue / largest", scale=alt.Scale(type="log"), axis=y_axis),
            strokeWidth=alt.StrokeWidth("when:O", sort=WHEN, scale=widths, legend=None),
            tooltip=["row:N", "when:N"],
        )
        panels.append(chart)
    notes = ["thin: at step 0"] if any(point["when"] == WHEN[1] for point in points) else []
    described = f"Eigenvalue spectrum of the {' and '.join(SPACES[space] for space in spaces)}, a line for each row"
    parameters = [legend_selection("row")]
    return panel_grid(panels, title, described, notes=notes, columns=len(spaces), parameters=parameters)


def _points(row: RowResults, space: str) -> list[dict[str, Any]]:
    return [
        {"row": row.name, "when": when, "rank": rank, "share": share}
        for when, stored in zip(WHEN, (space, f"initial_{space}"), strict=True)
        for rank, share in _thin(spectrum(row, stored))
        if not math.isnan(share)
    ]


def _thin(shares: Sequence[float]) -> list[tuple[int, float]]:
    """Some of the ranks, from 1, with their shares."""
    count = len(shares)
    ranks = dict.fromkeys(round(count ** (step / (RANKS - 1))) for step in range(RANKS)) if count else {}
    return [(rank, shares[rank - 1]) for rank in ranks]


def spectrum(row: RowResults, space: str) -> list[float]:
    """Eigenvalues as shares of the largest, the geometric mean over seeds of each; NaN at and below `FLOOR`, empty
    without any.

    Args:
        space: as `CellResult.spectra` calls it.
    """
    stored = [result.spectra.get(space) or [] for result in row.results]
    runs = [[value / values[0] for value in values] for values in stored if values and values[0] > 0]
    ranks = list(zip(*runs, strict=False))  # of the shortest, should a run have fewer dimensions
    return [
        math.exp(math.fsum(map(math.log, shares)) / len(shares)) if min(shares) > FLOOR else math.nan
        for shares in ranks
    ]
