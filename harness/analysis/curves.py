"""Curves of training, thinned and rounded for charts. Owns no arithmetic but rounding and the mean of seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.analysis.entries import title_of
from harness.analysis.readings import is_number
from harness.analysis.row_results import RowResults, monitored_metrics

POINTS = 60  # of one curve: more are not told apart in a panel of a few hundred pixels
_LEFT_OUT = ("lr", "_dimensions", "_nonfinite_rows")


_CURVE_TITLES = {
    "loss": "training loss",
    "std": "per-dimension std × √D (1 isotropic, 0 collapsed)",
    "rankme": "RankMe",
    "participation_ratio": "participation ratio",
    "alpha_req": "α-ReQ, decay of the spectrum",
    "uniformity": "uniformity",
    "alignment": "alignment",
    "correlation": "mean |correlation| between dimensions",
    "scale": "scale (root mean square)",
    "slice_condition_max": "largest condition number of a slice",
    "slice_condition_median": "median condition number of the slices",
}
_SPACES = {"h": "encoder output h", "v": "head output v"}


def recorded_measures(rows: Sequence[RowResults]) -> list[str]:
    """Names of what was read more than once in some run: monitored metrics first, then loss, then diagnostics."""
    counts: dict[str, int] = {}
    for row in rows:
        for run in row.readings:
            own: dict[str, int] = {}
            for reading in run:
                for name in reading.values:
                    own[name] = own.get(name, 0) + 1
            counts = {name: max(counts.get(name, 0), own.get(name, 0)) for name in {**counts, **own}}
    measures = [name for name, count in counts.items() if count > 1 and not name.endswith(_LEFT_OUT)]
    accuracies = monitored_metrics(rows)
    return sorted(measures, key=lambda name: (_place(name, accuracies), name != "loss", name.startswith("loss_"), name))


def _place(name: str, first: Sequence[str]) -> int:
    return first.index(name) if name in first else len(first)


def training_curve(row: RowResults, measure: str) -> dict[str, Any] | None:
    """Epochs, views, mean seconds and every seed's values where all trained seeds have a reading.

    Returns None where there is none.
    """
    by_epoch = [{r.epoch: r for r in run if measure in r.values} for run in row.readings]
    runs = [run for run in by_epoch if run]
    if not runs:
        return None
    epochs = thin(sorted(set.intersection(*(set(run) for run in runs))), POINTS)
    seconds = [_mean([run[epoch].seconds for run in runs]) for epoch in epochs]
    seeds = [result.cell.seed for result, run in zip(row.results, by_epoch, strict=True) if run]
    return {
        "epoch": epochs,
        "views": [runs[0][epoch].views for epoch in epochs],
        "seconds": [rounded(value) for value in seconds],
        "seeds": seeds,
        "values": [[rounded(run[epoch].values[measure]) for epoch in epochs] for run in runs],
    }


def thin(items: Sequence[int], count: int) -> list[int]:
    """At most so many of the items, evenly spread, first and last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def rounded(value: Any) -> float | None:
    """Five significant digits; None for what is not a finite number."""
    return float(f"{value:.5g}") if is_number(value) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def curve_title(name: str, titles: Mapping[str, str]) -> str:
    """How a curve's axis is called.

    Args:
        titles: headings of metrics.
    """
    if name.startswith("loss_"):
        return f"loss term: {name.removeprefix('loss_')}"
    if name in _CURVE_TITLES:
        return _CURVE_TITLES[name]
    space, _, rest = name.partition("_")
    if space in _SPACES and rest in _CURVE_TITLES:
        return f"{_CURVE_TITLES[rest]}, {_SPACES[space]}"
    return title_of(name, titles)
