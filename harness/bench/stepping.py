"""The real trainer, some steps at a time: it is stopped and run on through its own hooks, and timed between steps, so
that what is timed is what `harness run` does. Changes nothing in the trainer.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from harness.bench.augmentation import input_of, random_images
from harness.bench.row import Machine, Precision, Unavailable
from harness.data.images import Images
from harness.data.views import ViewStream
from harness.engines.cost import step_flops
from harness.registry import all_methods
from harness.spec.models import Augmentation, Backbone, Input, Optimiser, Pretraining, Schedule, Source, TrainingSpec
from harness.training.networks import build_networks
from harness.training.trainer import Hooks, Interrupted, Progress, Trainer

CLASSES = 10
EPOCHS = 1_000_000  # more than are ever run
LR = 1e-4  # random images teach nothing: small, so that no loss diverges over them
SEED = 0
STEPS_PER_EPOCH = 20
UNTIMED_STEPS = {"cpu": 1, "cuda": 5}
"""After every stop: what was made ahead while it lasted, and on CUDA what is compiled or captured anew."""


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
    def backbone(self) -> Backbone:
        """With the small-image stem."""
        return Backbone(stem="small", width=self.width)

    @property
    def input(self) -> Input:
        """Random images, shaped as CIFAR's."""
        return input_of(self.size, 3)

    def random_images(self) -> Images:
        """Enough for some steps an epoch."""
        return random_images(STEPS_PER_EPOCH * self.images, self.size, 3)

    def stream(self, machine: Machine) -> ViewStream:
        """Views of the random images, the W-MSE paper's pipeline."""
        return ViewStream(
            self.random_images(), self.input, Augmentation(), self.views, self.images, SEED, machine.device
        )

    def spec(self, precision: Precision) -> TrainingSpec:
        """How a suite would ask for it."""
        return TrainingSpec(
            views=self.views,
            augmentation=Augmentation(),
            optimiser=Optimiser(lr=LR),
            schedule=Schedule(name="constant", warmup_steps=0),
            epochs=EPOCHS,
            batch_size=self.images,
            precision=precision,
        )

    def pretraining(self, precision: Precision) -> Pretraining:
        """As a suite would ask for it.

        Raises:
            Unavailable: the method cannot run so.
        """
        changed: dict[str, object] = {}
        if self.method == "w_mse":
            sub_batch = 2 * self.embedding
            changed = {
                "projector": {"hidden": [1024], "embedding_size": self.embedding},
                "transform": {"sub_batch_size": sub_batch, "slicing_iterations": self.slicing_iterations},
            }
            changed["transform"] |= {"kind": "whitening"}  # type: ignore[operator]
        settings = all_methods()[self.method].settings.model_validate(changed)
        problem = settings.problem(self.views, self.images)
        if problem is not None:
            raise Unavailable(problem)
        return Pretraining(
            method=self.method,
            settings=settings.model_dump(mode="json"),
            input=self.input,
            source=Source(name="random", splits=("train",)),
            backbone=self.backbone,
            training=self.spec(precision),
            seed=SEED,
        )


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
    """`Trainer.run`, set up as for a pretraining, stopped and run on."""

    def __init__(self, training: Training, precision: Precision, machine: Machine, hooks: Hooks = QUIET) -> None:
        pretraining, spec = training.pretraining(precision), training.spec(precision)
        _, method = build_networks(pretraining, all_methods()[training.method], CLASSES)
        assert method is not None
        self.device = machine.device
        self.untimed = UNTIMED_STEPS[machine.device.type]
        self.flops = float(step_flops(method, spec, training.input))
        """Of a step, forward and backward."""
        self.trainer = Trainer(
            spec,
            SEED,
            pretraining.id,
            method,
            training.stream(machine),
            machine.device,
            replace(hooks, should_stop=self._after_a_step),
            compile="auto",
        )
        self._times: list[float] = []
        self._wanted = 0

    def advance(self, steps: int) -> float:
        """So many steps more, after a few that are not timed; the seconds they took on the device."""
        self._times, self._wanted = [], self.untimed + steps
        with suppress(Interrupted):
            self.trainer.run()
        return self._times[-1] - self._times[self.untimed - 1]

    def _after_a_step(self) -> bool:
        """The trainer's hook: reads the clock where timing begins and ends, and stops the run there."""
        done = len(self._times) + 1
        if self.device.type == "cuda" and done in (self.untimed, self._wanted):
            torch.cuda.synchronize(self.device)
        self._times.append(time.perf_counter())
        return done == self._wanted
