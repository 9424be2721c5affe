"""A sweep without training: accuracies are a formula of a trial's settings, in threads that take random time."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from harness.data.datasets import DATASETS
from harness.data.facts import DatasetFacts, SplitFacts
from harness.engines.execution import Execution
from harness.engines.job import Job
from harness.engines.task import Outcome, Task
from harness.registry import all_methods, all_probes
from harness.spec.models import Backbone, Cell, Evaluation, Input, Pretraining
from harness.store.cell_result import CellResult, read_cell
from harness.store.provenance import Code
from harness.store.records import (
    Curve,
    CurvePoint,
    EvaluationRecord,
    Failure,
    PretrainingRecord,
    Provenance,
    TrainingCost,
)
from harness.store.store import Store
from harness.suite.expand import expand
from harness.suite.facts import Catalogue, WeightsMissing
from harness.suite.suite import Suite, load_suite
from harness.sweep.loop import Sweep
from harness.sweep.processes import SweepProcess
from harness.sweep.resolve import sweep_rows
from harness.sweep.rows import SweepRow
from harness.sweep.study import open_storage, open_studies, silence_optuna
from harness.sweep.trials import RowStudy, Trial
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


def catalogue() -> Catalogue:
    """Everything that there is."""
    return Catalogue(all_methods(), all_probes(), DATASETS)


class PublishedFacts:
    """What the catalogue says of datasets, as if all but `missing` were on this machine; files of weights by name."""

    def __init__(self, missing: Collection[str] = ()) -> None:
        self.missing = missing
        self.checksums: dict[str, str] = {}

    def dataset(self, name: str) -> DatasetFacts:
        info = DATASETS[name]
        shas = info.fingerprints
        splits = {split: SplitFacts(count, *shas.get(split, (None, None))) for split, count in info.splits.items()}
        return DatasetFacts(name not in self.missing, splits, info.classes)

    def weights(self, path: str) -> str:
        if path not in self.checksums:
            raise WeightsMissing(f"backbone.weights: {path} cannot be read")
        return self.checksums[path]

    def backbone_problem(self, backbone: Backbone, fed: Input) -> str | None:
        return None


def accuracy(pretraining: Pretraining) -> float:
    """100 at lr = PEAK and sub-batches of 16; 10 less a decade of lr, 5 less a doubling of the sub-batch."""
    transform = pretraining.settings.get("transform") or {}
    assert pretraining.training
    lost = 10 * abs(math.log10(pretraining.training.optimiser.lr / PEAK))
    return 100 - lost - 5 * abs(math.log2(transform.get("sub_batch_size", 16) / 16))


PROVENANCE = Provenance(
    code={"method w_mse": "m"},
    commit=None,
    dirty=None,
    versions={},
    device="cpu",
    threads=1,
    host="h",
    platform="p",
    started="t",
    finished="t",
)
FAILURE = Failure(kind="X", message="x", traceback="", epoch=0, step=1)


def curve(cell: Cell, epochs: int = 2) -> list[CurvePoint]:
    """As engines show it to `give_up`; it approaches the accuracy. A second and a half an epoch."""
    value = accuracy(cell.pretraining)
    monitored = {f"{name}_top1": monitor.every_epochs for name, monitor in cell.monitors.items()}
    return [
        CurvePoint(
            epoch=epoch,
            step=epoch,
            values={"loss": 1.0, **{n: value * epoch / (epoch + 1) for n, e in monitored.items() if epoch % e == 0}},
            seconds=1.5 * epoch,
        )
        for epoch in range(1, epochs + 1)
    ]


def save(
    store: Store,
    cell: Cell,
    status: str = "done",
    epochs: int = 2,
    answers: Callable[[str], bool] = lambda name: True,
) -> CellResult:
    """Store a cell as a run would leave it: three seconds of training and one of evaluation.

    Args:
        epochs: that training came to.
        answers: whether the evaluation of that name is done; one that is not has failed.
    """
    made = cell.pretraining
    points = curve(cell, epochs)
    own = tuple(p.model_copy(update={"values": {"loss": p.values["loss"]}}) for p in points)
    store.save_curve(Curve(id=made.id, points=own))
    for name, monitor in cell.monitors.items():
        key = f"{name}_top1"
        read = tuple(p.model_copy(update={"values": {"top1": p.values[key]}}) for p in points if key in p.values)
        store.save_curve(Curve(id=made.id, monitor=monitor, points=read))
    for name, asked in cell.evaluations.items() if status == "done" else ():
        store.save_evaluation(_answer(asked, accuracy(made), answers(name)))
    done = status == "done"
    cost = TrainingCost(
        train_seconds=3.0, monitor_seconds=1.0, steps=6, views_seen=10, peak_memory_bytes=1, energy_joules=None
    )
    record = PretrainingRecord(
        id=made.id,
        spec=made,
        status=status,
        monitors=tuple(monitor.id for monitor in cell.monitors.values()) if done else (),
        cost=cost if done else None,
        provenance=PROVENANCE,
        failure=FAILURE if status == "failed" else None,
    )
    store.save_pretraining(record)
    result = read_cell(store, cell)
    assert result is not None
    return result


def _answer(asked: Evaluation, value: float, done: bool) -> EvaluationRecord:
    return EvaluationRecord(
        id=asked.id,
        spec=asked,
        encoder=None,
        status="done" if done else "failed",
        metrics={"top1": value} if done else {},
        provenance=PROVENANCE,
        failure=None if done else FAILURE,
    )


@dataclass(eq=False)
class FakeHandle:
    task_id: str
    future: Future[Outcome]

    def poll(self) -> dict[str, Outcome] | None:
        return {self.task_id: self.future.result()} if self.future.done() else None


@dataclass
class FakeEngine:
    """Runs tasks in threads; keeps which pretrainings it was asked to run."""

    store: Store
    width: int = 1
    delay: float = 0.0
    """Longest time of a task, in seconds."""
    status: Callable[[Pretraining], str] = lambda pretraining: "done"
    answers: Callable[[str], bool] = lambda name: True
    """Whether the evaluation of that name ends well."""
    before_task: Callable[[], None] = lambda: None
    asked: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.width)
        self._guard = threading.Lock()
        self._now = 0

    def submit(self, job: Job) -> FakeHandle:
        (task,) = Job.model_validate_json(job.model_dump_json()).tasks  # as it reaches a worker
        self.asked.append(task.id)
        return FakeHandle(task.id, self._threads.submit(self._run, task))

    def _run(self, task: Task) -> Outcome:
        self.before_task()
        with self._guard:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        time.sleep(random.random() * self.delay)
        (cell,) = task.cells
        status, epochs = self.status(task.pretraining), 2
        give_up = task.give_up
        for point in curve(cell) if status == "done" else ():
            if give_up(point):
                status, epochs = "pruned", point.epoch
                break
        with self.store.lock(task.id):
            result = save(self.store, cell, status, epochs, self.answers)
        with self._guard:
            self._now -= 1
        return Outcome("failed" if result.failures else status)


@dataclass
class Bench:
    """A suite's sweep in a directory, started as often as a test likes."""

    directory: Path
    more: str = SWEEP
    settings: tuple[str, ...] = ()
    url: str | None = None
    facts: PublishedFacts = field(default_factory=PublishedFacts)
    cells: Path | None = None
    """Where the store is, if not in the directory."""

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.path = write_suite(self.directory, self.more, "s.yaml")

    @property
    def store(self) -> Store:
        return Store(self.cells or self.directory / "cells")

    @property
    def job(self) -> Job:
        """What all trials share; nothing of it is read here but the store."""
        code = Code({}, None, None)
        return Job(tasks=(), store=self.store.root, execution=Execution(self.directory), code=code)

    def suite(self) -> Suite:
        return load_suite(self.path, None, self.settings)

    def rows(self) -> list[SweepRow]:
        suite, known = self.suite(), catalogue()
        return sweep_rows(suite, expand(suite, known, self.facts), known, self.facts)

    def studies(self, trials: int | None = None) -> list[RowStudy]:
        silence_optuna()
        suite, rows = self.suite(), [row for row in self.rows() if row.tuned]
        spec = suite.content.sweep
        assert spec is not None
        storage = open_storage(self.directory, self.url)
        opened = open_studies(storage, suite.name, rows, spec)
        return [RowStudy(r, s, storage, spec, trials or spec.trials) for r, s in zip(rows, opened, strict=True)]

    def run(
        self,
        engine: FakeEngine | None = None,
        trials: int | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> list[RowStudy]:
        studies = self.studies(trials)
        engine = engine or FakeEngine(self.store)
        with SweepProcess(self.directory, studies[0].study if self.url else None) as process:
            Sweep(
                studies,
                engine,
                self.job,
                process,
                self.directory / "lock",
                stop,
                lambda study: None,
                lambda cell_id: None,
            ).run()
        return studies


def points(studies: list[RowStudy]) -> dict[str, list[tuple[dict[str, object], str, float | None]]]:
    """By row: what was tried, how it ended and what it scored, in order."""
    return {s.row.title: [(t.values, t.outcome, t.value) for t in s.trials()] for s in studies}


def only(studies: list[RowStudy]) -> list[Trial]:
    """The trials of the one study."""
    (study,) = studies
    return study.trials()


def raw(studies: list[RowStudy]) -> list[optuna.trial.FrozenTrial]:
    """The one study's trials as Optuna has them."""
    (study,) = studies
    return study.study.get_trials()
