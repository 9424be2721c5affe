"""`harness run`: what is missing is trained, then the suite's tables are written and shown."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console

from harness.cli.outputs import write_and_show
from harness.cli.plan import print_missing
from harness.cli.session import BAD_ARGUMENTS, Session, suite_options

if TYPE_CHECKING:
    from harness.engines.execution import Execution
    from harness.engines.job import Job
    from harness.engines.task import Outcome, Task

FAILED, INTERRUPTED = 1, 130

hung_after_option = click.option(
    "--hung-after",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="MINUTES",
    help="With workers: one that shows no sign of life for so long is killed, its cell has failed, the rest goes on. A "
    "training step is a sign, and so is the beginning of a stage; inside a compilation, the extraction of features or "
    "a linear probe there is none, so give more than the longest of them takes.",
)


@click.command()
@suite_options(try_backbones=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    help="Run so many cells at once, each in a process with its own CUDA device or share of the threads. By default "
    "one after another, in this process.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=None,
    help="CPU threads of torch, and processes that decode the images of large datasets, in each worker; by default "
    "torch's choice, divided by the workers.",
)
@hung_after_option
@click.option("--rerun-stale", is_flag=True, help="Also run again what was made by code that has changed since.")
@click.option(
    "--checkpoint-seconds",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="Time between checkpoints of a training run.",
)
@click.option(
    "--compile",
    "compile_encoders",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="torch.compile for the encoders; auto: on CUDA. Without it runs are only slower.",
)
@click.option("--plain", is_flag=True, help="Train without our CPU kernels: slower, for comparison.")
@click.option(
    "--drop-encoders",
    is_flag=True,
    help="Delete an encoder once all that was asked of it is answered. By default encoders are kept, so that another "
    "probe needs no training.",
)
@click.option(
    "--logger",
    "loggers",
    multiple=True,
    metavar="NAME",
    help="Tell a logger of every event, such as `jsonl`; repeatable. `harness list loggers` names them.",
)
@click.option(
    "--retrain-for-curves",
    is_flag=True,
    help="Train again what is done but lacks the curve of a monitor that the suite wants.",
)
def command(
    session: Session,
    device: str,
    workers: int | None,
    threads: int | None,
    hung_after: float,
    rerun_stale: bool,
    checkpoint_seconds: float,
    compile_encoders: Literal["auto", "on", "off"],
    plain: bool,
    drop_encoders: bool,
    loggers: tuple[str, ...],
    retrain_for_curves: bool,
) -> None:
    """Run what is not done of a suite, then write and show its tables.

    Running the same command again does nothing twice and goes on with what was interrupted: an encoder that is there is
    only asked what it was not asked before.
    """
    from harness.engines.engine import WorkersLost, open_engine, run
    from harness.engines.execution import DeviceError, Execution
    from harness.engines.task import tasks_of
    from harness.loggers.watcher import open_loggers, telling
    from harness.progress import watch

    execution = Execution(
        session.data_dir,
        device,
        threads,
        checkpoint_seconds,
        compile_encoders,
        plain,
        keep_encoders=not drop_encoders,
        curves_of_finished=retrain_for_curves,
    )
    try:
        execution.torch_device()
    except DeviceError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(BAD_ARGUMENTS)
    _ = session.output  # refused now, not after hours, if it is another suite's
    tasks = tasks_of(item for item in session.expansion.planned if item.missing_data is None)
    job = job_of(session, execution, tasks)
    width = None if workers is None else max(1, min(workers, len(tasks)))
    opened = open_loggers(loggers, session.output, session.suite.name)
    try:
        with (
            stopping() as stop,
            watch(len(tasks)) as shown,
            telling(opened, shown, tasks, session.store) as watcher,
            open_engine(width, job, session.methods, watcher, stop.is_set, 60 * hung_after) as engine,
        ):
            outcomes = run(engine, job, watcher, rerun_stale=rerun_stale)
    except WorkersLost as error:
        click.echo(f"error: {error}; what is done is stored", err=True)
        sys.exit(FAILED)
    finish(session, tasks, outcomes)


def job_of(session: Session, execution: Execution, tasks: Iterable[Task] = ()) -> Job:
    """These tasks of a suite as a job, with all that an engine must know besides."""
    from harness.engines.job import Job

    return Job(
        tasks=tuple(tasks),
        store=session.store.root,
        execution=execution,
        code=session.code,
        extensions=tuple(session.suite.extensions),
        weights=dict(session.facts.weight_files),
        rule=session.suite.content.collapse,
    )


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into a wish to stop at a checkpoint; a second one kills as usual."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        click.echo("stopping at a checkpoint; once more to stop at once", err=True)
        for restored, handler in before.items():
            signal.signal(restored, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def finish(session: Session, tasks: list[Task], outcomes: dict[str, Outcome]) -> None:
    """Write and show the tables, say what is left, exit with what happened."""
    missing = sum(item.missing_data is not None for item in session.expansion.planned)
    if tasks or not missing:
        write_and_show(session)
    states = Counter(outcome.state for outcome in outcomes.values())
    if missing:
        click.echo(f"{missing} cells were not run for lack of data", err=True)
        print_missing(session, Console(stderr=True))
    again = shlex.join(["harness", *sys.argv[1:]])
    if states["interrupted"]:
        click.echo(f"interrupted with {states['interrupted']} tasks left; go on with: {again}", err=True)
        sys.exit(INTERRUPTED)
    if states["failed"]:
        click.echo(
            f"{states['failed']} failed; `harness show ID` tells why, and {again} tries what failed again", err=True
        )
    if states["failed"] or states["missing data"] or missing:
        sys.exit(FAILED)
