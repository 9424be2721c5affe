"""A sweep's trials for the verbs that look at a suite: they are cells like any other. Runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console

from harness.cli.session import Session

if TYPE_CHECKING:
    from harness.analysis.frame import Record

FILE = "trials.md"


def trial_records(session: Session) -> list[Record]:
    """What became of every trial so far; nothing where the suite was never swept."""
    from harness.sweep import frames

    if session.suite.content.sweep is None or not (session.output / frames.FILE).exists():
        return []
    from harness.sweep.resolve import sweep_rows

    rows = sweep_rows(session.suite, session.expansion, session.catalogue, session.facts)
    return frames.trial_records(session.output, rows, session.store, session.code, session.suite.content.collapse)


def write_and_show_trials(session: Session) -> None:
    """Write trials.md from what is stored, and show it; nothing where the suite was never swept.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    from harness.analysis.markdown import document
    from harness.analysis.render import render
    from harness.analysis.tables import build
    from harness.store.atomic import write_text
    from harness.suite.models import TableSpec

    records, spec = trial_records(session), session.suite.content.sweep
    if not records or spec is None:
        return
    table = TableSpec(
        title="Trials of the sweep, scored on the validation split", metrics=(spec.metric,), cost=("train_seconds",)
    )
    tables = build(session.suite.title, [table], records)
    write_text(session.output / FILE, document(session.suite.title, tables))
    Console().print(render(tables))
    click.echo(f"written: {session.output / FILE}")
