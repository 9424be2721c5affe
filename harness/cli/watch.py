"""`harness watch`: a run in another process or on a cluster, seen through the store alone. Owns screen and keys."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.cli.session import Session, suite_options

if TYPE_CHECKING:
    from harness.analysis.live import Snapshot

LOOK_SECONDS = 0.25  # between looks at the keyboard and the window's size
HINT = "q leaves; the run goes on"


@click.command()
@suite_options
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Seconds between two looks."
)
@click.option("--once", is_flag=True, help="Print how things stand now, and leave.")
def command(session: Session, interval: float, once: bool) -> None:
    """A live view of a suite that another process runs, here or on a cluster.

    Only reads the results directory, so it needs no connection to the run and does it no harm. `q` or Ctrl-C leaves.
    Where the output is no terminal, plain lines are printed every interval until nothing is left to run.
    """
    from harness.analysis.live import CachedStore, look

    store = CachedStore(session.store.root)

    def now() -> Snapshot:
        return look(session.suite.title, session.expansion, store, session.facts, session.suite.content.collapse)

    console = Console()
    with contextlib.suppress(KeyboardInterrupt):
        if once:
            _print(console, now())
        elif console.is_terminal:
            _live(console, now, interval)
        else:
            _lines(console, now, interval)


def _print(console: Console, snapshot: Snapshot) -> None:
    from harness.analysis.live_view import frame

    for line in frame(snapshot, console.width):
        console.print(line, highlight=False, crop=False)


def _lines(console: Console, now: Callable[[], Snapshot], interval: float) -> None:
    """One picture below the other, until every cell has ended."""
    while True:
        snapshot = now()
        _print(console, snapshot)
        if not snapshot.open:
            return
        console.print()
        time.sleep(interval)


def _live(console: Console, now: Callable[[], Snapshot], interval: float) -> None:
    """One picture that changes, as large as the window, until `q`."""
    snapshot, size = now(), console.size
    looked = time.monotonic()
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        live.update(_screen(snapshot, size.width, size.height), refresh=True)
        while "q" not in pressed(LOOK_SECONDS).lower():
            due = time.monotonic() - looked >= interval
            if due:
                snapshot, looked = now(), time.monotonic()
            if due or console.size != size:
                size = console.size
                live.update(_screen(snapshot, size.width, size.height), refresh=True)


def _screen(snapshot: Snapshot, width: int, height: int) -> Text:
    """The picture, and in the last line how to leave."""
    from harness.analysis.live_view import frame

    lines = frame(snapshot, width, height - 1)
    lines += [Text()] * (height - 1 - len(lines))
    return Text("\n").join([*lines, Text(HINT[:width], style="bright_black")])


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for keys and returns them; without a keyboard it only waits."""
    if not sys.stdin.isatty():
        yield _no_keys
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return os.read(descriptor, 64).decode(errors="ignore") if ready else ""

    try:
        tty.setcbreak(descriptor)  # Ctrl-C still interrupts
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_keys(seconds: float) -> str:
    time.sleep(seconds)
    return ""
