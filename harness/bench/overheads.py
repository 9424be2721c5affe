"""Rows: what stands around the training. The share of a suite's time that is training and evaluation, and of a
training's time that checkpoints and progress take."""

from __future__ import annotations

import io
import itertools
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from harness.bench.row import SHARE, Machine, Row, Side, Target
from harness.bench.stepping import QUIET, SteppedTrainer, Training
from harness.engines.engine import run
from harness.engines.execution import Execution
from harness.engines.inline import Inline
from harness.engines.job import Job
from harness.engines.task import tasks_of
from harness.progress import PlainWatcher, RichWatcher
from harness.registry import all_datasets, all_methods, all_probes
from harness.store.cell_result import read_cell
from harness.store.provenance import Code
from harness.store.store import Store
from harness.suite.expand import expand
from harness.suite.facts import Catalogue
from harness.suite.local_facts import LocalFacts
from harness.suite.suite import load_suite
from harness.training.trainer import Hooks, Progress

GROUP = "overheads"
CELL_ID = "0" * 20
REFRESHES_A_SECOND = 4  # of the bars in a terminal
CHECKPOINT_STEPS = 3  # a turn, with and without checkpoints
REPORTED_STEPS = 50  # a turn, with and without reports

SHORT_CELLS = """
title: Short cells
defaults:
  dataset: {image_size: 16}
  backbone: {name: resnet10t, stem: small_max_pool, width: 24}
  augmentation: {saturation: 0.0, hue: 0.0, greyscale_probability: 0.0, flip_probability: 0.0}
  schedule: {name: cosine, warmup_steps: 20}
  epochs: 6
  batch_size: 128
  settings:
    projector: {hidden: [128], embedding_size: 32}
    transform: {sub_batch_size: 64}
datasets: [digits]
methods: {w_mse: {}, contrastive: {}, byol: {}, untrained: {}}
"""


def rows(device: torch.device) -> tuple[Row, ...]:
    """The three shares."""
    every, reported = Hooks.checkpoint_seconds, Hooks.report_seconds
    return (
        Row(
            GROUP,
            "suite of short cells on digits: training and evaluation",
            SHARE,
            suite_side,
            target=Target("value", 95.0),
            note="four cells of seconds each through the inline engine, with locks, results and checkpoints on the "
            "disk; the start of the process is not in it",
        ),
        Row(
            GROUP,
            "checkpoints of ResNet-18",
            SHARE,
            checkpoint_side,
            target=Target("value", 1.0, most=True),
            note=f"what a checkpoint adds to the steps beside it, disk included, at one in {every:g} s",
        ),
        Row(
            GROUP,
            "progress in a terminal",
            SHARE,
            progress_side,
            target=Target("value", 1.0, most=True),
            note=f"what a report adds to a short step, at one in {reported:g} s, and {REFRESHES_A_SECOND} drawings of "
            "the bars a second",
        ),
    )


class ShortCells:
    """A small suite, run again and again in stores of their own."""

    def __init__(self, directory: Path, machine: Machine, text: str = SHORT_CELLS) -> None:
        self.directory, self.turns = directory, itertools.count()
        path = directory / "short.yaml"
        path.write_text(textwrap.dedent(text))
        suite = load_suite(path)
        self.methods = all_methods()
        self.execution = Execution(directory / "data", str(machine.device))
        facts = LocalFacts(self.execution.data_dir, Store(directory / "cells"))
        expansion = expand(suite, Catalogue(self.methods, all_probes(), all_datasets()), facts)
        self.cells, self.tasks = expansion.cells, tasks_of(expansion.planned)
        self.code = Code.read()

    def turn(self) -> float:
        """Run the suite; the share of the wall time in training and evaluation, by what the cells recorded."""
        store = Store(self.directory / f"cells-{next(self.turns)}")
        watcher = PlainWatcher(len(self.tasks), io.StringIO())
        job = Job(tasks=tuple(self.tasks), store=store.root, execution=self.execution, code=self.code)
        began = time.perf_counter()
        outcomes = run(Inline(self.methods, watcher, lambda: False), job, watcher)
        whole = time.perf_counter() - began
        failed = [outcome.message or outcome.state for outcome in outcomes.values() if outcome.state != "done"]
        if failed:
            raise RuntimeError(f"a cell of the suite did not end: {failed[0]}")
        costs = [result.cost for cell in self.cells if (result := read_cell(store, cell)) is not None]
        return sum(cost.train_seconds + cost.evaluation_seconds for cost in costs if cost) / whole


def suite_side(machine: Machine) -> Side:
    """A turn is the suite once."""
    stack = ExitStack()
    cells = ShortCells(Path(stack.enter_context(tempfile.TemporaryDirectory())), machine)
    return Side(cells.turn, close=stack.close, warm_up_calls=1)


def checkpoint_side(machine: Machine, training: Training | None = None) -> Side:
    """A turn is some steps with a checkpoint whenever one can be written, and as many without."""
    training = training or Training("w_mse", 2, 512 if machine.device.type == "cuda" else 128, 32)
    stack = ExitStack()
    store = Store(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    written: list[float] = []

    def save(data: bytes) -> None:
        store.write_checkpoint(CELL_ID, data)
        written.append(time.perf_counter())

    precision = machine.limits.fast_precision
    saving = SteppedTrainer(training, precision, machine, replace(QUIET, save=save, checkpoint_seconds=0.0))
    plain = SteppedTrainer(training, precision, machine)

    def turn() -> float:
        written.clear()
        extra = saving.advance(CHECKPOINT_STEPS) - plain.advance(CHECKPOINT_STEPS)
        saves = max(1, len(written) - 1)  # the last is written when the clock has stopped
        return max(0.0, extra) / saves / Hooks.checkpoint_seconds

    return Side(turn, close=stack.close, warm_up_calls=1)


def progress_side(machine: Machine, steps: int = REPORTED_STEPS) -> Side:
    """A turn is some short steps that each report, as many that do not, and a drawing of the bars."""
    training = Training("w_mse", 2, 32, 8, width=4, embedding=8)
    stack = ExitStack()
    watcher = stack.enter_context(_bars())

    def report(progress: Progress) -> None:
        watcher.training(CELL_ID, progress)

    reporting = SteppedTrainer(training, "float32", machine, replace(QUIET, report=report, report_seconds=0.0))
    quiet = SteppedTrainer(training, "float32", machine)

    def turn() -> float:
        extra = reporting.advance(steps) - quiet.advance(steps)
        began = time.perf_counter()
        for _ in range(REFRESHES_A_SECOND):
            watcher.bars.refresh()
        drawing = time.perf_counter() - began
        return max(0.0, extra) / steps / Hooks.report_seconds + drawing

    return Side(turn, close=stack.close)


@contextmanager
def _bars() -> Iterator[RichWatcher]:
    """The bars of one running cell, drawn into memory."""
    watcher = RichWatcher(1, Console(file=io.StringIO(), force_terminal=True, width=120))
    with watcher:
        watcher.started(CELL_ID, "a cell")
        yield watcher
