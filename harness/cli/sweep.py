"""`harness sweep`: every method's settings are searched at the same budget, and the winners become a suite."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from harness.cli.plan import print_missing
from harness.cli.run import FAILED, INTERRUPTED, hung_after_option, job_of, stopping
from harness.cli.session import BAD_ARGUMENTS, Session, suite_options

if TYPE_CHECKING:
    from harness.engines.execution import Execution
    from harness.sweep.rows import SweepRow
    from harness.sweep.trials import RowStudy

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):  # type: ignore[type-arg]  # older releases take none
    """`90s`, `30m`, `8h`, `2d`, as seconds."""

    name = "DURATION"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]*\.?[0-9]+) ?([smhd])", str(value))
        if not match:
            self.fail(f"{value} is no duration: write 90s, 30m, 8h or 2d", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


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
@hung_after_option
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
    hung_after: float,
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
        with _database_errors():
            studies, rows = _studies(session, storage, trials, resume)
            finished, stopped = _search(session, studies, execution, workers, storage, deadline, 60 * hung_after)
            _write(session, rows, studies)
    except (DeviceError, SweepError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(BAD_ARGUMENTS)
    _finish(session, studies, rows, finished, stopped)


@contextmanager
def _database_errors() -> Iterator[None]:
    """Says what to do about a database that goes away."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    from harness.sweep.rows import SweepError
    from harness.sweep.study import database_reason

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        why = database_reason(error)
        raise SweepError(f"the database failed: {why}; no trial is lost, run the same command again") from error


def _studies(
    session: Session, url: str | None, budget: int | None, resume: bool
) -> tuple[list[RowStudy], list[SweepRow]]:
    """The studies of all rows that can run, none of them changed."""
    from harness.sweep import study
    from harness.sweep.resolve import sweep_rows
    from harness.sweep.rows import SweepError
    from harness.sweep.trials import RowStudy

    study.silence_optuna()
    rows = sweep_rows(session.suite, session.expansion, session.catalogue, session.facts)
    spec = session.suite.content.sweep
    assert spec is not None
    here = [row for row in rows if row.tuned and not row.missing_data]
    storage = study.open_storage(session.output, url)
    name = session.suite.name
    if resume and not study.has_studies(storage, name, here):
        where = study.without_password(url) if url else str(session.output / study.JOURNAL)
        raise SweepError(f"--resume: there is no sweep of {name} in {where}; leave --resume out to begin one")
    opened = study.open_studies(storage, name, here, spec)
    pairs = zip(here, opened, strict=True)
    return [RowStudy(row, opened_, storage, spec, budget or spec.trials) for row, opened_ in pairs], rows


def _search(
    session: Session,
    studies: list[RowStudy],
    execution: Execution,
    workers: int,
    url: str | None,
    deadline: float | None,
    hung_after_seconds: float,
) -> tuple[bool, bool]:
    """Run until the budgets are spent; whether they are, and whether a signal stopped it."""
    from harness.cli.output_directory import claim
    from harness.engines.engine import WorkersLost, open_engine
    from harness.progress import watch
    from harness.sweep.frames import write_trials
    from harness.sweep.loop import Sweep
    from harness.sweep.processes import SweepProcess
    from harness.sweep.progress import SweepProgress
    from harness.sweep.rows import SweepError

    left = sum(max(0, study.budget - study.result().ended) for study in studies)
    claim(session.output, session.suite, session.results)
    process = SweepProcess(session.output, studies[0].study if url and studies else None)
    with stopping() as stop, watch(left) as watcher, process:

        def should_stop() -> bool:
            return stop.is_set() or (deadline is not None and time.monotonic() > deadline)

        job, width = job_of(session, execution), workers if workers > 1 else None
        progress = SweepProgress(watcher, studies)

        def on_change(study: RowStudy) -> None:
            write_trials(session.output, studies)
            progress.update(study.result())

        try:
            with open_engine(width, job, session.methods, watcher, should_stop, hung_after_seconds) as engine:
                lock = session.output / "sweep.lock"
                sweep = Sweep(studies, engine, job, process, lock, should_stop, on_change, watcher.settled)
                return sweep.run(), stop.is_set()
        except WorkersLost as error:
            raise SweepError(f"{error}; what is done is stored") from error


def _write(session: Session, rows: list[SweepRow], studies: list[RowStudy]) -> None:
    from harness.sweep.outputs import write_outputs

    if not any(study.result().ended for study in studies):
        return
    paths = write_outputs(
        session.output, session.suite, rows, studies, session.catalogue, session.facts, session.store, session.code
    )
    click.echo("written: " + ", ".join(str(path) for path in paths))


def _finish(session: Session, studies: list[RowStudy], rows: list[SweepRow], finished: bool, stopped: bool) -> None:
    """Show the winners, say what is left, exit with what happened."""
    from rich.console import Console

    from harness.sweep.progress import describe
    from harness.sweep.study import without_password

    for study in studies:
        click.echo(f"{study.row.title}: {describe(study.result())}")
    again = without_password(shlex.join(["harness", *sys.argv[1:]]))
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
