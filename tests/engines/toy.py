"""Suites run in this process as `harness run` runs them, with everything that a run did written down."""

import hashlib
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from harness.engines.engine import run
from harness.engines.execution import Execution
from harness.engines.inline import Inline
from harness.engines.job import Job
from harness.engines.task import tasks_of
from harness.registry import all_datasets, all_methods, all_probes, use
from harness.store.cell_result import read_cell
from harness.store.provenance import Code
from harness.store.store import Store
from harness.suite.expand import expand
from harness.suite.facts import Catalogue
from harness.suite.local_facts import LocalFacts
from harness.suite.suite import load_suite
from harness.training.trainer import Trainer

METRICS = {"linear_top1", "linear_top5", "linear_balanced", "knn5_top1", "knn5_balanced"}
"""What the toy suite measures."""


class Notes:
    """A watcher that writes down what happens."""

    def __init__(self):
        self.began, self.outcomes, self.readings, self.said, self.already = [], {}, [], [], []
        self.stages, self.points = [], []
        self.texts = {}
        self.steps = 0
        """Optimiser steps of the run."""

    def settled(self, task_id):
        self.already.append(task_id)

    def started(self, task_id, label):
        self.began.append(task_id)

    def training(self, task_id, reading):
        self.readings.append(reading)

    def point(self, task_id, point):
        self.points.append((task_id, point))

    def stage(self, task_id, what):
        self.stages.append(what)

    def ended(self, task_id, outcome, text):
        self.outcomes[task_id], self.texts[task_id] = outcome, text

    def note(self, text):
        self.said.append(text)

    @property
    def did(self):
        """Optimiser steps, then the stages after training."""
        return self.steps, self.stages


class Command:
    """One `harness run` of a suite on a store; `run` may be called again and again."""

    def __init__(self, suite: Path, data_dir: Path, store: Path, *settings: str):
        loaded = load_suite(suite, None, settings)
        use(loaded.extensions)
        self.methods = all_methods()
        self.store, self.data_dir = Store(store), data_dir
        self.facts = LocalFacts(data_dir, self.store)
        self.expansion = expand(loaded, Catalogue(self.methods, all_probes(), all_datasets()), self.facts)
        self.tasks = tasks_of(self.expansion.planned)
        self.extensions = loaded.extensions
        self.code = Code.read()

    def task(self, method=None, seed=0):
        """The task of a method at a seed; without a method, the only one."""
        found = [t for t in self.tasks if method in (None, t.pretraining.method) and t.pretraining.seed in (seed, None)]
        assert len(found) == 1
        return found[0]

    def job(self, *tasks, code=None, store=None, **choices):
        """These tasks; `choices` are of `Execution`."""
        return Job(
            tasks=tasks,
            store=(store or self.store).root,
            execution=Execution(self.data_dir, "cpu", **choices),
            code=code or self.code,
            extensions=self.extensions,
            weights=self.facts.weight_files,
        )

    def context(self, notes):
        return self.job().context(notes)

    def run(self, tasks=None, *, should_stop=lambda: False, rerun_stale=False, sleep=None, at_step=None, **choices):
        """Run tasks (all) and say what was done.

        Args:
            at_step: called with the number of each optimiser step of this run before it is taken, from 1.
            choices: as `job` has them.
        """
        notes, take = Notes(), Trainer._train_step

        def counted(trainer, batch, epoch):
            notes.steps += 1
            if at_step is not None:
                at_step(notes.steps)
            take(trainer, batch, epoch)

        options = {} if sleep is None else {"sleep": sleep}
        job = self.job(*(self.tasks if tasks is None else tasks), **choices)
        self.last = notes
        with patch.object(Trainer, "_train_step", counted), Inline(self.methods, notes, should_stop) as engine:
            notes.result = run(engine, job, notes, rerun_stale=rerun_stale, **options)
        return notes

    def result(self, task, number=0):
        """What the store holds of a task's cell."""
        return read_cell(self.store, task.cells[number])

    def files(self, task):
        """Name -> content and place of every file of a task that says something."""
        directory = self.store.directory(task.id)
        paths = [path for path in directory.rglob("*") if path.is_file() and path.name not in ("lock", "spec.json")]
        return {
            path.relative_to(directory).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_ino)
            for path in paths
        }

    def encoder(self, task):
        """SHA-256 of the stored encoder, whatever the record says."""
        return hashlib.sha256((self.store.directory(task.id) / "encoder.safetensors").read_bytes()).hexdigest()


def written(before, after):
    """Names of files that are new or were replaced."""
    return {name for name, state in after.items() if before.get(name) != state}


def write_folder(root: Path, classes: int = 3, train: int = 16, test: int = 6, side: int = 16) -> Path:
    """A class folder of small JPEGs: each class a random pattern with noise on it."""
    draw = np.random.default_rng(0)
    patterns = draw.integers(0, 255, (classes, side, side, 3))
    for split, count in (("train", train), ("test", test)):
        for label, pattern in enumerate(patterns):
            folder = root / split / f"c{label}"
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                noisy = np.clip(pattern + draw.integers(-60, 60, pattern.shape), 0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(folder / f"im{number:02d}.jpg", quality=95)
    return root
