"""`harness plan`: what would run, what is done, what cannot run and why, and how long it may take."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.session import Session, suite_options

if TYPE_CHECKING:
    from harness.analysis.frame import Record


@click.command()
@suite_options(try_backbones=True)
def command(session: Session) -> None:
    """What `harness run` would do with a suite, without doing it."""
    from harness.progress import duration

    console = Console()
    records = session.records()
    estimates = estimates_of(session, records)
    headings = ("row", "dataset", "cells", "done", "to train", "to evaluate", "time")
    shown = Table(*headings, title=session.suite.title, title_justify="left")
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.status != "skipped":
            groups.setdefault((record.placed.row, record.placed.dataset), []).append(record)
    for (row, dataset), group in groups.items():
        open_cells = [record for record in group if to_run(record)]
        known = [estimates[record.placed.id] for record in open_cells]
        time = sum(seconds for seconds in known if seconds is not None)
        text = "" if not open_cells else "unknown" if None in known else duration(time)
        done = sum(record.status == "done" for record in group)
        train = sum(trains(record) for record in open_cells)
        evaluate = sum(len(evaluations_to_do(record)) for record in open_cells)
        counts = (len(group), done, train, evaluate)
        shown.add_row(*map(escape, (row, dataset, *map(str, counts), text)))
    console.print(shown)
    print_summary(console, records, estimates)
    print_lacking_curves(session, console)
    print_missing(session, console)


def print_missing(session: Session, console: Console) -> None:
    """Which datasets are not on this machine: what to fetch, the command, and where they are kept."""
    from harness.data.datasets import dataset_info, prepare_command

    sources = [
        source
        for item in session.expansion.planned
        if item.missing_data
        for question in item.cell.evaluations.values()
        for source in (item.cell.pretraining.source, question.train, question.scored)
        if source is not None
    ]
    names = dict.fromkeys(s.name for s in sources if not session.facts.dataset(s.name).here)
    if not names:
        return
    table = Table("dataset", "what to fetch", "command", title="not on this machine", title_justify="left")
    for name in names:
        info = dataset_info(name)
        given = "" if info.get == "download" else " --from PATH"
        classes = " --classes FILE" if name == "imagenet100" else ""
        table.add_row(name, escape(info.source), f"{prepare_command(name)}{given}{classes}")
    console.print(table)
    console.print(
        f"`--from PATH` takes a copy that you have, an archive or a folder, in place of a download.\n"
        f"Prepared datasets are kept in {escape(str(session.data_dir))} (--data-dir, or $HARNESS_DATA).",
        highlight=False,
    )


def print_lacking_curves(session: Session, console: Console) -> None:
    """Finished pretrainings that lack the curve of a monitor: named, and trained again only when that is asked for."""
    lacking = []
    for item in session.expansion.planned:
        record = session.store.pretraining(item.cell.pretraining.id)
        if record is not None and record.status == "done":
            names = [n for n, monitor in item.cell.monitors.items() if monitor.id not in record.monitors]
            lacking += [f"{item.row} on {item.dataset}, seed {item.cell.seed} ({', '.join(names)})"] if names else []
    if lacking:
        console.print(
            f"done, but without a wanted curve: {'; '.join(lacking)}. `harness run --retrain-for-curves` trains them "
            "again",
            highlight=False,
            markup=False,
        )


def to_run(record: Record) -> bool:
    """Whether `harness run` would do anything for it."""
    return record.status in ("pending", "interrupted", "failed")


def trains(record: Record) -> bool:
    """Whether that includes its training."""
    return "training" in record.to_do


def evaluations_to_do(record: Record) -> list[str]:
    """Ids of the evaluations that it would ask."""
    return [evaluation.id for name, evaluation in record.cell.evaluations.items() if name in record.to_do]


def estimates_of(session: Session, records: list[Record]) -> dict[str, float | None]:
    """Seconds by cell id of what would be done; None where nothing comparable was done."""
    from harness.analysis.estimate import estimated_seconds

    return estimated_seconds([record for record in records if to_run(record)], session.store, session.facts)


def print_summary(console: Console, records: list[Record], estimates: dict[str, float | None]) -> None:
    """Counts, time, and whatever cannot run, each reason once."""
    from harness.progress import duration

    once = {record.placed.id: record for record in records}
    states = Counter(record.status for record in once.values())
    console.print("cells: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    asked = len({e for record in once.values() if to_run(record) for e in evaluations_to_do(record)})
    trained = len({r.cell.pretraining.id for r in once.values() if to_run(r) and trains(r)})
    if asked or trained:
        console.print(f"to do: {trained} pretrainings, {asked} evaluations")
    stale = sum(record.stale is not None for record in once.values())
    if stale:
        console.print(f"{stale} results are of older code; --rerun-stale runs them again")
    known = [seconds for seconds in estimates.values() if seconds is not None]
    unknown = len(estimates) - len(known)
    if known:
        rest = f", and {unknown} cells of unknown length" if unknown else ""
        console.print(f"estimated time: {duration(sum(known))}, from stored runs of like cells{rest}")
    elif unknown:
        console.print("estimated time: unknown, as nothing comparable is stored yet")
    reasons = Counter(record.reason for record in once.values() if record.status == "skipped")
    for reason, count in reasons.items():
        console.print(f"skipped: {count} cells: {escape(reason or '')}", highlight=False)
