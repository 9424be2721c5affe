"""What is shown: lines in a log, bars in a terminal, and honest times."""

import errno
import io
import os
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness.progress import Clock, PlainWatcher, RichWatcher, duration, first_line, reading_text, result_text, watch
from harness.spec.collapse import CollapseRule
from harness.spec.metric import Metric
from harness.store.records import Failure


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
    watcher.ended("a", "interrupted", "stopped at a checkpoint")
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines == [
        "[1/2] w_mse on digits, seed 0: started (a)",
        "w_mse on digits, seed 0: epoch 3/10, loss 0.1235, knn5_top1 91.2 %, 1,234 views/s, 1 min 05 s left",
        "[1/2] w_mse on digits, seed 0: stopped at a checkpoint (0 s left)",
    ]


def test_accuracies_of_all_monitors_are_shown_and_diagnostics_are_not():
    reading = Reading(latest={"loss": 1.0, "linear_top1": 40.0, "linear_top5": 80.0, "v_std": 1.0, "knn5_top1": 50.0})
    assert reading_text(reading) == "loss 0.1235, linear_top1 40.0 %, knn5_top1 50.0 %, 1,234 views/s, 1 min 05 s left"


def test_cells_that_run_at_once_are_counted_apart():
    stream = io.StringIO()
    watcher = PlainWatcher(2, stream)
    watcher.started("a", "x")
    watcher.started("b", "y")
    watcher.ended("b", "interrupted", "stopped at a checkpoint")
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines[:2] == ["[1/2] x: started (a)", "[2/2] y: started (b)"]
    assert lines[2].startswith("[1/2] y: stopped")


def test_a_task_that_starts_again_in_another_process_is_counted_once():
    stream = io.StringIO()
    watcher = PlainWatcher(2, stream)
    for task in ("a", "a", "b"):
        watcher.started(task, f"label {task}")
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines == ["[1/2] label a: started (a)", "[1/2] label a: started (a)", "[2/2] label b: started (b)"]
    console = Console(file=io.StringIO(), force_terminal=True, width=150)
    with RichWatcher(2, console) as bars:
        for _ in range(2):
            bars.started("a", "label a")
        assert len(bars.bars.tasks) == 2  # all tasks, and this one
        bars.ended("a", "done", "")
        assert len(bars.bars.tasks) == 1


def test_a_reader_who_has_gone_stops_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        watcher = PlainWatcher(1, stream)
        watcher.started("a", "x")
        watcher.ended("a", "done", "y")
        open_files = len(os.listdir("/proc/self/fd"))
        watcher.note("z" * 100_000)
        stream.flush()  # as at the end of the process
        assert len(os.listdir("/proc/self/fd")) == open_files


def test_a_log_on_a_full_disk_stops_nothing():
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    watcher = PlainWatcher(1, Full())
    watcher.started("a", "x")
    watcher.ended("a", "done", "y")
    assert watcher.clock.ended == 1


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
        watcher.stage("a", "evaluating [knn5]")
        watcher.bars.refresh()
        watcher.ended("a", "failed", "FAILED knn5: ValueError: no")
    out = console.file.getvalue()
    for text in (
        "w_mse [d=2]",
        "loss 0.1235",
        "knn5_top1 91.2 %",
        "1,234 views/s",
        "1 min 05 s left",
        "evaluating [knn5]",
        "FAILED knn5",
        "1/2",
    ):
        assert text in out


@dataclass
class Result:
    failures: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    cost: object = None
    dead: bool = False

    @property
    def evaluations(self):
        parts = [(*name.split("_"), value) for name, value in self.metrics.items()]
        return {name: SimpleNamespace(metrics={own: value, "more": 0.0}) for name, own, value in parts}

    @property
    def measured(self):
        return {name: Metric("top1", name) for name in self.metrics}

    def collapsed(self, rule):
        assert rule == CollapseRule(min_std=0.5)
        return self.dead


@dataclass
class Cost:
    train_seconds: float = 50.0
    evaluation_seconds: float = 15.0


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (
            Result(metrics={"linear_top1": 61.234, "knn5_top1": 50.0}, cost=Cost()),
            "linear_top1 61.23 %, knn5_top1 50.00 %, 1 min 05 s",
        ),
        (Result(metrics={"knn5_top1": 50.0}, cost=Cost(), dead=True), "knn5_top1 50.00 %, collapsed, 1 min 05 s"),
        (
            Result({"linear": Failure(kind="ValueError", message="no\nmore", traceback="")}, {"knn5_top1": 50.0}),
            "FAILED linear: ValueError: no, knn5_top1 50.00 %",
        ),
    ],
)
def test_a_result_in_a_line(result, text):
    assert result_text(result, CollapseRule(min_std=0.5)) == text


def test_a_terminal_gets_bars_and_a_file_gets_lines():
    assert isinstance(watch(1, Console(file=io.StringIO(), force_terminal=True)), RichWatcher)
    assert isinstance(watch(1, Console(file=io.StringIO())), PlainWatcher)


def test_first_line():
    assert first_line("\n one\ntwo") == "one"
