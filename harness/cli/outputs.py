"""A suite's results directory, written and shown by `run` and `table` alike."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from harness.cli.session import Session

if TYPE_CHECKING:
    from harness.analysis.frame import Record

METRICS = ("linear_top1", "knn5_top1")


def write_and_show(session: Session, **choices: bool) -> None:
    """Write table.csv, table.md, table.tex and the figures from what is stored, and show the tables.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    from harness.analysis.frame import frame
    from harness.analysis.latex import fragment
    from harness.analysis.markdown import write_outputs
    from harness.analysis.render import render
    from harness.store.atomic import write_text

    records = session.records()
    tables, verdicts = session.tables(records, **choices), session.verdicts(records)
    written = write_outputs(session.output, session.suite.title, tables, frame(records), verdicts)
    paths = [*written, session.output / "table.tex"]
    write_text(paths[-1], fragment(session.suite.title, tables, session.suite.name))
    Console().print(render(tables, verdicts))
    click.echo("written: " + ", ".join(str(path) for path in paths))
    if figures := _draw(session, records):
        names = ", ".join(dict.fromkeys(path.stem for path in figures))
        click.echo(f"figures in {session.output}, as .png and .svg: {names}")


def _draw(session: Session, records: list[Record]) -> list[Path]:
    """Write the figures; none where nothing is done yet, or matplotlib is not installed, which is said."""
    if importlib.util.find_spec("matplotlib") is None:
        click.echo("no picture: matplotlib is not installed (pip install 'ssl-harness[figures]')", err=True)
        return []
    from harness.analysis.figures import write_figures

    wanted = session.suite.content.tables
    metrics = wanted[0].metrics if wanted else METRICS
    return write_figures(session.output, session.suite.title, records, metrics, session.controls)
