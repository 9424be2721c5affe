"""`harness show`: everything stored about one cell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.json import JSON
from rich.markup import escape
from rich.table import Table

from harness.cli.session import BAD_ARGUMENTS, friendly, open_store, results_option


@click.command()
@click.argument("cell")
@results_option
@click.option("--json", "as_json", is_flag=True, help="The stored result as it is.")
@friendly
def command(cell: str, results: Path, as_json: bool) -> None:
    """Everything stored about one cell, named by its id or the first digits of it."""
    store = open_store(results)
    matching = [cell_id for cell_id in store.ids() if cell_id.startswith(cell)]
    if len(matching) != 1:
        found = (
            f"{len(matching)} cells begin with it: {', '.join(matching[:5])}" if matching else "no cell begins with it"
        )
        click.echo(f"error: {cell}: {found}; `harness status SUITE` lists ids", err=True)
        sys.exit(BAD_ARGUMENTS)
    console = Console()
    result = store.result(matching[0])
    directory = store.directory(matching[0])
    if result is None:
        click.echo(f"{directory}: {store.state(matching[0])}, {store.why_not(matching[0])}")
        description = directory / "cell.json"
        if description.exists():
            console.print(JSON(description.read_text()))
        return
    if as_json:
        click.echo(result.model_dump_json(indent=1))
        return
    console.print(f"[bold]{result.id}[/] {result.status}  {escape(str(directory))}")
    console.print(_pairs("metrics", {name: f"{value:.2f} %" for name, value in result.metrics.items()}))
    if result.failure:
        console.print(_pairs("failure", result.failure.model_dump(exclude={"traceback"})))
        console.print(result.failure.traceback, markup=False, highlight=False)
    console.print(_pairs("diagnostics", {k: v for k, v in result.diagnostics.items() if not isinstance(v, list)}))
    if result.cost:
        console.print(_pairs("cost", result.cost.model_dump()))
    if result.curves:
        console.print(_curve([{"epoch": point.epoch, **point.values} for point in result.curves]))
    console.print(_pairs("provenance", result.provenance.model_dump()))
    console.print("[bold]cell[/]", JSON(result.cell.model_dump_json()))


def _pairs(title: str, values: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for name, value in values.items():
        table.add_row(name, escape(f"{value:.6g}" if isinstance(value, float) else str(value)))
    return table


def _curve(points: list[dict[str, float]]) -> Table:
    """At most twenty readings, evenly spread, of the numbers that are read most."""
    names = [
        name for name in ("loss", "lr", "knn5_top1", "h_std", "h_rankme", "v_rankme") if any(name in p for p in points)
    ]
    table = Table("epoch", *names, title="curve", title_justify="left", box=None)
    keep = sorted({round(i * (len(points) - 1) / 19) for i in range(20)})
    for point in (points[i] for i in keep):
        table.add_row(f"{point['epoch']:.0f}", *(f"{point[name]:.5g}" if name in point else "" for name in names))
    return table
