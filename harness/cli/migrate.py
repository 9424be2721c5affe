"""`harness migrate`: bring results of an older version of the harness forward."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.cli.session import friendly, open_store, results_option

SOMETHING_LEFT = 1


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@results_option
@friendly
def command(dry_run: bool, results: Path) -> None:
    """Bring results of an older version of the harness forward, so that the present one reads them.

    Numbers stay what they are; ids, and with them the names of directories, change. Stopped at any point, it goes on
    where it was when it is called again. Exit code 1 if something could not be brought forward.
    """
    from harness.spec.identity import SCHEMA_VERSION
    from harness.store.migrate import migrate

    done = migrate(open_store(results), dry_run=dry_run)
    for old, new in done.moved.items():
        click.echo(f"{old} -> {new}")
    for place, reason in done.left.items():
        click.echo(f"left: {place}: {reason}", err=True)
    if done.moved:
        click.echo(f"{'To bring' if dry_run else 'Brought'} forward to version {SCHEMA_VERSION}: {len(done.moved)}.")
    elif not done.left and not done.of_first_version:
        click.echo(f"Nothing to do: no results of a version before {SCHEMA_VERSION}.")
    if done.of_first_version:
        click.echo(
            f"error: results of version 1, which kept neither encoders nor fingerprints of splits, cannot be brought "
            f"forward, and there are {done.of_first_version} here: run their suites again, and remove them by "
            "`harness clean --old-versions`",
            err=True,
        )
    if done.left or done.of_first_version:
        sys.exit(SOMETHING_LEFT)
