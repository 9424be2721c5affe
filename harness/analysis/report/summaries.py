"""The figures' numbers as tables, which stand without the script and are read by whoever sees no figure: curves at a
few epochs, costs with their front, the wait for an accuracy, the collapse panels. Owns their wording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.analysis.entries import Entry, title_of
from harness.analysis.frame import NOTHING
from harness.analysis.notes import rule_text
from harness.analysis.report.curves import curve, measures_of, thinned
from harness.analysis.report.data import curve_title
from harness.analysis.report.frontier import COSTS, Reached, fronts, reached, thresholds
from harness.analysis.report.rows import Row, metrics_of

_COLUMNS_OF_CURVES = 6


def curve_tables(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The curves of loss and accuracies as numbers: at most six epochs of each."""
    found = []
    for measure in [name for name in measures_of(rows) if name == "loss" or name.endswith("_top1")]:
        for dataset in dict.fromkeys(row.dataset for row in rows):
            drawn = [(row.name, curve(row, measure)) for row in rows if row.dataset == dataset]
            curves = [(name, own) for name, own in drawn if own is not None]
            epochs = thinned(sorted({e for _, own in curves for e in own["epoch"]}), _COLUMNS_OF_CURVES)
            if curves:
                lines = [(name, [_mean_at(own, epoch) for epoch in epochs]) for name, own in curves]
                found.append(
                    {"title": f"{curve_title(measure)}, {dataset}, at epoch", "epochs": epochs, "lines": lines}
                )
    return found


def _mean_at(own: Mapping[str, Any], epoch: int) -> str:
    if epoch not in own["epoch"]:
        return NOTHING
    values = [run[own["epoch"].index(epoch)] for run in own["values"]]
    return NOTHING if None in values else f"{sum(values) / len(values):.4g}"


def cost_table(rows: Sequence[Row], dataset: str, metric: str) -> dict[str, Any]:
    """Which rows are on the front of which cost."""
    own = [row for row in rows if row.dataset == dataset]
    on = {cost: fronts(own, cost, metric) for cost in COSTS}
    lines = [(row.name, [_price(row, cost, index in on[cost]) for cost in COSTS]) for index, row in enumerate(own)]
    return {"dataset": dataset, "metric": title_of(metric), "titles": [title_of(c) for c in COSTS], "lines": lines}


def _price(row: Row, cost: str, front: bool) -> str:
    entry = Entry(cost, row.records)
    if entry.mean is None:
        return "not recorded" if row.done else NOTHING
    return entry.text + (" ◆" if front else "")


def waits(rows: Sequence[Row], dataset: str) -> dict[str, Any]:
    """When each row first reached some accuracies of the k-NN curve."""
    own = [row for row in rows if row.dataset == dataset]
    metric = next((name for name in metrics_of(own) if name.startswith("knn")), "")
    marks = thresholds(own, metric)
    lines = [
        (row.name, [_said(reached(row, metric, mark)) for mark in marks])
        for row in own
        if marks and curve(row, metric) is not None
    ]
    machines = sorted({name for row in own for name in row.hardware})
    title = title_of(metric).removesuffix(" %")
    return {"dataset": dataset, "metric": title, "marks": marks, "lines": lines, "machines": machines}


def _said(item: Reached) -> str:
    if item.views is None:
        return "not reached" if item.runs == 0 else f"in {item.runs} of {item.of} runs"
    seconds = "" if item.seconds is None else f", {item.seconds:,.0f} s"
    return f"{item.views:,.0f} views{seconds}"


_PANEL = (
    ("std", "std × √D", "1 isotropic, 0 collapsed"),
    ("rankme", "RankMe", "effective rank"),
    ("participation_ratio", "participation ratio", "effective rank by variance"),
    ("alpha_req", "α-ReQ", "decay of the spectrum"),
    ("correlation", "mean |correlation|", "between dimensions"),
    ("alignment", "alignment", "smaller is closer"),
    ("uniformity", "uniformity", "smaller is more even"),
)


def panel(row: Row, index: int) -> dict[str, Any]:
    """The collapse panel of a row: its diagnostics, means over seeds, of the encoder's and the head's output."""
    lines = []
    for name, title, meaning in _PANEL:
        texts = [_diagnostic(row, f"{space}_{name}") for space in ("h", "v")]
        if any(text != NOTHING for text in texts):
            lines.append((title, meaning, texts))
    dimensions = [_diagnostic(row, f"{space}_dimensions") for space in ("h", "v")]
    return {
        "index": index,
        "row": row,
        "lines": [("dimensions D", "", dimensions), *lines] if lines else [],
        "rule": rule_text(row.done[0].cell.evaluation.collapse),
        "condition": curve(row, "slice_condition_max") is not None,
        "spectrum": any(row.done[0].diagnostics.get(f"{space}_spectrum") for space in ("h", "v")),
        "seed": row.done[0].cell.seed,
        "collapsed": f"{row.collapsed} of {len(row.done)} runs collapsed" if row.collapsed else "",
    }


def _diagnostic(row: Row, name: str) -> str:
    values = [result.diagnostics.get(name) for result in row.done]
    known = [float(value) for value in values if isinstance(value, int | float)]
    return f"{sum(known) / len(known):.4g}" if known and len(known) == len(values) else NOTHING
