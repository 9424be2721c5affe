"""The figures' numbers as tables, which stand without the script and are read by whoever sees no figure: curves at a
few epochs, costs with their front, the wait for an accuracy, the collapse panels. Owns their wording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.analysis.curves import curve_title, recorded_measures, thin, training_curve
from harness.analysis.entries import Entry, title_of
from harness.analysis.frame import NOTHING
from harness.analysis.notes import rule_text
from harness.analysis.pareto import COSTS, TimeToAccuracy, accuracy_thresholds, pareto_rows, time_to_accuracy
from harness.analysis.row_results import RowResults, monitored_metrics, titles_of
from harness.spec.collapse import CollapseRule
from harness.spec.metric import PER_CENT, Metric

_COLUMNS_OF_CURVES = 6
_SPACES = ("h", "v")
_CLASSES = 20  # columns of accuracies by class


def curve_tables(rows: Sequence[RowResults]) -> list[dict[str, Any]]:
    """The curves of loss and monitored metrics as numbers: at most six epochs of each."""
    tables = []
    titles, shown = titles_of(rows), ["loss", *monitored_metrics(rows)]
    for measure in [name for name in recorded_measures(rows) if name in shown]:
        for dataset in dict.fromkeys(row.dataset for row in rows):
            drawn = [(row.name, training_curve(row, measure)) for row in rows if row.dataset == dataset]
            curves = [(name, own) for name, own in drawn if own is not None]
            epochs = thin(sorted({e for _, own in curves for e in own["epoch"]}), _COLUMNS_OF_CURVES)
            if curves:
                lines = [(name, [_mean_at(own, epoch) for epoch in epochs]) for name, own in curves]
                tables.append(
                    {"title": f"{curve_title(measure, titles)}, {dataset}, at epoch", "epochs": epochs, "lines": lines}
                )
    return tables


def _mean_at(own: Mapping[str, Any], epoch: int) -> str:
    if epoch not in own["epoch"]:
        return NOTHING
    values = [run[own["epoch"].index(epoch)] for run in own["values"]]
    return NOTHING if None in values else f"{sum(values) / len(values):.4g}"


def cost_table(rows: Sequence[RowResults], dataset: str, metric: str) -> dict[str, Any]:
    """Which rows are on the front of which cost."""
    own = [row for row in rows if row.dataset == dataset]
    on = {cost: pareto_rows(own, cost, metric) for cost in COSTS}
    lines = [(row.name, [_price(row, cost, index in on[cost]) for cost in COSTS]) for index, row in enumerate(own)]
    title = title_of(metric, titles_of(rows))
    return {"dataset": dataset, "metric": title, "titles": [title_of(c) for c in COSTS], "lines": lines}


def _price(row: RowResults, cost: str, front: bool) -> str:
    entry = Entry(cost, row.records)
    if entry.mean is None:
        return "not recorded" if row.results else NOTHING
    return entry.text + (" ◆" if front else "")


def class_table(rows: Sequence[RowResults], dataset: str, metric: str) -> dict[str, Any]:
    """The accuracy of each class, means over the seeds; of many classes, those that the rows find hardest."""
    evaluation = metric.rpartition("_")[0]
    recalls = [(row, [dict(r.recalls(evaluation)) for r in row.results]) for row in rows if row.dataset == dataset]
    means = [(row.name, _class_means(runs)) for row, runs in recalls if runs and all(runs)]
    every = list(dict.fromkeys(label for _, own in means for label, mean in own.items() if mean is not None))
    hard = sorted(every, key=lambda label: sum(own.get(label) or 0.0 for _, own in means))[:_CLASSES]
    classes = [label for label in every if label in hard]
    lines = [
        (name, [NOTHING if (m := own.get(label)) is None else f"{m:.1f}" for label in classes]) for name, own in means
    ]
    of = f"the {len(classes)} hardest of {len(every)} classes" if len(classes) < len(every) else "each class"
    return {"title": f"{dataset}, {evaluation}: accuracy in % of {of}", "classes": classes, "lines": lines}


def _class_means(runs: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for label in runs[0]:
        values = [value for run in runs if (value := run.get(label)) is not None]
        means[label] = sum(values) / len(values) if len(values) == len(runs) else None
    return means


def time_to_accuracy_table(rows: Sequence[RowResults], dataset: str) -> dict[str, Any]:
    """When each row first reached some values of the first accuracy that was monitored."""
    own = [row for row in rows if row.dataset == dataset]
    metric = next((name for name in monitored_metrics(own) if any(_is_accuracy(row.metric(name)) for row in own)), "")
    marks = accuracy_thresholds(own, metric) if metric else []
    lines = [
        (row.name, [_time_text(time_to_accuracy(row, metric, mark)) for mark in marks])
        for row in own
        if marks and training_curve(row, metric) is not None
    ]
    machines = sorted({name for row in own for name in row.hardware})
    title = next((row.metric(metric).title for row in own), "")
    return {
        "dataset": dataset,
        "metric": title,
        "marks": [f"{mark:g} %" for mark in marks],
        "lines": lines,
        "machines": machines,
    }


def _is_accuracy(metric: Metric) -> bool:
    return metric.unit == PER_CENT and metric.higher_is_better


def _time_text(item: TimeToAccuracy) -> str:
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


def panel(row: RowResults, rule: CollapseRule) -> dict[str, Any]:
    """The collapse panel of a row: its diagnostics, means over seeds, of the encoder's and the head's output."""
    ended = [result.diagnostics for result in row.results]
    lines = []
    for name, title, meaning in _PANEL:
        texts = [_mean(ended, f"{space}_{name}") for space in _SPACES]
        if any(text != NOTHING for text in texts):
            lines.append((title, meaning, texts))
    scales = [_scale(row, space) for space in _SPACES]
    if any(text != NOTHING for text in scales):
        lines.append(("scale", "root mean square, at step 0 → at the end", scales))
    dimensions = [_mean(ended, f"{space}_dimensions") for space in _SPACES]
    return {
        "row": row,
        "lines": [("dimensions D", "", dimensions), *lines] if lines else [],
        "rule": rule_text(rule),
        "collapsed": f"{row.collapsed} of {len(row.results)} runs collapsed" if row.collapsed else "",
    }


def _scale(row: RowResults, space: str) -> str:
    """At step 0 and at the end; the end alone where nothing was trained, or the first was not recorded."""
    end = _mean([result.diagnostics for result in row.results], f"{space}_scale")
    begin = _mean([r.description.initial if r.description else {} for r in row.results], f"{space}_scale")
    return end if NOTHING in (begin, end) else f"{begin} → {end}"


def _mean(readings: Sequence[Mapping[str, float | None]], name: str) -> str:
    """Over the runs, if every one has it."""
    known = [value for reading in readings if (value := reading.get(name)) is not None]
    return f"{sum(known) / len(known):.4g}" if known and len(known) == len(readings) else NOTHING
