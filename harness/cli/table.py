"""`harness table`: a suite's tables from what is stored, without running anything."""

from __future__ import annotations

import click
from rich.console import Console

from harness.cli.session import Session, suite_options


@click.command()
@suite_options
@click.option("--partial", is_flag=True, help="Show means where cells are missing, with their number.")
@click.option("--any-recipe", is_flag=True, help="Also show published numbers of other recipes, marked so.")
def command(session: Session, partial: bool, any_recipe: bool) -> None:
    """Write a suite's tables from what is stored, and show them."""
    from harness.analysis.frame import frame
    from harness.analysis.markdown import write_outputs
    from harness.analysis.render import render

    records = session.records()
    tables = session.tables(records, partial=partial, any_recipe=any_recipe)
    paths = write_outputs(session.output, session.suite.title, tables, frame(records))
    Console().print(render(tables))
    click.echo("written: " + ", ".join(str(path) for path in paths))
