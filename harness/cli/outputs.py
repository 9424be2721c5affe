"""A suite's results directory, written and shown by `run` and `table` alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from harness.cli.session import Session

if TYPE_CHECKING:
    from harness.analysis.frame import Record
    from harness.analysis.tables import Table
    from harness.suite.models import TableSpec


def write_and_show(session: Session, *, partial: bool = False, any_recipe: bool = False) -> None:
    """Write table.csv, table.md, table.tex and the figures from what is stored, and show the tables.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    from harness.analysis.frame import frame
    from harness.analysis.latex import fragment
    from harness.analysis.markdown import write_outputs
    from harness.analysis.render import render
    from harness.cli.output_directory import claim
    from harness.store.atomic import write_text

    records = session.records()
    tables = session.tables(records, partial=partial, any_recipe=any_recipe)
    verdicts = session.verdicts(records)
    claim(session.output, session.suite, session.results)
    written = write_outputs(session.output, session.suite.title, tables, frame(records), verdicts)
    paths = [*written, session.output / "table.tex"]
    write_text(paths[-1], fragment(session.suite.title, tables, session.suite.name))
    Console().print(render(tables, verdicts))
    click.echo("written: " + ", ".join(str(path) for path in paths))
    if figures := _draw(session, records, figure_metrics(session.suite.content.tables, tables)):
        names = ", ".join(dict.fromkeys(path.stem for path in figures))
        click.echo(f"figures in {session.output}, as .png and .svg: {names}")


def figure_metrics(specs: Sequence[TableSpec], tables: Sequence[Table]) -> list[str]:
    """Metrics of a suite's first table; of a grid, which is a table for each measure, those of all."""
    from harness.store.costs import COSTS

    shown = tables if specs and specs[0].layout == "grid" else tables[:1]
    return list(dict.fromkeys(name for table in shown for _, _, name in table.entries if name not in COSTS))


def _draw(session: Session, records: list[Record], metrics: list[str]) -> list[Path]:
    """Write the figures; none where nothing is done yet."""
    from harness.analysis.charts import write_charts

    return write_charts(session.output, session.suite.title, records, metrics, session.controls)
