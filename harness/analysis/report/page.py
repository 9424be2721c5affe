"""Puts the page together from its parts. Owns the order of things and the file's bytes; the template owns its words.

Everything a suite or a run wrote (labels, tracebacks, suite files) is text and is escaped as such by jinja2; charts
are JSON in which `<` cannot occur. No clock is read, and no address is in the page.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from harness.analysis.charts import suite_charts
from harness.analysis.charts.embeddings import projection_chart
from harness.analysis.charts.style import DARK
from harness.analysis.claims import Verdict
from harness.analysis.entries import headings
from harness.analysis.frame import Record
from harness.analysis.references import Reference
from harness.analysis.report import runs
from harness.analysis.report.answer import counts, sentence, tally
from harness.analysis.report.projection import Projections
from harness.analysis.report.summaries import class_table, cost_table, curve_tables, panel, time_to_accuracy_table
from harness.analysis.report.table_view import View, laid_across, view
from harness.analysis.row_results import RowResults, group_by_row, measured_metrics
from harness.analysis.tables import Table, build
from harness.spec.collapse import CollapseRule
from harness.spec.metric import Metric
from harness.suite.models import TableSpec

_NOTES_SHOWN_ELSEWHERE = ("Failed", "Skipped", "No data", "Not done", "Stale", "Code, libraries and devices")


@dataclass(frozen=True)
class SweepResults:
    """A sweep's charts and winners."""

    charts: Sequence[tuple[str, dict[str, Any]]]
    """(heading, Vega-Lite specification)."""
    best: str
    """The winners as a suite, its first lines naming the best settings of each row."""


@dataclass(frozen=True)
class ReportContent:
    """Everything the page is made of."""

    title: str
    description: str | None
    records: Sequence[Record]
    specs: Sequence[TableSpec]
    """The suite's tables; without any, one of methods against datasets."""
    references: Sequence[Reference]
    verdicts: Sequence[Verdict]
    controls: Collection[str]
    """Names of methods that are controls."""
    rule: CollapseRule
    """When a run counts as collapsed."""
    metrics: Mapping[str, Metric]
    """Of the suite's expansion, the first of each evaluation first."""
    renamed: Mapping[str, str]
    """Likewise: evaluations that are called otherwise than the suite says."""
    classes: Mapping[str, Sequence[str]]
    """Dataset label -> names of its classes, where they are known."""
    files: Sequence[tuple[str, str]]
    """(path as given, text) of every suite file read, the suite's own last."""
    command: str
    """What was asked for: the suite, its preset and its settings."""
    search: SweepResults | None = None
    """What a sweep of the suite has left."""


def render(content: ReportContent, cache: Path | None = None) -> str:
    """The page.

    Args:
        cache: file of computed projections (see `projection`).
    """
    specs = content.specs or (TableSpec(),)
    records = runs.unique(content.records)
    rows = group_by_row(content.records, content.controls)
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    views = [_view(content, spec) for spec in specs]
    metric = next((name for view in views if view is not None for name in view.metrics), "")
    search = content.search.charts if content.search else ()
    searched = [(heading, f"search-{number}") for number, (heading, _) in enumerate(search)]
    charts = _charts(content, rows, views, cache) | {
        name: s for (_, name), (_, s) in zip(searched, search, strict=True)
    }
    return _template().render(
        content=content,
        style=Markup(_text("style.css")),
        dark_colours=DARK,
        libraries=Markup(_libraries()),
        script=Markup(_text("page.js")),
        charts=charts,
        several_datasets=len(datasets) > 1,
        answers=[sentence(rows, name, metric) for name in datasets if metric],
        counts=counts(runs.statuses(records)),
        claims=tally([verdict.answer for verdict in content.verdicts]),
        views=views,
        notes_elsewhere=_NOTES_SHOWN_ELSEWHERE,
        laid_out=[table for spec in specs if _has_a_layout(spec) for table in _laid_out(content, spec)],
        curve_tables=curve_tables(rows),
        cost_tables=[cost_table(rows, name, metric) for name in datasets],
        class_tables=[t for name in datasets if (t := class_table(rows, name, metric))["lines"]],
        time_to_accuracy=[time_to_accuracy_table(rows, name) for name in datasets],
        panels=[panel(row, content.rule) for row in rows if row.results],
        failures=runs.failures(records),
        groups=runs.groups(records),
        provenance=runs.provenance(records),
        cells=runs.cells(records),
        cell_columns=runs.CELL_COLUMNS,
        searched=searched,
    )


def _charts(
    content: ReportContent, rows: Sequence[RowResults], views: Sequence[View | None], cache: Path | None
) -> dict[str, dict[str, Any] | None]:
    """The page's charts as Vega-Lite specifications."""
    shown = dict.fromkeys(name for view in views if view is not None for name in view.metrics)
    measured = measured_metrics(rows)
    charts = suite_charts(rows, [name for name in shown if name in measured] or measured)
    projections = Projections(cache)
    for number, dataset in enumerate(dict.fromkeys(row.dataset for row in rows)):
        planes = projections.planes([row for row in rows if row.dataset == dataset])
        charts[f"projection-{number}"] = projection_chart("", planes, content.classes.get(dataset, ()))
    projections.save()
    return {name: None if chart is None else chart.to_dict() for name, chart in charts.items()}


@functools.cache
def _libraries() -> str:
    """Vega, Vega-Lite and vega-embed as one script that may stand within a page."""
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _template() -> jinja2.Template:
    loader = jinja2.FunctionLoader(_text)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    return environment.get_template("page.html")


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _view(content: ReportContent, spec: TableSpec) -> View | None:
    chosen = [record for record in content.records if record.placed.matches(spec.where)]
    title, titles = spec.title or content.title, headings(content.metrics)
    return view(title, _built(content, title, laid_across(spec), chosen), titles) if chosen else None


def _has_a_layout(spec: TableSpec) -> bool:
    """Whether the suite lays the table out in a way of its own, which the long table does not show."""
    return (spec.layout, spec.rows, spec.columns) != ("table", (), ("dataset",))


def _laid_out(content: ReportContent, spec: TableSpec) -> list[Table]:
    return _built(content, content.title, spec, content.records)


def _built(content: ReportContent, title: str, spec: TableSpec, records: Sequence[Record]) -> list[Table]:
    return build(
        title,
        [spec],
        records,
        content.references,
        rule=content.rule,
        metrics=content.metrics,
        renamed=content.renamed,
        controls=content.controls,
    )
