"""A sweep without training: cells whose accuracy is a formula of their settings, in threads that take random time."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from harness.data.datasets import DATASETS
from harness.engines.in_process import Outcome, Task
from harness.store.result import Cost, CurvePoint, Failure, Provenance, Result
from harness.store.store import Store
from harness.suite.cell import Cell
from harness.suite.expand import expand
from harness.suite.suite import Suite, load_suite
from harness.sweep.loop import Sweep
from harness.sweep.presence import Presence
from harness.sweep.resolve import sweep_rows
from harness.sweep.rows import Row
from harness.sweep.study import open_storage, open_studies, quiet
from harness.sweep.trials import Trial, Trials
from methods import catalogue
from tests.conftest import write_suite

SWEEP = """
methods: {untrained: null}
sweep:
  space:
    optimiser.lr: {low: 1e-4, high: 1e-1, log: true}
    sub_batch_size: {choices: [8, 16, 32], divides: batch_size, above: embedding_size}
  trials: 10
  batch: 4
"""
PEAK = 3e-3  # learning rate at which `accuracy` is highest


def accuracy(cell: Cell) -> float:
    """100 at lr = PEAK and sub-batches of 16; 10 less a decade of lr, 5 less a doubling of the sub-batch."""
    transform = cell.settings.get("transform") or {}
    assert cell.optimiser
    lost = 10 * abs(math.log10(cell.optimiser.lr / PEAK))
    return 100 - lost - 5 * abs(math.log2(transform.get("sub_batch_size", 16) / 16))


def result(cell: Cell, status: str = "done", epochs: int = 2, value: float | None = None) -> Result:
    """As a run would leave it; the curve approaches the accuracy."""
    value = accuracy(cell) if value is None else value
    points = [
        CurvePoint(epoch=e, step=e, values={"knn5_top1": value * e / (e + 1), "loss": 1.0}, seconds=1.5 * e)
        for e in range(1, epochs + 1)
    ]
    done = status == "done"
    cost = Cost(
        train_seconds=3.0,
        evaluation_seconds=1.0,
        steps=6,
        views_seen=10,
        views_per_second=1.0,
        peak_memory_bytes=1,
        encoder_flops_per_view=1,
        parameters=1,
    )
    return Result(
        id=cell.id,
        cell=cell,
        status=status,
        metrics={"linear_top1": value, "knn5_top1": value} if done else {},
        curves=tuple(points),
        cost=cost if done else None,
        failure=Failure(kind="X", message="x", traceback="", epoch=0, step=1) if status == "failed" else None,
        provenance=Provenance(
            method_digest="m",
            shared_digest="s",
            commit=None,
            dirty=None,
            versions={},
            device="cpu",
            threads=1,
            host="h",
            platform="p",
            started="t",
            finished="t",
            resumed=0,
        ),
    )


@dataclass
class FakeEngine:
    """Runs tasks in threads; keeps what it was asked to run."""

    store: Store
    width: int = 1
    delay: float = 0.0
    """Longest time of a task, in seconds."""
    status: Callable[[Cell], str] = lambda cell: "done"
    before_task: Callable[[], None] = lambda: None
    asked: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.width)
        self._guard = threading.Lock()
        self._now = 0

    def submit(self, task: Task) -> Future[Outcome]:
        self.asked.append(task.cell.id)
        return self._threads.submit(self._run, task)

    def _run(self, task: Task) -> Outcome:
        self.before_task()
        with self._guard:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        time.sleep(random.random() * self.delay)
        made = result(task.cell, self.status(task.cell))
        for number, point in enumerate(made.curves):
            if made.status == "done" and task.give_up(point):
                made = result(task.cell, "pruned", epochs=number + 1, value=accuracy(task.cell))
                break
        with self.store.lock(task.cell.id):
            self.store.save(made)
        with self._guard:
            self._now -= 1
        return Outcome(made.status, made)


@dataclass
class Bench:
    """A suite's sweep in a directory, started as often as a test likes."""

    directory: Path
    more: str = SWEEP
    settings: tuple[str, ...] = ()
    url: str | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.path = write_suite(self.directory, self.more, "s.yaml")

    @property
    def store(self) -> Store:
        return Store(self.directory / "cells")

    def suite(self) -> Suite:
        return load_suite(self.path, None, self.settings)

    def rows(self) -> list[Row]:
        suite = self.suite()
        methods = catalogue()
        expansion = expand(suite, methods, DATASETS, lambda spec: "f")
        return sweep_rows(suite, expansion, methods, DATASETS)

    def studies(self, trials: int | None = None) -> list[Trials]:
        quiet()
        suite, rows = self.suite(), [row for row in self.rows() if row.tuned]
        spec = suite.content.sweep
        assert spec is not None
        storage = open_storage(self.directory, self.url)
        opened = open_studies(storage, suite.name, rows, spec)
        return [Trials(r, s, storage, spec, trials or spec.trials) for r, s in zip(rows, opened, strict=True)]

    def run(
        self,
        engine: FakeEngine | None = None,
        trials: int | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> list[Trials]:
        studies = self.studies(trials)
        engine = engine or FakeEngine(self.store)
        with Presence(self.directory, studies[0].study if self.url else None) as presence:
            Sweep(
                studies,
                engine,
                self.store,
                presence,
                self.directory / "lock",
                stop,
                lambda study, trials: None,
                lambda cell_id: None,
            ).run()
        return studies


def points(studies: list[Trials]) -> dict[str, list[tuple[dict[str, object], str, float | None]]]:
    """By row: what was tried, how it ended and what it scored, in order."""
    return {s.row.title: [(t.values, t.state, t.value) for t in s.all()] for s in studies}


def only(studies: list[Trials]) -> list[Trial]:
    """The trials of the one study."""
    (study,) = studies
    return study.all()


def raw(studies: list[Trials]) -> list[optuna.trial.FrozenTrial]:
    """The one study's trials as Optuna has them."""
    (study,) = studies
    return study.study.get_trials()
