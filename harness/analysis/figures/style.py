"""What all figures share: size, colours, legend, and how they become files. Owns no data.

The same figure gives the same bytes: no clock, no fonts but matplotlib's own, identifiers in the SVG from a fixed salt.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.report.rows import Row
from harness.store.atomic import write_bytes

DPI = 300
PANEL_WIDTH, PANEL_HEIGHT = 3.4, 2.6  # inches: two panels fill a paper's text width
CONTROL, COLLAPSED = "#8a8a8a", "#c4442b"
# Okabe and Ito's colours, which colour-blind readers tell apart, without their black and yellow (too faint on white)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6a3d9a", "#8c564b")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


@dataclass(frozen=True)
class Look:
    """How one row is drawn wherever it appears: a method's rows share a colour, controls are grey."""

    colour: str
    dash: Any
    marker: str


def looks(rows: Sequence[Row]) -> dict[str, Look]:
    """By the row's name, in the order of the rows."""
    methods = list(dict.fromkeys(row.method for row in rows if not row.control))
    controls = list(dict.fromkeys(row.method for row in rows if row.control))
    found: dict[str, Look] = {}
    variants: dict[str, int] = {}
    for row in rows:
        if row.name in found:
            continue
        variant = variants.get(row.method, 0)
        variants[row.method] = variant + 1
        if row.control:
            place = controls.index(row.method) + variant
            found[row.name] = Look(CONTROL, DASHES[place % len(DASHES)], MARKERS[place % len(MARKERS)])
            continue
        place = methods.index(row.method)
        dash = DASHES[(variant + place // len(COLOURS)) % len(DASHES)]
        found[row.name] = Look(COLOURS[place % len(COLOURS)], dash, MARKERS[(place + variant) % len(MARKERS)])
    return found


def new_figure(title: str, width: float, height: float) -> Figure:
    """An empty figure of so many inches with its title to the left."""
    with matplotlib.rc_context({"font.size": 9.0}):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def panels(title: str, rows: int, columns: int, legend: bool) -> tuple[Figure, list[list[Axes]]]:
    """A figure of so many rows and columns of panels, with room for a legend at the right if there is one."""
    width = PANEL_WIDTH * columns + (1.9 if legend else 0.0)
    figure = new_figure(title, width, PANEL_HEIGHT * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        plain(axis)
    return figure, [list(line) for line in axes]


def plain(axis: Axes) -> None:
    """No box, a faint grid, small ticks."""
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.xaxis.label.set_fontsize(9)
    axis.yaxis.label.set_fontsize(9)


def legend(figure: Figure, names: Iterable[str], shown: Mapping[str, Look], *, points: bool) -> None:
    """Names at the right, with lines or with points."""
    handles = []
    for name in names:
        look = shown[name]
        drawn = {"marker": look.marker, "linestyle": ""} if points else {"linestyle": look.dash}
        handles.append(Line2D([], [], color=look.colour, label=name, linewidth=1.5, markersize=6, **drawn))
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8, handlelength=2.6)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg.

    Raises:
        StoreError: a file cannot be written.
    """
    written = []
    metadata: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    with matplotlib.rc_context({"svg.hashsalt": "ssl-harness", "svg.fonttype": "path"}):
        for kind, said in metadata.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=said, dpi=DPI)
            figure.set_layout_engine("none")  # everything has its place now: the second file need not seek it again
            path = stem.with_name(f"{stem.name}.{kind}")
            write_bytes(path, buffer.getvalue())
            written.append(path)
    return written
