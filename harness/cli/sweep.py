"""`harness sweep`: every method's settings are searched at the same budget, and the winners become a suite."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from harness.cli.plan import print_missing
from harness.cli.run import FAILED, INTERRUPTED, stopping
from harness.cli.session import BAD_ARGUMENTS, Session, suite_options

if TYPE_CHECKING:
    from harness.engines.context import Context
    from harness.engines.execution import Execution
    from harness.sweep.loop import Engine
    from harness.sweep.rows import Row
    from harness.sweep.trials import Trials

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):  # type: ignore[type-arg]  # older releases take none
    """`90s`, `30m`, `8h`, `2d`, as seconds."""

    name = "DURATION"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"([0-9]*\.?[0-9]+) ?([smhd])", str(value))
        if not found:
            self.fail(f"{value} is no duration: write 90s, 30m, 8h or 2d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.command()
@suite_options(try_backbones=True)
@click.option("--trials", type=click.IntRange(min=1), default=None, help="Budget of each row, in place of the suite's.")
@click.option("--time-budget", type=Duration(), default=None, help="Stop after so long (90s, 30m, 8h), at checkpoints.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Trials at once.")
@click.option(
    "--storage",
    default=None,
    envvar="HARNESS_STORAGE",
    metavar="URL",
    show_envvar=True,
    help="A database for many machines, such as postgresql://user@host/sweeps; by default a file in the results.",
)
@click.option("--resume", is_flag=True, help="Go on with a sweep that exists; without it one is begun if need be.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option("--threads", type=click.IntRange(min=1), default=None, help="CPU threads of torch, in each worker.")
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(min=0), default=120.0, show_default=True, help="Between them."
)
@click.option(
    "--keep-encoders",
    is_flag=True,
    help="Keep every trial's encoder on the disk; by default it goes once it is evaluated, and its numbers stay.",
)
def command(
    session: Session,
    trials: int | None,
    time_budget: float | None,
    workers: int,
    storage: str | None,
    resume: bool,
    device: str,
    threads: int | None,
    checkpoint_seconds: float,
    keep_encoders: bool,
) -> None:
    """Search the settings of every row of a suite, and write the winners as a suite.

    Running the same command again goes on where it was; running it on other machines too shares the work.
    """
    from harness.engines.execution import DeviceError, Execution
    from harness.sweep.rows import SweepError

    deadline = None if time_budget is None else time.monotonic() + time_budget
    execution = Execution(session.data_dir, device, threads, checkpoint_seconds, keep_encoders=keep_encoders)
    try:
        execution.torch_device()
        with _told():
            studies, rows = _studies(session, storage, trials, resume)
            finished, stopped = _search(session, studies, execution, workers, storage, deadline)
            _write(session, rows, studies)
    except (DeviceError, SweepError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(BAD_ARGUMENTS)
    _finish(session, studies, rows, finished, stopped)


@contextmanager
def _told() -> Iterator[None]:
    """A database that goes away is the user's to mend, and loses nothing."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    from harness.sweep.rows import SweepError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        why = str(getattr(error, "orig", None) or error.__cause__ or error).strip().splitlines()[0]
        raise SweepError(f"the database failed: {why}; no trial is lost, run the same command again") from error


def _studies(session: Session, url: str | None, budget: int | None, resume: bool) -> tuple[list[Trials], list[Row]]:
    """The studies of all rows that can run, none of them changed."""
    from harness.sweep import study
    from harness.sweep.resolve import sweep_rows
    from harness.sweep.rows import SweepError
    from harness.sweep.trials import Trials

    study.quiet()
    rows = sweep_rows(session.suite, session.expansion, session.catalogue, session.facts)
    spec = session.suite.content.sweep
    assert spec is not None
    here = [row for row in rows if row.tuned and not row.missing_data]
    storage = study.open_storage(session.output, url)
    name = session.suite.name
    if resume and not study.has_studies(storage, name, here):
        where = study.hidden(url) if url else str(session.output / study.JOURNAL)
        raise SweepError(f"--resume: there is no sweep of {name} in {where}; leave --resume out to begin one")
    opened = study.open_studies(storage, name, here, spec)
    return [
        Trials(row, found, storage, spec, budget or spec.trials) for row, found in zip(here, opened, strict=True)
    ], rows


def _search(
    session: Session,
    studies: list[Trials],
    execution: Execution,
    workers: int,
    url: str | None,
    deadline: float | None,
) -> tuple[bool, bool]:
    """Run until the budgets are spent; whether they are, and whether it was told to stop by a signal."""
    from harness.cli.output_directory import claim
    from harness.engines.context import Context
    from harness.progress import watch
    from harness.sweep.ledger import write_trials
    from harness.sweep.loop import Sweep
    from harness.sweep.presence import Presence
    from harness.sweep.progress import Board
    from harness.sweep.trials import Trial

    left = sum(max(0, study.budget - sum(trial.ended for trial in study.all())) for study in studies)
    claim(session.output, session.suite, session.results)
    presence = Presence(session.output, studies[0].study if url and studies else None)
    with stopping() as stop, watch(left) as watcher, presence:

        def should_stop() -> bool:
            return stop.is_set() or (deadline is not None and time.monotonic() > deadline)

        weights, rule = session.facts.weight_files, session.suite.content.collapse
        context = Context(session.store, session.code, execution, watcher, should_stop, weights, rule)
        board = Board(watcher, studies)
        known = {id(study): list[Trial]() for study in studies}

        def changed(study: Trials, trials: Sequence[Trial]) -> None:
            known[id(study)] = list(trials)
            write_trials(session.output, [known[id(s)] or s.all() for s in studies])
            board.changed(study, trials)

        with _engine(session, context, workers) as engine:
            lock = session.output / "sweep.lock"
            sweep = Sweep(studies, engine, session.store, presence, lock, should_stop, changed, watcher.settled)
            return sweep.run(), stop.is_set()


@contextmanager
def _engine(session: Session, context: Context, workers: int) -> Iterator[Engine]:
    """One trial after another in this process, or so many at once in others."""
    from harness.engines import local_processes
    from harness.sweep.loop import OneByOne
    from harness.sweep.rows import SweepError

    if workers == 1:
        yield OneByOne(session.methods, context)
        return
    try:
        with local_processes.Pool(workers, context, session.suite.extensions) as pool:
            yield pool
    except local_processes.WorkersLost as error:
        raise SweepError(f"{error}; what is done is stored") from error


def _write(session: Session, rows: list[Row], studies: list[Trials]) -> None:
    from harness.sweep.outputs import write_outputs

    if not any(trial.ended for study in studies for trial in study.all()):
        return
    paths = write_outputs(
        session.output, session.suite, rows, studies, session.catalogue, session.facts, session.store, session.code
    )
    click.echo("written: " + ", ".join(str(path) for path in paths))


def _finish(session: Session, studies: list[Trials], rows: list[Row], finished: bool, stopped: bool) -> None:
    """Show the winners, say what is left, exit with what happened."""
    from rich.console import Console

    from harness.sweep.progress import standing
    from harness.sweep.study import hidden

    for study in studies:
        click.echo(f"{study.row.title}: {standing(study.all())}")
    again = hidden(shlex.join(["harness", *sys.argv[1:]]))
    if not finished:
        why = "interrupted" if stopped else "the time is up"
        click.echo(f"{why}, no trial is lost; go on with: {again}", err=True)
        if stopped:
            sys.exit(INTERRUPTED)
    else:
        click.echo(f"run the winners with: harness run {session.output / 'best.yaml'}")
    if any(row.missing_data and row.tuned for row in rows):
        click.echo("rows without their data were not swept", err=True)
        print_missing(session, Console(stderr=True))
        sys.exit(FAILED)
