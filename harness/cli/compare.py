"""`harness compare`: two results directories, or two commits of one, beside each other."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from harness.cli.session import BAD_ARGUMENTS, data_option, friendly, open_session, results_option

if TYPE_CHECKING:
    from harness.analysis.compare import Comparison
    from harness.analysis.stored import StoredRun
    from harness.store.store import Store
    from harness.suite.planned import Planned

FELL = 1


@dataclass(frozen=True)
class _Side:
    name: str
    """What it is, in words."""
    runs: tuple[StoredRun, ...]


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--suite", type=click.Path(path_type=Path), default=None, help="Compare its cells only, by its names.")
@click.option("--preset", default=None, metavar="NAME", help="A preset of the suite.")
@click.option(
    "--metric", "metrics", multiple=True, help="Such as linear_top1; repeatable. By default the first of each probe."
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write Markdown here too."
)
@click.option(
    "--fail-on-drop",
    type=click.FloatRange(min=0),
    default=None,
    metavar="POINTS",
    help="Exit with 1 if a row of B is worse than A by more than so many points, or units of the metric, with its "
    "whole interval, or a cell that was done in A failed in B.",
)
@results_option
@data_option
@friendly
def command(
    a: str,
    b: str,
    suite: Path | None,
    preset: str | None,
    metrics: tuple[str, ...],
    output: Path | None,
    fail_on_drop: float | None,
    results: Path,
    data_dir: str | None,
) -> None:
    """What changed from A to B, and by how much: two results directories, or two commits of the results directory.

    A directory holds `cells`, as `harness run` fills it. Anything else is taken for a commit of the repository that
    tracks --results, such as `HEAD~1`, whose committed results are read. Cells are matched by their id, or else with
    the one that differs least; their evaluations by what their probes are called, or what the suite calls them.
    """
    from harness.analysis.compare import compare
    from harness.analysis.compare_tables import tables
    from harness.analysis.frame import DEFAULT_RULE
    from harness.analysis.markdown import document
    from harness.analysis.render import render
    from harness.store.atomic import write_text
    from harness.store.commits import CommitError

    session = open_session(suite, preset, (), results, data_dir) if suite else None
    rule = session.suite.content.collapse if session else DEFAULT_RULE
    planned = session.expansion.planned if session else None
    with tempfile.TemporaryDirectory(prefix="harness-compare-") as scratch:
        try:
            sides = [_side(text, results, Path(scratch) / str(place), planned) for place, text in enumerate((a, b))]
        except CommitError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(BAD_ARGUMENTS)
        comparison = compare(sides[0].runs, sides[1].runs)
        chosen = _metrics(comparison, metrics)
        made = tables(comparison, chosen, sides[0].name, sides[1].name, rule)
    Console().print(render(made))
    if output is not None:
        write_text(output, document("What changed from A to B", made))
        click.echo(f"written: {output}")
    if fail_on_drop is not None:
        _check_drops(comparison, chosen, fail_on_drop)


def _side(text: str, results: Path, scratch: Path, planned: Sequence[Planned] | None) -> _Side:
    """The results of a directory, or of a commit; of the cells of a suite, where one is given.

    Raises CommitError if it is neither, or a directory without a store.
    """
    from harness.cli.session import open_store
    from harness.store.commits import CommitError, checkout_results
    from harness.store.store import Store

    if Path(text).is_dir():
        if Path(text).name != "cells" and not (Path(text) / "cells").is_dir():
            raise CommitError(
                f"{text} holds no `cells`: give the directory that `harness run` fills (`results`, say), and `--suite` "
                "for the cells of one suite"
            )
        store = Store(Path(text)) if Path(text).name == "cells" else open_store(Path(text))
        return _read(text, store, planned)
    store, commit = checkout_results(text, results / "cells", scratch)
    name = f"commit {commit[:12]}"
    return _read(name if commit.startswith(text) else f"{text}, {name}", store, planned)


def _read(name: str, store: Store, planned: Sequence[Planned] | None) -> _Side:
    """What may be believed; what may not is counted in the name, with its reason."""
    from harness.analysis.stored import stored_runs, suite_runs

    runs = stored_runs(store)
    reasons = [reason for id_ in store.ids() if (reason := store.read_pretraining(id_).reason)]
    for id_ in {run.id for run in runs}:
        answers = (store.read_evaluation(id_, evaluation) for evaluation in store.evaluation_ids(id_))
        reasons += [answer.reason for answer in answers if answer.reason]
    said = f"{name} ({len(runs)} results"
    said += f"; {len(reasons)} not read: {reasons[0]}" if reasons else ""
    older = len(store.ids_of_first_version())
    said += f"; {older} of the first version, which are not read any more" if older else ""
    return _Side(f"{said})", tuple(runs if planned is None else suite_runs(store, planned)))


def _metrics(comparison: Comparison, asked: Sequence[str]) -> list[str]:
    """Those asked for, or else the first of each evaluation that both sides have."""
    unknown = [name for name in asked if name not in comparison.metrics]
    if unknown and comparison.pairs:
        known = ", ".join(comparison.metrics) or "none"
        click.echo(f"error: no pair of cells has the metric `{unknown[0]}` on both sides; they have: {known}", err=True)
        sys.exit(BAD_ARGUMENTS)
    return list(dict.fromkeys(asked)) or comparison.first_metrics


def _check_drops(comparison: Comparison, metrics: Sequence[str], points: float) -> None:
    """Say what fell by more, and exit with 1 if anything did."""
    from harness.analysis.entries import headings, title_of
    from harness.spec.metric import PER_CENT

    titles = headings(comparison.measured)
    lost = [pair for pair in comparison.pairs if pair.a.status == "done" and pair.b.status == "failed"]
    verdicts = [(row, metric, row.fell(metric, points)) for row in comparison.rows for metric in metrics]
    for row, metric, fell in verdicts:
        if fell:
            fall = f"fell by more than {points:g} points"
            if (measured := row.metric(metric)).unit != PER_CENT:
                fall = f"got worse by more than {measured.said(points)}"
            click.echo(f"{row.name} on {row.dataset}: {title_of(metric, titles)} {fall}", err=True)
    if lost:
        click.echo(f"cells that were done in A and failed in B: {len(lost)}", err=True)
    if unsure := sum(fell is None for _, _, fell in verdicts):
        click.echo(f"differences of one seed or none, which are not judged: {unsure}", err=True)
    if lost or any(fell for _, _, fell in verdicts):
        sys.exit(FELL)
