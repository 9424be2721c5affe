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
@suite_options
def command(session: Session) -> None:
    """What `harness run` would do with a suite, without doing it."""
    from harness.progress import duration

    console = Console()
    records = session.records()
    estimates = estimated_seconds(session, records)
    shown = Table("row", "dataset", "cells", "done", "to run", "time", title=session.suite.title, title_justify="left")
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
        shown.add_row(*map(escape, (row, dataset, str(len(group)), str(done), str(len(open_cells)), text)))
    console.print(shown)
    print_summary(console, records, estimates)
    print_missing(session, console)


def print_missing(session: Session, console: Console) -> None:
    """Which datasets are not on this machine: what to fetch, the command, and where they are kept."""
    from harness.data.datasets import dataset_info

    names = dict.fromkeys(item.cell.dataset.name for item in session.expansion.planned if item.missing_data)
    if not names:
        return
    table = Table("dataset", "what to fetch", "command", title="not on this machine", title_justify="left")
    for name in names:
        info = dataset_info(name)
        given = "" if info.get == "download" else " --from PATH"
        classes = " --classes FILE" if name == "imagenet100" else ""
        table.add_row(name, escape(info.source), f"harness data prepare {name}{given}{classes}")
    console.print(table)
    console.print(
        f"`--from PATH` takes a copy that you have, an archive or a folder, in place of a download.\n"
        f"Prepared datasets are kept in {escape(str(session.data_dir))} (--data-dir, or $HARNESS_DATA).",
        highlight=False,
    )


def to_run(record: Record) -> bool:
    """Whether `harness run` would run it."""
    return record.status in ("pending", "interrupted", "failed")


def estimated_seconds(session: Session, records: list[Record]) -> dict[str, float | None]:
    """Seconds by id of the cells that would run; None where nothing comparable has run."""
    from harness.analysis.estimate import Estimator
    from harness.data.datasets import dataset_info
    from harness.suite.catalogue import pretrain_images

    estimator = Estimator.of(session.store.results())
    found: dict[str, float | None] = {}
    for record in records:
        if to_run(record):
            spec = record.cell.dataset
            images = spec.train_images or pretrain_images(dataset_info(spec.name), spec.validation_fraction)
            found[record.placed.id] = estimator.seconds(record.cell, images)
    return found


def print_summary(console: Console, records: list[Record], estimates: dict[str, float | None]) -> None:
    """Counts, time, and whatever cannot run, each reason once."""
    from harness.progress import duration

    once = {record.placed.id: record for record in records}
    states = Counter(record.status for record in once.values())
    console.print("cells: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
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
