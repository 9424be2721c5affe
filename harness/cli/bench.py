"""`harness bench`: how fast this machine is at every part of the work, beside how it is conventionally done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from harness.cli.session import BAD_ARGUMENTS, friendly

if TYPE_CHECKING:
    from harness.bench.row import Machine, Row
    from harness.bench.timing import Measurement

FAILED, INTERRUPTED = 1, 130
DEFAULT_OUTPUT = Path("results/bench")


@click.command()
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Only these rows: a group (augmentation, losses, training, evaluation, overheads, growth) or part of a name; "
    "repeatable.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=None,
    help="CPU threads of torch, and DataLoader workers of the conventional side; by default torch's choice and a "
    "worker a core.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.0, min_open=True),
    default=10.0,
    show_default=True,
    help="Time for each row; at least three pairs of turns are taken, however long they last.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help=f"Where table.md, table.csv and table.json are written; by default {DEFAULT_OUTPUT}, or nowhere with --only.",
)
@friendly
def command(only: tuple[str, ...], device: str, threads: int | None, seconds: float, output: Path | None) -> None:
    """Measure this machine: every row ours beside the conventional way, and as a share of what the device can do.

    Leave the machine alone meanwhile. Exits with 1 if a row broke; a row that this machine cannot run shows why.
    """
    from harness.bench.groups import NoSuchRow, all_rows, selected
    from harness.bench.machine import described, this_machine
    from harness.bench.table import write
    from harness.engines.execution import DeviceError, Execution

    try:
        chosen = Execution(Path(), device, threads).torch_device()
        rows = selected(all_rows(chosen), only)
    except (DeviceError, NoSuchRow) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(BAD_ARGUMENTS)
    click.echo("measuring matrix products and memory bandwidth", err=True)
    machine = this_machine(chosen, threads)
    found, interrupted = _measured(rows, machine, seconds)
    description = described(machine, seconds)
    show(description, found)
    if interrupted:
        click.echo("interrupted: nothing is written", err=True)
        sys.exit(INTERRUPTED)
    where = output or (None if only else DEFAULT_OUTPUT)
    if where is None:
        click.echo("a selection of rows: written nowhere without --output", err=True)
    else:
        click.echo("written: " + ", ".join(str(path) for path in write(where, description, found)))
    sys.exit(FAILED if any(m.broken for m in found) else 0)


def _measured(rows: list[Row], machine: Machine, seconds: float) -> tuple[list[Measurement], bool]:
    """What was measured, and whether it was cut short."""
    from harness.bench.timing import measure

    found: list[Measurement] = []
    for place, row in enumerate(rows, 1):
        click.echo(f"[{place}/{len(rows)}] {row.title}", err=True)
        try:
            found.append(measure(row, machine, seconds))
        except KeyboardInterrupt:
            return found, True
    return found, False


def show(machine: dict[str, Any], found: list[Measurement]) -> None:
    """The tables as rich draws them in a terminal, as Markdown elsewhere."""
    from harness.analysis.markdown import document
    from harness.analysis.render import render
    from harness.bench.table import TITLE, tables

    console = Console()
    if console.is_terminal:
        console.print(render(tables(machine, found)))
    else:
        click.echo(document(TITLE, tables(machine, found)))
