"""`harness table`: a suite's tables from what is stored, without running anything."""

from __future__ import annotations

import click

from harness.cli.outputs import write_and_show
from harness.cli.session import Session, suite_options
from harness.cli.trials import write_and_show_trials


@click.command()
@suite_options
@click.option("--partial", is_flag=True, help="Show means where cells are missing, with their number.")
@click.option("--any-recipe", is_flag=True, help="Also show published numbers of other recipes, marked so.")
def command(session: Session, partial: bool, any_recipe: bool) -> None:
    """Write a suite's tables from what is stored, and show them."""
    write_and_show(session, partial=partial, any_recipe=any_recipe)
    write_and_show_trials(session)
