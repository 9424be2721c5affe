"""The real trainer, a few steps at a time: it runs in a thread and waits in its own hook between turns, so that what is
timed is what `harness run` does. Owns the thread; changes nothing in the trainer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.bench.augmentation import dataset_spec, random_images
from harness.bench.row import Machine, Precision, Unavailable
from harness.data.images import Images
from harness.data.views import ViewStream
from harness.suite.cell import (
    AugmentationSpec,
    BackboneSpec,
    Cell,
    DatasetSpec,
    EvaluationSpec,
    OptimiserSpec,
    ScheduleSpec,
)
from harness.training.networks import build_networks
from harness.training.precision import autocast
from harness.training.trainer import Hooks, Interrupted, Progress, Trainer
from methods import catalogue

CLASSES = 10
EPOCHS = 1_000_000  # more than are ever run
LR = 1e-4  # random images teach nothing: small, so that no loss diverges over them
STEPS_PER_EPOCH = 20


@dataclass(frozen=True)
class Training:
    """A training run to be timed."""

    method: str
    views: int
    images: int
    """In a batch."""
    size: int
    """Pixels a side."""
    width: int | None = None
    """Of ResNet-18's first stage; None: 64."""
    embedding: int = 64
    slicing_iterations: int = 1

    @property
    def encoder(self) -> str:
        """As a reader knows it."""
        return "ResNet-18" if self.width is None else f"ResNet-18 of width {self.width}"

    @property
    def backbone(self) -> BackboneSpec:
        """With the small-image stem."""
        return BackboneSpec(stem="small", width=self.width)

    @property
    def dataset(self) -> DatasetSpec:
        """Random images, shaped as CIFAR's."""
        return dataset_spec(f"random {self.size}", self.size, 3)

    def random_images(self) -> Images:
        """Enough for some steps an epoch."""
        return random_images(STEPS_PER_EPOCH * self.images, self.size, 3)

    def cell(self, precision: Precision) -> Cell:
        """As a suite would ask for it."""
        changed: dict[str, object] = {}
        if self.method == "w_mse":
            sub_batch = 2 * self.embedding
            changed = {
                "projector": {"hidden": [1024], "embedding_size": self.embedding},
                "transform": {"sub_batch_size": sub_batch, "slicing_iterations": self.slicing_iterations},
            }
            changed["transform"] |= {"kind": "whitening"}  # type: ignore[operator]
        settings = catalogue()[self.method].settings.model_validate(changed)
        problem = settings.problem(self.views, self.images)
        if problem is not None:
            raise Unavailable(problem)
        return Cell(
            method=self.method,
            settings=settings.model_dump(mode="json"),
            views=self.views,
            dataset=self.dataset,
            backbone=self.backbone,
            augmentation=AugmentationSpec(),
            optimiser=OptimiserSpec(lr=LR),
            schedule=ScheduleSpec(name="constant", warmup_steps=0),
            epochs=EPOCHS,
            batch_size=self.images,
            precision=precision,
            seed=0,
            evaluation=EvaluationSpec(),
        )

    def flops_per_view(self, precision: Precision, machine: Machine) -> float:
        """Of the products and convolutions of one step, forward and backward, by torch's counter."""
        cell = self.cell(precision)
        _, method = build_networks(cell, catalogue()[self.method], CLASSES)
        assert method is not None
        stream = ViewStream(
            self.random_images(), cell.dataset, AugmentationSpec(), self.views, self.images, 0, machine.device
        )
        batch = next(iter(stream.epoch(0)))
        method.to(machine.device).train()
        with FlopCounterMode(display=False) as counter:
            with autocast(precision, machine.device):
                loss = method.loss(batch.views, batch.labels, torch.Generator().manual_seed(0))
            torch.autograd.backward(loss)
        return float(counter.get_total_flops()) / (self.views * self.images)


def _no_measure(epochs_done: int) -> dict[str, float]:
    return {}


def _no_report(progress: Progress) -> None:
    return


def _no_save(data: bytes) -> None:
    return


QUIET = Hooks(
    measure=_no_measure,
    report=_no_report,
    should_stop=lambda: False,
    save=_no_save,
    checkpoint_seconds=1e9,
    report_seconds=1e9,
)
"""Surroundings that do nothing."""


class SteppedTrainer:
    """`Trainer.run`, which goes on for as many steps as `steps` is told and then waits."""

    def __init__(self, training: Training, precision: Precision, machine: Machine, hooks: Hooks = QUIET) -> None:
        cell = training.cell(precision)
        _, method = build_networks(cell, catalogue()[training.method], CLASSES)
        assert method is not None
        assert cell.augmentation is not None
        stream = ViewStream(
            training.random_images(),
            cell.dataset,
            cell.augmentation,
            training.views,
            training.images,
            cell.seed,
            machine.device,
        )
        self.method = method
        self._allowed, self._made = threading.Semaphore(0), threading.Semaphore(0)
        self._ended, self._error = False, None
        trainer = Trainer(cell, method, stream, machine.device, replace(hooks, should_stop=self._stop_here))
        self._thread = threading.Thread(target=self._run, args=(trainer.run,), daemon=True, name="trainer")
        self._begun = False

    _error: Exception | None

    def _run(self, run: Callable[[], object]) -> None:
        try:
            self._allowed.acquire()
            if not self._ended:
                run()
        except Interrupted:
            pass
        except Exception as error:  # raised again in the thread that waits for the step
            self._error = error
        finally:
            self._made.release()

    def _stop_here(self) -> bool:
        """The trainer's hook, after each step: waits until the next one is wanted."""
        self._made.release()
        self._allowed.acquire()
        return self._ended

    def step(self) -> None:
        """One more step; what it raised is raised here. On CUDA the device may still be at work."""
        if not self._begun:
            self._begun = True
            self._thread.start()
        self._allowed.release()
        self._made.acquire()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the run."""
        self._ended = True
        if self._begun:
            self._allowed.release()
            self._thread.join()
