"""What is shown: lines in a log, bars in a terminal, and honest times."""

import io
from dataclasses import dataclass, field

from rich.console import Console

from harness.progress import Clock, PlainWatcher, RichWatcher, duration, first_line, watch


@dataclass
class Reading:
    epoch: int = 3
    epochs: int = 10
    step: int = 30
    steps: int = 100
    loss: float = 0.123456
    views_per_second: float = 1234.4
    seconds_left: float = 65.0
    latest: dict = field(default_factory=lambda: {"knn5_top1": 91.25, "h_std": 0.5})


def test_durations_in_words():
    assert [duration(s) for s in (0.2, 59.4, 65, 3599, 7620)] == [
        "0 s",
        "59 s",
        "1 min 05 s",
        "59 min 59 s",
        "2 h 07 min",
    ]


def test_time_left_from_the_cells_that_ended(monkeypatch):
    monkeypatch.setattr("harness.progress.time.monotonic", lambda: 30.0)
    assert Clock(total=4, ended=0, began=10.0).left() == ""
    assert Clock(total=4, ended=1, began=10.0).left() == "1 min 00 s"


def test_plain_lines():
    stream = io.StringIO()
    watcher = PlainWatcher(3, stream, every=0.0)
    watcher.settled("c")
    watcher.started("a", "w_mse on digits, seed 0")
    watcher.training("a", Reading())
    watcher.ended("a", "interrupted", None)
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines == [
        "[1/2] w_mse on digits, seed 0: started (a)",
        "w_mse on digits, seed 0: epoch 3/10, loss 0.1235, knn5_top1 91.2 %, 1,234 views/s, 1 min 05 s left",
        "[1/2] w_mse on digits, seed 0: interrupted (0 s left)",
    ]


def test_cells_that_run_at_once_are_counted_apart():
    stream = io.StringIO()
    watcher = PlainWatcher(2, stream)
    watcher.started("a", "x")
    watcher.started("b", "y")
    watcher.ended("b", "interrupted", None)
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines[:2] == ["[1/2] x: started (a)", "[2/2] y: started (b)"]
    assert lines[2].startswith("[1/2] y: interrupted")


def test_plain_lines_are_not_too_many():
    stream = io.StringIO()
    watcher = PlainWatcher(1, stream, every=30.0)
    watcher.started("a", "x")
    for _ in range(100):
        watcher.training("a", Reading())
    assert len(stream.getvalue().splitlines()) == 1


def test_bars_show_loss_knn_speed_and_time_left():
    console = Console(file=io.StringIO(), force_terminal=True, width=150)
    with RichWatcher(2, console) as watcher:
        watcher.started("a", "w_mse [d=2]")
        watcher.training("a", Reading())
        watcher.bars.refresh()
        watcher.ended("a", "failed", None)
    out = console.file.getvalue()
    for text in ("w_mse [d=2]", "loss 0.1235", "knn5_top1 91.2 %", "1,234 views/s", "1 min 05 s left", "failed", "1/2"):
        assert text in out


def test_a_terminal_gets_bars_and_a_file_gets_lines():
    assert isinstance(watch(1, Console(file=io.StringIO(), force_terminal=True)), RichWatcher)
    assert isinstance(watch(1, Console(file=io.StringIO())), PlainWatcher)


def test_first_line():
    assert first_line("\n one\ntwo") == "one"
