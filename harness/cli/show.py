"""`harness show`: everything stored about one pretraining: the encoder's training, what it is like, and every question
that it was asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.json import JSON
from rich.markup import escape
from rich.table import Table

from harness.cli.session import BAD_ARGUMENTS, friendly, open_store, results_option

if TYPE_CHECKING:
    from harness.store.cell_result import CellResult
    from harness.store.records import Failure, PretrainingRecord
    from harness.store.store import Store

_SPACES = ("h_std", "h_rankme", "v_std", "v_rankme")  # the diagnostics that are read most
_CLASSES = 20  # lines of accuracies by class


@click.command()
@click.argument("cell")
@results_option
@click.option("--json", "as_json", is_flag=True, help="The stored records as they are.")
@friendly
def command(cell: str, results: Path, as_json: bool) -> None:
    """Everything stored about one encoder and its evaluations, named by its id or the first digits of it."""
    store = open_store(results)
    matching = [id_ for id_ in store.ids() if id_.startswith(cell)]
    if len(matching) != 1:
        problem = (
            f"{len(matching)} cells begin with it: {', '.join(matching[:5])}" if matching else "no cell begins with it"
        )
        click.echo(f"error: {cell}: {problem}; `harness status SUITE` lists ids", err=True)
        sys.exit(BAD_ARGUMENTS)
    record = store.pretraining(matching[0])
    if as_json and record is not None:
        click.echo(json.dumps(_everything(store, record), indent=1))
    elif record is not None:
        _show(store, record)
    else:
        _show_unfinished(store, matching[0])


def _everything(store: Store, record: PretrainingRecord) -> dict[str, Any]:
    """All records, as JSON holds them."""
    description = store.read_description(record.id).record
    answers = [store.read_evaluation(record.id, id_).record for id_ in store.evaluation_ids(record.id)]
    curves = [store.read_curve(record.id).record]
    curves += [store.read_curve(record.id, monitor).record for monitor in record.monitors]
    return {
        "id": record.id,
        "pretraining": record.model_dump(mode="json"),
        "description": None if description is None else description.model_dump(mode="json"),
        "evaluations": [answer.model_dump(mode="json") for answer in answers if answer is not None],
        "curves": [curve.model_dump(mode="json") for curve in curves if curve is not None],
    }


def _show_unfinished(store: Store, id_: str) -> None:
    """What the directory is for, and why there is no result."""
    directory = store.directory(id_)
    reason = store.read_pretraining(id_).reason or "there is no result yet"
    click.echo(f"{directory}: {store.state(id_)}, {reason}")
    spec = directory / "spec.json"
    if spec.is_file():
        try:
            Console().print(JSON(spec.read_text()))
        except ValueError:
            click.echo(f"{spec} is truncated or not JSON")


def _show(store: Store, record: PretrainingRecord) -> None:
    from harness.analysis.stored import names_by_probe, runs_of

    console = Console()
    shown = [run.named(names_by_probe(run.evaluations)) for run in runs_of(store, record)]
    result = shown[0]
    console.print(f"[bold]{record.id}[/] {result.status}  {escape(str(store.directory(record.id)))}")
    console.print(_evaluations(store, shown))
    _print_classes(console, shown)
    _print_failures(console, shown)
    if result.diagnostics:
        console.print(_pairs("diagnostics", result.diagnostics))
    if result.cost:
        console.print(_pairs("cost", vars(result.cost)))
    if result.curves:
        console.print(_curve(result))
    console.print(_pairs("provenance", record.provenance.model_dump()))
    console.print("[bold]pretraining[/]", JSON(record.spec.model_dump_json()))


def _evaluations(store: Store, shown: list[CellResult]) -> Table:
    """A line for each metric of each question, and for each question without an answer that counts."""
    table = Table("metric", "value", "scored on", "images", "seed", "evaluation", title="metrics")
    table.title_justify = "left"
    table.box = None
    seen = set()
    for result in shown:
        for name, answer in result.evaluations.items():
            if answer.id in seen:
                continue
            seen.add(answer.id)
            question = answer.spec
            where = (f"{question.scored.name}, {question.split}", str(answer.images))
            rest = (*where, "any" if question.seed is None else str(question.seed), answer.id)
            if answer.failure is not None:
                table.add_row(name, f"failed: {escape(answer.failure.kind)}", *map(escape, rest))
            for own, value in answer.metrics.items():
                table.add_row(*map(escape, (f"{name}_{own}", answer.metric(own).said(value), *rest)))
    for id_ in store.evaluation_ids(shown[0].id):
        if id_ not in seen:
            reason = store.read_evaluation(shown[0].id, id_).reason or "of another encoder than the one that is here"
            table.add_row("–", f"not used: {escape(reason)}", "", "", "", id_)
    return table


def _print_classes(console: Console, shown: list[CellResult]) -> None:
    """Accuracy of each class, a column an evaluation; of many classes, those that are worst off."""
    recalls = {
        f"{name}_top1": dict(recalls)
        for result in shown
        for name in result.evaluations
        if (recalls := result.recalls(name))
    }
    classes = list(dict.fromkeys(label for of in recalls.values() for label in of))
    if not classes:
        return
    first = next(iter(recalls.values()))
    worst = sorted(classes, key=lambda label: first.get(label) or 0.0)[:_CLASSES]
    listed = [label for label in classes if label in worst]
    title = "classes" if len(listed) == len(classes) else f"classes: the {len(listed)} worst of {len(classes)}"
    table = Table("class", *recalls, title=title, title_justify="left", box=None)
    for label in listed:
        values = [of.get(label) for of in recalls.values()]
        table.add_row(escape(label), *("–" if value is None else f"{value:.2f} %" for value in values))
    console.print(table)


def _print_failures(console: Console, shown: list[CellResult]) -> None:
    failures: dict[str, Failure] = {}
    for result in shown:
        failures |= result.failures
    for stage, failure in failures.items():
        console.print(_pairs(f"failure of {stage}", failure.model_dump(exclude={"traceback"})))
        console.print(failure.traceback, markup=False, highlight=False)


def _pairs(title: str, values: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for name, value in values.items():
        table.add_row(name, escape(f"{value:.6g}" if isinstance(value, float) else str(value)))
    return table


def _curve(result: CellResult) -> Table:
    """At most twenty readings, evenly spread, of the numbers that are read most: the monitors' metrics among them."""
    points: list[dict[str, float]] = [{"epoch": point.epoch, **point.values} for point in result.curves]
    monitors = tuple(f"{name}_" for name in result.cell.monitors)
    measured = dict.fromkeys(name for values in points for name in values if name.startswith(monitors))
    names = [name for name in ("loss", "lr", *measured, *_SPACES) if any(name in values for values in points)]
    table = Table("epoch", *names, title="curve", title_justify="left", box=None)
    positions = sorted({round(i * (len(points) - 1) / 19) for i in range(20)})
    for values in (points[i] for i in positions):
        table.add_row(f"{values['epoch']:.0f}", *(f"{values[n]:.5g}" if n in values else "" for n in names))
    return table
