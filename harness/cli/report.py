"""`harness report`: a suite's results as one page that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.session import Session, suite_options

if TYPE_CHECKING:
    from harness.analysis.frame import Record
    from harness.analysis.report.page import ReportContent, SweepResults
    from harness.spec.models import Source

CACHE = "projections.json"


@click.command()
@suite_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="The file to write; by default report.html among the suite's results.",
)
def command(session: Session, output: Path | None) -> None:
    """Write a suite's results as one HTML file: table, claims, curves, cost, collapse, failures, provenance.

    The file needs no network and nothing beside it; it may be sent to a colleague as it is.
    """
    from harness.analysis.report.page import render
    from harness.cli.output_directory import claim
    from harness.store.atomic import write_text

    path = output or session.output / "report.html"
    if output is None:
        claim(session.output, session.suite, session.results)
    write_text(path, render(_report_content(session), session.output / CACHE))
    click.echo(f"written: {path} ({path.stat().st_size / 1e6:.2f} MB)")


def _report_content(session: Session) -> ReportContent:
    from harness.analysis.references import load
    from harness.analysis.report.page import ReportContent

    suite, records = session.suite, session.records()
    preset = f" --preset {suite.preset}" if suite.preset else ""
    fixed = "".join(f" --set {name}={node.value}" for name, node in suite.fixed)
    return ReportContent(
        title=suite.title,
        description=suite.content.description,
        records=records,
        specs=suite.content.tables,
        references=load(),
        verdicts=session.verdicts(records),
        controls=session.controls,
        rule=suite.content.collapse,
        metrics=session.expansion.metrics,
        renamed=session.expansion.renamed,
        classes=class_names(records, session.data_dir),
        files=[(str(path), path.read_text(encoding="utf-8")) for path in suite.files],
        command=f"{suite.path}{preset}{fixed}",
        search=_search(session),
    )


def _search(session: Session) -> SweepResults | None:
    """What a sweep has left among the suite's results; None where there was none."""
    from harness.analysis.report.page import SweepResults
    from harness.sweep.pictures import BEST, CHART, DIRECTORY, HEADINGS

    best = session.output / BEST
    if session.suite.content.sweep is None or not best.exists():
        return None
    files = [(heading, session.output / DIRECTORY / f"{name}{CHART}") for name, heading in HEADINGS.items()]
    charts = [(heading, json.loads(file.read_text(encoding="utf-8"))) for heading, file in files if file.exists()]
    return SweepResults(charts, best.read_text())


def class_names(records: list[Record], data_dir: Path) -> dict[str, tuple[str, ...]]:
    """By dataset label, from the copies on this machine that have the labels which its results were scored on: those
    are the images that the page shows. Without a name where rows of one dataset were scored on different ones."""
    scored: dict[str, list[Source]] = {}
    for record in records:
        answered = record.result.evaluations if record.result is not None else {}
        done = [name for name, answer in answered.items() if answer.status == "done"]
        if done:
            scored.setdefault(record.placed.dataset, []).append(record.cell.evaluations[done[0]].scored)
    alike = {label: sources[0] for label, sources in scored.items() if len({source.labels for source in sources}) == 1}
    return {label: names for label, source in alike.items() if (names := _names(source, data_dir))}


def _names(source: Source, data_dir: Path) -> tuple[str, ...]:
    """Names of the classes of a source, by the local copy of just these labels; empty where there is none."""
    from harness.data.packed import read_manifest

    manifest = read_manifest(source.name, data_dir)
    if manifest is None or source.labels is None:
        return ()
    here = tuple(manifest.labels.get(split) for split in source.splits)
    return manifest.classes if here == source.labels else ()
