"""`harness status`: the state of every cell of a suite, and of its sweep's trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.plan import estimates_of, print_missing, print_summary
from harness.cli.session import Session, suite_options
from harness.cli.trials import trial_records

if TYPE_CHECKING:
    from harness.analysis.frame import Record

COLOURS = {"done": "green", "failed": "red", "running": "cyan", "interrupted": "yellow", "no data": "yellow"}


@click.command()
@suite_options
def command(session: Session) -> None:
    """The state of every cell of a suite, in a line each."""
    console = Console()
    records = session.records() + trial_records(session)
    shown = Table("cell", "row", "dataset", "seed", "state", "", title=session.suite.title, title_justify="left")
    for record in records:
        colour = COLOURS.get(record.status)
        state = f"[{colour}]{record.status}[/]" if colour else record.status
        cells = (record.cell.pretraining.id, record.placed.row, record.placed.dataset, str(record.cell.seed))
        shown.add_row(*map(escape, cells), state, escape(_remark(session, record)))
    console.print(shown)
    print_summary(console, records, estimates_of(session, records))
    print_missing(session, console)


def _remark(session: Session, record: Record) -> str:
    from harness.progress import duration, first_line, result_text

    remarks = ["stale"] if record.stale else []
    if record.result is not None:
        remarks.append(result_text(record.result, session.suite.content.collapse))
    elif record.reason:
        remarks.append(first_line(record.reason))
    if record.status == "pending" and record.result is not None:
        remarks.append(f"to do: {', '.join(record.to_do)}")
    running = record.status == "running"
    said = session.store.read_progress(record.cell.pretraining.id) if running else None
    if said is not None and said.stage == "evaluating":
        remarks.append("evaluating")
    elif said is not None:
        left = "" if said.seconds_left is None else f", {duration(said.seconds_left)} left"
        remarks.append(f"epoch {said.epoch}/{said.epochs}{left}")
    return ", ".join(remarks)
