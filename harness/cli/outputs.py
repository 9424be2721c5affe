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
    """Write table.csv, table.md and accuracy.png from what is stored, and show the tables.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    from harness.analysis.frame import frame
    from harness.analysis.markdown import write_outputs
    from harness.analysis.render import render

    records = session.records()
    tables = session.tables(records, **choices)
    paths = [*write_outputs(session.output, session.suite.title, tables, frame(records))]
    picture = _draw(session, records)
    if picture is not None:
        paths.append(picture)
    Console().print(render(tables))
    click.echo("written: " + ", ".join(str(path) for path in paths))


def _draw(session: Session, records: list[Record]) -> Path | None:
    """Write accuracy.png; None where nothing is done yet, or matplotlib is not installed, which is said."""
    if importlib.util.find_spec("matplotlib") is None:
        click.echo("no picture: matplotlib is not installed (pip install 'ssl-harness[figures]')", err=True)
        return None
    from harness.analysis.figure import write_figure

    wanted = session.suite.content.tables
    metrics = wanted[0].metrics if wanted else METRICS
    controls = {name for name, entry in session.methods.items() if entry.kind == "control"}
    picture = session.output / "accuracy.png"
    return picture if write_figure(picture, session.suite.title, records, metrics, controls) else None
