"""What all charts share: sizes, colours, how a row looks, the grid of panels. Owns no data.

A chart is drawn on the report's page and into files from one description, so nothing here may depend on a clock, a
counter or the network: names of parameters are given, never drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
from altair.typing import ChartType

from harness.analysis.row_results import RowResults

PANEL_WIDTH, PANEL_HEIGHT = 250, 180  # pixels; 72 to an inch of the files
ROW_HEIGHT = 20
INK, GRID, PAPER = "#1b1f23", "#d9dcdb", "#ffffff"
CONTROL, COLLAPSED = "#7d848b", "#c4442b"
# Okabe and Ito's colours, which colour-blind readers tell apart, without their black and yellow (too faint on white)
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6a3d9a", "#8c564b")
DARK: Mapping[str, str] = {
    INK: "#e8eaed",
    GRID: "#363c43",
    PAPER: "#14171a",
    CONTROL: "#99a1a9",
    COLLAPSED: "#ff9d78",
    PALETTE[0]: "#4aa8e8",
    PALETTE[1]: "#ff9248",
    PALETTE[2]: "#33c99b",
    PALETTE[3]: "#e79bc4",
    PALETTE[4]: "#9fdcff",
    PALETTE[5]: "#f0c040",
    PALETTE[6]: "#b9a2f5",
    PALETTE[7]: "#c99a8d",
}
"""The same colours on a dark page, which replaces them by its style sheet."""
DASHES = ((1, 0), (6, 2), (2, 2), (8, 2, 2, 2))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

_TEXT = {"labelColor": INK, "titleColor": INK, "labelFontSize": 10, "titleFontSize": 11, "titleFontWeight": "normal"}
_AXIS = {"gridColor": GRID, "domainColor": INK, "tickColor": INK, "labelLimit": 260, "labelFlush": False}
_LEGEND = {"symbolLimit": 0, "labelLimit": 280, "symbolStrokeWidth": 2, "symbolSize": 80, "symbolOpacity": 1}
CONFIG: dict[str, Any] = {
    "font": "sans-serif",
    "axis": _TEXT | _AXIS,
    "legend": {"title": None} | _TEXT | _LEGEND,
    "title": {"anchor": "start", "color": INK, "fontSize": 14, "subtitleColor": INK, "subtitleFontSize": 10},
    "view": {"stroke": None},
    "text": {"color": INK},
}


@dataclass(frozen=True)
class RowStyle:
    """How one row is drawn wherever it appears: a method's rows share a colour, controls are grey."""

    colour: str
    dash: tuple[int, ...]
    shape: str


def row_styles(rows: Sequence[RowResults]) -> dict[str, RowStyle]:
    """By the row's name, in the order of the rows."""
    methods = list(dict.fromkeys(row.method for row in rows if not row.control))
    controls = list(dict.fromkeys(row.method for row in rows if row.control))
    styles: dict[str, RowStyle] = {}
    rows_seen: dict[str, int] = {}  # of each method
    for row in rows:
        if row.name in styles:
            continue
        variant = rows_seen.get(row.method, 0)
        rows_seen[row.method] = variant + 1
        place = (controls if row.control else methods).index(row.method)
        turns = place if row.control else place // len(PALETTE)
        colour = CONTROL if row.control else PALETTE[place % len(PALETTE)]
        styles[row.name] = RowStyle(
            colour, DASHES[(variant + turns) % len(DASHES)], SHAPES[(place + variant) % len(SHAPES)]
        )
    return styles


def row_channels(rows: Sequence[RowResults], drawn: Iterable[str], *, points: bool = False) -> dict[str, Any]:
    """Colour, and dash or shape, of the field `row`, with one legend of the names drawn; others fade when one of them
    is selected (`legend_selection`)."""
    names = set(drawn)
    styles = {name: style for name, style in row_styles(rows).items() if name in names}
    legend = alt.Legend() if points else alt.Legend(symbolType="stroke", symbolSize=400)

    def scale(values: list[Any]) -> alt.Scale:
        return alt.Scale(domain=list(styles), range=values)

    channels: dict[str, Any] = {
        "color": alt.Color("row:N", scale=scale([style.colour for style in styles.values()]), legend=legend),
        "opacity": alt.when(legend_selection("row")).then(alt.value(1)).otherwise(alt.value(0.08)),
    }
    if points:
        shapes = scale([style.shape for style in styles.values()])
        return channels | {"shape": alt.Shape("row:N", scale=shapes, legend=legend)}
    dashes = scale([list(style.dash) for style in styles.values()])
    return channels | {"strokeDash": alt.StrokeDash("row:N", scale=dashes, legend=legend)}


def legend_selection(field: str) -> alt.Parameter:
    """What is chosen in the legend of a field, by click; several with shift."""
    return alt.selection_point(name="selected", fields=[field], bind="legend")


def choice(name: str, options: Sequence[str], label: str) -> alt.Parameter:
    """A select box below the chart on the page; files show its first option."""
    return alt.param(name=name, value=options[0], bind=alt.binding_select(options=list(options), name=f"{label} "))


def chosen_title(name: str, side: Literal["bottom", "left"]) -> alt.Title:
    """A panel's title in the place of an axis title: what is chosen in a select box."""
    return alt.Title(alt.expr(name), orient=side, anchor="middle", fontSize=11, fontWeight="normal")


def zoomable(panel: ChartType, name: str) -> ChartType:
    """The panel moves with the mouse, and grows with ctrl and the wheel (the wheel alone scrolls the page)."""
    return panel.add_params(alt.selection_interval(name=name, bind="scales", zoom="wheel![event.ctrlKey]"))


def panel_grid(
    panels: Sequence[ChartType],
    title: str,
    description: str,
    *,
    notes: Sequence[str] = (),
    columns: int = 3,
    parameters: Sequence[alt.Parameter] = (),
    share_colours: bool = True,
) -> ChartType:
    """The chart of these panels, side by side.

    Args:
        title: may be empty, on a page that has a heading.
        description: what a screen reader says.
        notes: how to read it, below the title.
        parameters: of the whole chart.
        share_colours: False gives each panel a legend of its own.
    """
    first = panels[0].add_params(*parameters) if parameters else panels[0]
    chart = alt.concat(first, *panels[1:], columns=min(columns, len(panels)), spacing=24)
    if not share_colours:
        chart = chart.resolve_scale(color="independent")
    if title:
        chart = chart.properties(title=alt.Title(title, subtitle=list(notes)))
    elif notes:
        chart = chart.properties(title=alt.Title(list(notes), fontSize=10, fontWeight="normal"))
    return chart.properties(description=description, background=PAPER, config=CONFIG)


def fitted_scale(*, log: bool = False) -> alt.Scale:
    """From the lowest to the highest value, with room for the marks."""
    return alt.Scale(type="log", nice=False, padding=12) if log else alt.Scale(zero=False, nice=False, padding=12)


def inline_data(values: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Values as a chart's data; numbers to five digits, so that files stay small."""
    return alt.InlineData(values=[{key: _short(value) for key, value in record.items()} for record in values])


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
