"""Pictures of a sweep: how the search went, the landscape it saw, a slice for each setting, importances. Owns what is
drawn; looks and files are `harness.analysis.figures.style`'s. Needs matplotlib (the extra `figures`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from optuna.distributions import CategoricalDistribution

from harness.analysis.figures.style import COLLAPSED, COLOURS, CONTROL, panels, plain, save
from harness.suite.planned import shown
from harness.sweep.pictures import HEADINGS
from harness.sweep.report import importances
from harness.sweep.space import Setting
from harness.sweep.trials import StudyResult, Trial

COLUMNS = 3
RESOLUTION = 60  # of a heat map, in each direction that is a range
NEIGHBOURS_LENGTH = 0.08  # of the side of a heat map: how far a trial's value is smeared


def write_plots(directory: Path, found: Sequence[StudyResult], score: str) -> dict[str, list[Path]]:
    """Write every picture that there is something for, as PNG and SVG; heading -> the PNGs.

    Args:
        score: what the trials are judged by, as an axis is labelled.
    """
    found = [here for here in found if any(trial.value is not None for trial in here.trials)]
    pictures = {
        "history": _history(directory / "history", found, score),
        "landscape": _landscapes(directory / "landscape", found, score),
        "slices": _slices(directory / "slices", found, score),
        "importances": _bars(directory / "importances", found),
    }
    return {HEADINGS[name]: files for name, files in pictures.items() if files}


def _history(stem: Path, found: Sequence[StudyResult], score: str) -> list[Path]:
    if not found:
        return []
    figure, axes = _panels("Every trial, and the best so far", len(found))
    for axis, here in zip(axes, found, strict=False):
        done = [trial for trial in here.trials if trial.value is not None]
        axis.plot([t.index for t in done], [t.value or 0.0 for t in done], "o", color=COLOURS[0], markersize=3.5)
        _mark_ended_early(axis, here.trials)
        values = np.array([trial.value for trial in done], dtype=float)
        so_far = here.row.metric.sign * np.maximum.accumulate(here.row.metric.sign * values)
        axis.step([t.index for t in done], so_far, where="post", color=COLOURS[1], linewidth=1.2)
        axis.set_title(here.row.title, fontsize=9)
        axis.set_xlabel("trial")
        axis.set_ylabel(score)
    figure.supxlabel("crosses below: pruned (grey), failed (red)", fontsize=7)
    return save(figure, stem)[:1]


def _mark_ended_early(axis: Axes, trials: Sequence[Trial]) -> None:
    for state, colour in (("pruned", CONTROL), ("failed", COLLAPSED)):
        places = [trial.index for trial in trials if trial.outcome == state]
        axis.plot(places, [0.02] * len(places), "x", color=colour, markersize=4, transform=axis.get_xaxis_transform())


def _landscapes(stem: Path, found: Sequence[StudyResult], score: str) -> list[Path]:
    """The first two numeric settings of each row that has two."""
    drawn = [(here, pair) for here in found if (pair := _pair(here)) is not None]
    if not drawn:
        return []
    figure, axes = _panels("Validation score over two settings, smeared between the trials (points)", len(drawn))
    for axis, (here, (across, up)) in zip(axes, drawn, strict=False):
        done = [trial for trial in here.trials if trial.value is not None]
        x, y = (np.array([s.position(t.values[s.name]) for t in done]) for s in (across, up))
        values = np.array([trial.value for trial in done], dtype=float)
        sign, colours = here.row.metric.sign, "viridis" if here.row.metric.higher_is_better else "viridis_r"
        low, high = _limits(sign * values)
        norm = Normalize(min(sign * low, sign * high), max(sign * low, sign * high))
        columns, rows = _ticks(across), _ticks(up)
        grid = _smeared(x, y, values, columns, rows)
        axis.pcolormesh(columns, rows, grid, cmap=colours, norm=norm, shading="nearest", rasterized=True)
        axis.scatter(x, y, c=values, cmap=colours, norm=norm, s=22, edgecolors="white", linewidths=0.7)
        leader = here.best
        assert leader is not None
        peak = [s.position(leader.values[s.name]) for s in (across, up)]
        axis.plot(*peak, marker="*", color=COLLAPSED, markersize=11, markeredgecolor="white", clip_on=False)
        _label(axis, across, "x")
        _label(axis, up, "y")
        axis.grid(False)
        axis.set_title(f"{here.row.title}: best {here.row.metric.text(leader.value or 0.0)}", fontsize=9)
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=axis)
        bar.set_label(score, fontsize=8)
        bar.ax.tick_params(labelsize=7)
    figure.supxlabel("star: the best trial; colours end where the worst tenth of the scores begins", fontsize=7)
    return save(figure, stem)[:1]


def _limits(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Of values of which more is better. Colours are for the good part: a few diverged trials would leave one for the
    rest."""
    low, high = float(np.quantile(values, 0.1)), float(values.max())
    return (low, high) if high > low else (high - 1.0, high)


def _smeared(x: Any, y: Any, values: Any, columns: Any, rows: Any) -> npt.NDArray[np.float64]:
    """Means of the trials' values weighted by nearness (rows, columns): a picture, not a model."""
    distance = (columns[None, :, None] - x) ** 2 + (rows[:, None, None] - y) ** 2  # (rows, columns, trials)
    weights = 1.0 / (distance + NEIGHBOURS_LENGTH**2) ** 2
    return np.asarray((weights * values).sum(-1) / weights.sum(-1), dtype=np.float64)


def _slices(stem: Path, found: Sequence[StudyResult], score: str) -> list[Path]:
    """Every setting of every row alone."""
    shown_ = [(here, s) for here in found for s in here.row.space.settings if _varies(s)]
    if not shown_:
        return []
    figure, axes = _panels("Score by each setting, whatever the others were", len(shown_))
    for axis, (here, setting) in zip(axes, shown_, strict=False):
        done = [trial for trial in here.trials if trial.value is not None]
        places = [setting.position(trial.values[setting.name]) for trial in done]
        order = [trial.index for trial in done]
        axis.scatter(places, [t.value or 0.0 for t in done], c=order, cmap="Blues", vmin=-len(order), s=16)
        _label(axis, setting, "x")
        axis.set_ylabel(score)
        axis.set_title(here.row.title, fontsize=9)
    figure.supxlabel("darker: later trials", fontsize=7)
    return save(figure, stem)[:1]


def _bars(stem: Path, found: Sequence[StudyResult]) -> list[Path]:
    shares = [(here.row.title, importances(here)) for here in found]
    shares = [(title, of_row) for title, of_row in shares if len(of_row) > 1]
    if not shares:
        return []
    figure, axes = _panels("Importance of each setting (fANOVA)", len(shares))
    for axis, (title, of_row) in zip(axes, shares, strict=False):
        names = list(of_row)
        axis.barh(names, [of_row[name] for name in names], color=COLOURS[0], height=0.6)
        axis.invert_yaxis()
        axis.set_xlim(0, 1)
        axis.set_title(title, fontsize=9)
    return save(figure, stem)[:1]


def _panels(title: str, count: int) -> tuple[Any, list[Axes]]:
    columns = min(COLUMNS, count)
    figure, axes = panels(title, math.ceil(count / columns), columns, legend=False)
    flat = [axis for line in axes for axis in line]
    for axis in flat[count:]:
        axis.set_visible(False)
    for axis in flat[:count]:
        plain(axis)
    return figure, flat[:count]


def _varies(setting: Setting) -> bool:
    return not setting.distribution.single()


def _pair(here: StudyResult) -> tuple[Setting, Setting] | None:
    numeric = [s for s in here.row.space.settings if _varies(s) and s.numeric]
    numeric.sort(key=lambda setting: setting.choices is not None)  # a range goes across
    return (numeric[0], numeric[1]) if len(numeric) > 1 else None


def _ticks(setting: Setting) -> npt.NDArray[np.float64]:
    """Places at which a heat map has a colour: each choice, or finely along a range."""
    return np.linspace(0.0, 1.0, RESOLUTION if setting.choices is None else len(setting.choices))


def _label(axis: Axes, setting: Setting, which: str) -> None:
    """Ticks that say values."""
    limits = setting.distribution
    if isinstance(limits, CategoricalDistribution):
        marks: list[Any] = list(limits.choices)
        texts = [shown(mark) for mark in marks]
    else:
        marks = _decades(limits.low, limits.high) if limits.log else list(np.linspace(limits.low, limits.high, 4))
        texts = [f"{mark:.3g}" for mark in marks]
        getattr(axis, f"set_{which}lim")(-0.02, 1.02)
    getattr(axis, f"set_{which}ticks")([setting.position(mark) for mark in marks], texts)
    getattr(axis, f"set_{which}label")(setting.name)


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten inside a range, and its ends where there are fewer than two."""
    powers = [10.0**p for p in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    return powers if len(powers) > 1 else [low, *powers, high]
