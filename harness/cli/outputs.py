"""A suite's results directory, written and shown by `run` and `table` alike."""

from __future__ import annotations

import click
from rich.console import Console

from harness.cli.session import Session

METRICS = ("linear_top1", "knn5_top1")


def write_and_show(session: Session, **choices: bool) -> None:
    """Write table.csv, table.md and accuracy.png from what is stored, and show the tables.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    from harness.analysis.figure import write_figure
    from harness.analysis.frame import frame
    from harness.analysis.markdown import write_outputs
    from harness.analysis.render import render

    records = session.records()
    tables = session.tables(records, **choices)
    paths = [*write_outputs(session.output, session.suite.title, tables, frame(records))]
    wanted = session.suite.content.tables
    metrics = wanted[0].metrics if wanted else METRICS
    controls = {name for name, entry in session.methods.items() if entry.kind == "control"}
    picture = session.output / "accuracy.png"
    if write_figure(picture, session.suite.title, records, metrics, controls):
        paths.append(picture)
    Console().print(render(tables))
    click.echo("written: " + ", ".join(str(path) for path in paths))
