"""Charts of a sweep: how the search went, the landscape it saw, a slice for each setting, importances. Owns what is
drawn; looks and files are `harness.analysis.charts`'. Each is written as PNG, as SVG, and as the specification from
which the report draws it on its page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
from altair.typing import ChartType
from optuna.distributions import CategoricalDistribution

from harness.analysis.charts.files import save_chart
from harness.analysis.charts.style import (
    COLLAPSED,
    CONTROL,
    INK,
    PALETTE,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    PAPER,
    ROW_HEIGHT,
    inline_data,
    panel_grid,
)
from harness.store.atomic import write_text
from harness.suite.planned import shown
from harness.sweep.pictures import CHART, HEADINGS
from harness.sweep.report import importances
from harness.sweep.space import Setting
from harness.sweep.trials import StudyResult, Trial

RESOLUTION = 30  # cells of a heat map, in each direction that is a range
SMOOTHING_LENGTH = 0.08  # of the side of a heat map: how far a trial's value reaches
_STATES = {"done": PALETTE[0], "pruned": CONTROL, "failed": COLLAPSED, "best so far": PALETTE[1]}
_TOOLTIP = ["trial:Q", "value:Q", "settings:N"]


def write_plots(directory: Path, results: Sequence[StudyResult], score: str) -> dict[str, list[Path]]:
    """Write every chart that there is something for; heading -> its PNG.

    Args:
        score: what the trials are judged by, as an axis is labelled.
    """
    searches = [search for search in results if any(trial.value is not None for trial in search.trials)]
    charts = {
        "history": history_chart(searches, score),
        "landscape": landscape_chart(searches, score),
        "slices": slices_chart(searches, score),
        "importances": importances_chart(searches),
    }
    written = {}
    for name, chart in charts.items():
        if chart is not None:
            written[HEADINGS[name]] = save_chart(chart, directory / name)[:1]
            write_text(directory / f"{name}{CHART}", json.dumps(chart.to_dict(), sort_keys=True, ensure_ascii=False))
    return written


def history_chart(searches: Sequence[StudyResult], score: str) -> ChartType | None:
    """Every trial in its turn, and the best so far; None without a trial."""
    panels = [_titled(_history(search, score), search.row.title) for search in searches]
    notes = ["crosses below: pruned or failed, without a value"]
    described = "The score of every trial in its turn, and the best so far"
    return panel_grid(panels, "Every trial, and the best so far", described, notes=notes) if panels else None


def _history(search: StudyResult, score: str) -> ChartType:
    done = [trial for trial in search.trials if trial.value is not None]
    ended_early = [trial for trial in search.trials if trial.value is None and trial.outcome in _STATES]
    sign = search.row.metric.sign
    best_so_far = sign * np.maximum.accumulate([sign * (trial.value or 0.0) for trial in done])
    steps = [
        {"trial": trial.index, "value": float(value), "state": "best so far"}
        for trial, value in zip(done, best_so_far, strict=True)
    ]
    states = [state for state in _STATES if state in ("done", "best so far", *(trial.outcome for trial in ended_early))]
    colours = alt.Scale(domain=states, range=[_STATES[state] for state in states])
    colour = alt.Color("state:N", scale=colours, legend=alt.Legend(symbolType="circle"))
    x = alt.X("trial:Q", title="trial", axis=alt.Axis(tickMinStep=1, format="d"))
    y = alt.Y("value:Q", title=score, scale=alt.Scale(zero=False))

    def chart(trials: Sequence[Trial]) -> alt.Chart:
        data = inline_data([_described(trial, {"state": trial.outcome}) for trial in trials])
        return alt.Chart(data).encode(x=x, color=colour, tooltip=[*_TOOLTIP, "state:N"])

    line = alt.Chart(inline_data(steps)).mark_line(interpolate="step-after", strokeWidth=1.2)
    crosses = chart(ended_early).mark_point(shape="cross", angle=45, filled=True, size=40)
    layers = [line.encode(x=x, y=y, color=colour), chart(done).mark_point(filled=True, size=28).encode(y=y)]
    return alt.layer(*layers, *([crosses.encode(y=alt.value(PANEL_HEIGHT - 6))] if ended_early else []))


def landscape_chart(searches: Sequence[StudyResult], score: str) -> ChartType | None:
    """The score over the first two numeric settings of each row that has two; None where no row has."""
    panels = [
        _landscape(search, pair, score) for search in searches if (pair := _two_numeric_settings(search)) is not None
    ]
    if not panels:
        return None
    notes = ["points are trials, the ring is the best; colours end where the worst tenth of the scores begins"]
    title = "Validation score over two settings, smoothed between the trials"
    return panel_grid(panels, title, title, notes=notes, share_colours=False)


def _landscape(search: StudyResult, pair: tuple[Setting, Setting], score: str) -> ChartType:
    across, up = pair
    done = [trial for trial in search.trials if trial.value is not None]
    values = np.array([trial.value for trial in done], dtype=float)
    metric = search.row.metric
    low, high = colour_limits(metric.sign * values)
    limits = sorted((metric.sign * low, metric.sign * high))
    scale = alt.Scale(scheme="viridis", reverse=not metric.higher_is_better, domain=limits, clamp=True)
    colour = alt.Color("value:Q", scale=scale, legend=alt.Legend(title=score, gradientLength=PANEL_HEIGHT - 30))
    cells_x, cells_y = _cells(across), _cells(up)
    x, y = (np.array([setting.position(trial.values[setting.name]) for trial in done]) for setting in pair)
    columns, rows = (np.array([cell["place"] for cell in cells]) for cells in (cells_x, cells_y))
    smooth = smoothed(x, y, values, columns, rows)
    grid = [
        {"x": cell["from"], "x2": cell["to"], "y": other["from"], "y2": other["to"], "value": float(smooth[j, i])}
        for i, cell in enumerate(cells_x)
        for j, other in enumerate(cells_y)
    ]
    ends: dict[str, Any] = {"x2": "x2"} if across.choices is None else {}
    ends |= {"y2": "y2"} if up.choices is None else {}
    channels = {"x": alt.X(**_axis(across, "x")), "y": alt.Y(**_axis(up, "y"))}
    heat = alt.Chart(inline_data(grid)).mark_rect().encode(**channels, **ends, color=colour)
    points = [_described(trial, {"x": _value(across, trial), "y": _value(up, trial)}) for trial in done]
    leader = search.best
    trials = alt.Chart(inline_data(points)).mark_circle(size=40, opacity=1, stroke=PAPER, strokeWidth=0.8)
    ring = alt.Chart(inline_data([point for point in points if leader is not None and point["trial"] == leader.index]))
    marked = ring.mark_point(size=160, stroke=COLLAPSED, strokeWidth=2.5, fillOpacity=0).encode(**channels)
    title = f"{search.row.title}: best {metric.text(leader.value or 0.0)}" if leader is not None else search.row.title
    return _titled(alt.layer(heat, trials.encode(**channels, color=colour, tooltip=_TOOLTIP), marked), title)


def colour_limits(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Of values of which more is better. Colours are for the good part: a few diverged trials would leave one for the
    rest."""
    low, high = float(np.quantile(values, 0.1)), float(values.max())
    return (low, high) if high > low else (high - 1.0, high)


def smoothed(x: Any, y: Any, values: Any, columns: Any, rows: Any) -> npt.NDArray[np.float64]:
    """Means of the trials' values weighted by nearness (rows, columns): a picture, not a model."""
    distance = (columns[None, :, None] - x) ** 2 + (rows[:, None, None] - y) ** 2  # (rows, columns, trials)
    weights = 1.0 / (distance + SMOOTHING_LENGTH**2) ** 2
    return np.asarray((weights * values).sum(-1) / weights.sum(-1), dtype=np.float64)


def slices_chart(searches: Sequence[StudyResult], score: str) -> ChartType | None:
    """The score by each setting of every row alone; None where nothing varies."""
    shades = alt.Scale(range=["#bcd9ec", "#08306b"])
    later = alt.Color("trial:Q", scale=shades, legend=alt.Legend(title="trial"))
    panels = []
    for search in searches:
        done = [trial for trial in search.trials if trial.value is not None]
        for setting in (setting for setting in search.row.space.settings if _varies(setting)):
            points = [_described(trial, {"x": _value(setting, trial)}) for trial in done]
            chart = (
                alt.Chart(inline_data(points))
                .mark_circle(size=36, opacity=1)
                .encode(
                    x=alt.X(**_axis(setting, "x")),
                    y=alt.Y("value:Q", title=score, scale=alt.Scale(zero=False)),
                    color=later,
                    tooltip=_TOOLTIP,
                )
            )
            panels.append(_titled(chart, search.row.title))
    title = "Score by each setting, whatever the others were"
    return panel_grid(panels, title, title, notes=["darker: later trials"]) if panels else None


def importances_chart(searches: Sequence[StudyResult]) -> ChartType | None:
    """Each setting's share; None where no row has two settings and enough trials."""
    panels = []
    for search in searches:
        shares = importances(search)
        if len(shares) > 1:
            bars = [{"setting": name, "importance": share} for name, share in shares.items()]
            chart = (
                alt.Chart(inline_data(bars))
                .mark_bar(color=PALETTE[0])
                .encode(
                    x=alt.X("importance:Q", scale=alt.Scale(domain=[0, 1])),
                    y=alt.Y("setting:N", title=None, sort=None),
                    tooltip=["setting:N", alt.Tooltip("importance:Q", format=".2f")],
                )
            )
            panels.append(_titled(chart, search.row.title).properties(height=ROW_HEIGHT * len(bars)))
    title = "Importance of each setting (fANOVA)"
    return panel_grid(panels, title, title) if panels else None


def _titled(panel: ChartType, title: str) -> ChartType:
    return panel.properties(width=PANEL_WIDTH, height=PANEL_HEIGHT, title=alt.Title(title, fontSize=11, color=INK))


def _described(trial: Trial, more: Mapping[str, Any]) -> dict[str, Any]:
    """A trial as charts and their tooltips have it."""
    return {"trial": trial.index, "value": trial.value, "settings": trial.row.text(trial.values), **more}


def _varies(setting: Setting) -> bool:
    return not setting.distribution.single()


def _two_numeric_settings(search: StudyResult) -> tuple[Setting, Setting] | None:
    numeric = [setting for setting in search.row.space.settings if _varies(setting) and setting.numeric]
    numeric.sort(key=lambda setting: setting.choices is not None)  # a range goes across
    return (numeric[0], numeric[1]) if len(numeric) > 1 else None


def _value(setting: Setting, trial: Trial) -> Any:
    """A trial's value of a setting, as it is drawn: choices in words."""
    value = trial.values[setting.name]
    return value if setting.choices is None else shown(value)


def _axis(setting: Setting, channel: str) -> dict[str, Any]:
    """The arguments of a position channel: a range as it was searched, choices in their order."""
    limits = setting.distribution
    if isinstance(limits, CategoricalDistribution):
        order = [shown(value) for value in limits.choices]
        axis = alt.Axis(labelAngle=0, grid=False)
        order = order[::-1] if channel == "y" else order
        scale = alt.Scale(type="band", domain=order, padding=0)
        return {"field": channel, "type": "ordinal", "title": setting.name, "scale": scale, "axis": axis}
    scale = alt.Scale(type="log" if limits.log else "linear", domain=[limits.low, limits.high], nice=False)
    axis = alt.Axis(tickCount=4, format="~g", grid=False)
    return {"field": channel, "type": "quantitative", "title": setting.name, "scale": scale, "axis": axis}


def _cells(setting: Setting) -> list[dict[str, Any]]:
    """The cells of a heat map along a setting: each choice, or many parts of a range."""
    limits = setting.distribution
    if isinstance(limits, CategoricalDistribution):
        return [{"place": setting.position(v), "from": shown(v), "to": shown(v)} for v in limits.choices]
    steps = np.linspace(0.0, 1.0, RESOLUTION + 1)
    ratio, length = limits.high / (limits.low or 1.0), limits.high - limits.low
    edges = limits.low * ratio**steps if limits.log else limits.low + length * steps
    middles = (steps[1:] + steps[:-1]) / 2
    ends = zip(middles, edges[:-1], edges[1:], strict=True)
    return [{"place": float(middle), "from": float(low), "to": float(high)} for middle, low, high in ends]
