"""What the page's script draws, as one JSON object of plain values. Owns its shape; every number in it is rounded to
five digits, so that the page stays small and equal stores give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.analysis.entries import title_of
from harness.analysis.report.curves import curve, measures_of, rounded
from harness.analysis.report.frontier import COSTS, OF_HARDWARE, fronts
from harness.analysis.report.projection import Projections
from harness.analysis.report.rows import Row, measured_metrics, titles_of
from harness.store.records import Sample

_COST_AXES = {
    "train_flops": ("training FLOPs (forward and backward)", 1.0),
    "views_seen": ("views seen in training", 1.0),
    "train_seconds": ("training seconds", 1.0),
    "peak_memory_bytes": ("peak memory, MiB", 2.0**20),
    "energy_joules": ("energy of training, kJ", 1e3),
}
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


def payload(
    rows: Sequence[Row], projections: Projections, classes: Mapping[str, Sequence[str]], baseline: str | None
) -> dict[str, Any]:
    """The object the script reads.

    Args:
        rows: of `rows_of`.
        classes: dataset label -> names of its classes, where they are known.
        baseline: row that the suite compares with; its projection is shown where a suite has no untrained one.
    """
    metrics, titles = measured_metrics(rows), titles_of(rows)
    measures = measures_of(rows)
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    return {
        "classes": {name: list(classes[name]) for name in datasets if name in classes},
        "controls": {name: control_of(rows, name, baseline) for name in datasets},
        "costs": [_cost(rows, name) for name in COSTS],
        "curves": [{"name": name, "title": curve_title(name, titles)} for name in measures],
        "datasets": datasets,
        "fronts": {name: _fronts(rows, name, metrics) for name in datasets},
        "metrics": [{"name": name, "title": title_of(name, titles)} for name in metrics],
        "rows": [_row(row, metrics, measures, projections) for row in rows],
    }


def control_of(rows: Sequence[Row], dataset: str, baseline: str | None) -> int | None:
    """Index of the row beside which projections are shown: untrained, else the baseline."""
    here = [i for i, row in enumerate(rows) if row.dataset == dataset and sample_of(row) is not None]
    untrained = [i for i in here if rows[i].method == "untrained"]
    found = untrained or [i for i in here if rows[i].name == baseline]
    return found[0] if found else None


def sample_of(row: Row) -> Sample | None:
    """The sample of the row's first seed that has one, or None."""
    return next((result.sample for result in row.results if result.sample is not None), None)


def curve_title(name: str, titles: Mapping[str, str]) -> str:
    """How a curve's axis is called.

    Args:
        titles: headings of metrics.
    """
    if name in _CURVE_TITLES:
        return _CURVE_TITLES[name]
    space, _, rest = name.partition("_")
    if space in _SPACES and rest in _CURVE_TITLES:
        return f"{_CURVE_TITLES[rest]}, {_SPACES[space]}"
    return title_of(name, titles)


def _cost(rows: Sequence[Row], name: str) -> dict[str, Any]:
    title, _ = _COST_AXES[name]
    recorded = any(row.mean(name) for row in rows)
    return {"name": name, "title": title, "hardware": name in OF_HARDWARE, "recorded": recorded}


def _fronts(rows: Sequence[Row], dataset: str, metrics: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    here = [index for index, row in enumerate(rows) if row.dataset == dataset]
    own = [rows[index] for index in here]
    return {cost: {metric: [here[i] for i in fronts(own, cost, metric)] for metric in metrics} for cost in COSTS}


def _row(row: Row, metrics: Sequence[str], measures: Sequence[str], projections: Projections) -> dict[str, Any]:
    curves = {name: curve(row, name) for name in measures}
    return {
        "name": row.name,
        "dataset": row.dataset,
        "control": row.control,
        "collapsed": row.collapsed,
        "runs": [row.done, len(row.records)],
        "hardware": list(row.hardware),
        "cost": {name: rounded(_in_unit(row, name)) for name in COSTS},
        "metric": {name: _spread(row, name) for name in metrics},
        "curve": {name: found for name, found in curves.items() if found is not None},
        "spectrum": _spectra(row),
        "geometry": [rounded(_diagnostic(row, name)) for name in ("h_alignment", "h_uniformity")],
        "sample": _sample(row, projections),
    }


def _in_unit(row: Row, name: str) -> float | None:
    mean = row.mean(name)
    return None if mean is None else mean / _COST_AXES[name][1]


def _spread(row: Row, metric: str) -> list[float | None] | None:
    """Mean, smallest and largest over the seeds."""
    values, mean = row.values(metric).values(), row.mean(metric)
    return None if mean is None else [rounded(value) for value in (mean, min(values), max(values))]


def _diagnostic(row: Row, name: str) -> float | None:
    values = [rounded(result.diagnostics.get(name)) for result in row.results]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _spectra(row: Row) -> dict[str, list[float | None]]:
    """Leading eigenvalues of the first seed, at the end and at step 0, in units of the largest of each."""
    stored = row.results[0].spectra if row.results else {}
    spectra = {}
    for name in (*_SPACES, *(f"initial_{space}" for space in _SPACES)):
        values = stored.get(name)
        if values and values[0]:
            spectra[name] = [rounded(value / values[0]) for value in values]
    return spectra


def _sample(row: Row, projections: Projections) -> dict[str, Any] | None:
    sample = sample_of(row)
    plane = None if sample is None else projections.plane(sample)
    if sample is None or plane is None:
        return None
    seed = next(result.cell.seed for result in row.results if result.sample is not None)
    return {"seed": seed, "labels": list(sample.labels), "xy": plane, "explained": rounded(sample.explained)}
