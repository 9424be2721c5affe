"""Puts the page together from its parts. Owns the order of things and the file's bytes; the template owns its words.

Everything a suite or a run wrote (labels, tracebacks, suite files) is text and is escaped as such by jinja2; the data
of the script is JSON in which `<` cannot occur. No clock is read, and no address is in the page.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from harness.analysis.claims import Verdict
from harness.analysis.entries import headings
from harness.analysis.frame import Record
from harness.analysis.references import Reference
from harness.analysis.report import runs
from harness.analysis.report.answer import counts, sentence, tally
from harness.analysis.report.data import payload
from harness.analysis.report.projection import Projections
from harness.analysis.report.rows import rows_of
from harness.analysis.report.summaries import class_table, cost_table, curve_tables, panel, waits
from harness.analysis.report.table_view import View, laid_across, view
from harness.analysis.tables import Table, build
from harness.spec.collapse import CollapseRule
from harness.spec.metric import Metric
from harness.suite.models import TableSpec

_SCRIPTS = ("chart.js", "panels.js", "table.js")
_TOLD_ELSEWHERE = ("Failed", "Skipped", "No data", "Not done", "Stale", "Code, libraries and devices")


@dataclass(frozen=True)
class Search:
    """A sweep's pictures and winners."""

    pictures: Sequence[tuple[str, bytes]]
    """(heading, PNG)."""
    best: str
    """The winners as a suite, its first lines naming the best settings of each row."""


@dataclass(frozen=True)
class Material:
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
    search: Search | None = None
    """What a sweep of the suite has left."""


def render(material: Material, cache: Path | None = None) -> str:
    """The page.

    Args:
        cache: file of computed projections (see `projection`).
    """
    specs = material.specs or (TableSpec(),)
    records = runs.unique(material.records)
    rows = rows_of(material.records, material.controls)
    projections = Projections(cache)
    baseline = next((spec.baseline for spec in specs if spec.baseline is not None), None)
    data = payload(rows, projections, material.classes, baseline)
    projections.save()
    views = [_view(material, spec) for spec in specs]
    metric = next((name for found in views if found is not None for name in found.metrics), "")
    return _template().render(
        material=material,
        style=Markup(_text("style.css")),
        script=Markup("\n".join(_text(name) for name in _SCRIPTS)),
        data=data,
        answers=[sentence(rows, name, metric) for name in data["datasets"] if metric],
        counts=counts(runs.statuses(records)),
        claims=tally([verdict.answer for verdict in material.verdicts]),
        views=views,
        notes_elsewhere=_TOLD_ELSEWHERE,
        laid_out=[table for spec in specs if _has_a_layout(spec) for table in _laid_out(material, spec)],
        curve_tables=curve_tables(rows),
        cost_tables=[cost_table(rows, name, metric) for name in data["datasets"]],
        class_tables=[t for name in data["datasets"] if (t := class_table(rows, name, metric))["lines"]],
        waits=[waits(rows, name) for name in data["datasets"]],
        panels=[panel(row, index, material.rule) for index, row in enumerate(rows) if row.results],
        failures=runs.failures(records),
        groups=runs.groups(records),
        provenance=runs.provenance(records),
        cells=runs.cells(records),
        cell_columns=runs.CELL_COLUMNS,
        searched=[(heading, _address(png)) for heading, png in material.search.pictures] if material.search else [],
    )


def _address(png: bytes) -> str:
    """A picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _template() -> jinja2.Template:
    loader = jinja2.FunctionLoader(_text)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    return environment.get_template("page.html")


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _view(material: Material, spec: TableSpec) -> View | None:
    chosen = [record for record in material.records if record.placed.matches(spec.where)]
    title, titles = spec.title or material.title, headings(material.metrics)
    return view(title, _built(material, title, laid_across(spec), chosen), titles) if chosen else None


def _has_a_layout(spec: TableSpec) -> bool:
    """Whether the suite lays the table out in a way of its own, which the long table does not show."""
    return (spec.layout, spec.rows, spec.columns) != ("table", (), ("dataset",))


def _laid_out(material: Material, spec: TableSpec) -> list[Table]:
    return _built(material, material.title, spec, material.records)


def _built(material: Material, title: str, spec: TableSpec, records: Sequence[Record]) -> list[Table]:
    return build(
        title,
        [spec],
        records,
        material.references,
        rule=material.rule,
        metrics=material.metrics,
        renamed=material.renamed,
        controls=material.controls,
    )
