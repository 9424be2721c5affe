"""Eigenvalues of the covariance of features and embeddings: what collapses shows as a cliff. Means over seeds;
those at step 0 stand beside them as thin lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

from matplotlib.figure import Figure

from harness.analysis.figures.style import legend, looks, panels
from harness.analysis.report.rows import Row

SPACES = {"h": "features h", "v": "embeddings v"}
FLOOR = 1e-7  # of the largest eigenvalue: below it stands rounding of float32 features


def spectra(title: str, rows: Sequence[Row]) -> Figure | None:
    """Datasets down, features and embeddings across; None where no run stored a spectrum."""
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    spaces = [name for name in SPACES if any(spectrum(row, name) for row in rows)]
    if not spaces:
        return None
    shown = looks(rows)
    figure, axes = panels(title, len(datasets), len(spaces), legend=True)
    drawn: dict[str, None] = {}
    for (line, dataset), (column, space) in product(enumerate(datasets), enumerate(spaces)):
        axis = axes[line][column]
        for row in (row for row in rows if row.dataset == dataset):
            look = shown[row.name]
            for stored, width in ((f"initial_{space}", 0.4), (space, 1.3)):
                values = spectrum(row, stored)
                if values:
                    ranks = range(1, len(values) + 1)
                    axis.plot(ranks, values, color=look.colour, linestyle=look.dash, linewidth=width)
                    drawn[row.name] = None
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylabel("eigenvalue / largest")
        axis.set_xlabel(f"rank, {SPACES[space]}" + (f", {dataset}" if len(datasets) > 1 else ""))
    legend(figure, drawn, shown, points=False)
    if any(spectrum(row, f"initial_{space}") for row in rows for space in spaces):
        figure.supxlabel("thin: at step 0", fontsize=7)
    return figure


def spectrum(row: Row, space: str) -> list[float]:
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
