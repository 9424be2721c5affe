"""`harness report`: a suite's results as one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.session import Session, suite_options

if TYPE_CHECKING:
    from harness.analysis.report.page import Material, Search

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
    from harness.store.atomic import write_text

    path = output or session.output / "report.html"
    write_text(path, render(_material(session), session.output / CACHE))
    click.echo(f"written: {path} ({path.stat().st_size / 1e6:.2f} MB)")


def _material(session: Session) -> Material:
    from harness.analysis.references import load
    from harness.analysis.report.page import Material

    suite, records = session.suite, session.records()
    preset = f" --preset {suite.preset}" if suite.preset else ""
    fixed = "".join(f" --set {name}={node.value}" for name, node in suite.fixed)
    return Material(
        title=suite.title,
        description=suite.content.description,
        records=records,
        specs=suite.content.tables,
        references=load(),
        verdicts=session.verdicts(records),
        controls=session.controls,
        classes=_class_names(session),
        files=[(str(path), path.read_text(encoding="utf-8")) for path in suite.files],
        command=f"{suite.path}{preset}{fixed}",
        search=_search(session),
    )


def _search(session: Session) -> Search | None:
    """What a sweep has left among the suite's results; None where there was none."""
    from harness.analysis.report.page import Search
    from harness.sweep.pictures import BEST, DIRECTORY, HEADINGS

    best = session.output / BEST
    if session.suite.content.sweep is None or not best.exists():
        return None
    files = [(heading, session.output / DIRECTORY / f"{name}.png") for name, heading in HEADINGS.items()]
    return Search([(heading, file.read_bytes()) for heading, file in files if file.exists()], best.read_text())


def _class_names(session: Session) -> dict[str, tuple[str, ...]]:
    """By dataset label, from the copies on this machine that the cells were planned with."""
    from harness.data.packed import read_manifest

    found: dict[str, tuple[str, ...]] = {}
    for placed in session.expansion.planned:
        spec = placed.cell.dataset
        if placed.dataset in found or spec.fingerprint is None:
            continue
        manifest = read_manifest(spec.name, session.data_dir)
        if manifest is not None and manifest.fingerprint == spec.fingerprint:
            found[placed.dataset] = manifest.classes
    return found
