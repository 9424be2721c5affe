"""The real trainer, some steps at a time: a thread runs it, and its own hook halts it between steps, so that what is
timed is what `harness run` does. Changes nothing in the trainer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np

from harness.data.images import Images
from harness.data.views import ViewStream
from harness.engines.cost import step_flops
from harness.registry import all_methods
from harness.spec.models import Augmentation, Backbone, Input, Optimiser, Pretraining, Schedule, Source, TrainingSpec
from harness.training.networks import build_networks
from harness.training.trainer import Hooks, Interrupted, Trainer
from tests.benchmarks.machine import Machine, synchronise
from tests.benchmarks.timing import Implementation

CLASSES = 10
EPOCHS = 1_000_000  # more than are ever run
LR = 1e-4  # random images teach nothing: small, so that no loss diverges over them
SEED = 0
STEPS_PER_EPOCH = 20
HALTED_STEPS = 1  # not timed after every halt: their views were made meanwhile


def random_images(count: int, size: int, channels: int = 3) -> Images:
    """Random pixels (N, H, W, C), labels that mean nothing."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    return Images(pixels, np.zeros(count, dtype=np.int64))


def input_of(size: int, channels: int = 3) -> Input:
    """How random images are normalised."""
    return Input(size=size, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)


@dataclass(frozen=True)
class Training:
    """A training run to be timed, on random images and with the small-image stem."""

    method: str = "w_mse"
    views: int = 2
    images: int = 512
    """In a batch."""
    size: int = 32
    """Pixels a side."""
    width: int | None = 16
    """Of ResNet-18's first stage; None: 64."""
    embedding: int = 64
    """Of W-MSE, whose sub-batch is twice this."""
    slicing_iterations: int = 1

    @property
    def backbone(self) -> Backbone:
        return Backbone(stem="small", width=self.width)

    @property
    def input(self) -> Input:
        return input_of(self.size)

    def random_images(self) -> Images:
        """Enough for some steps an epoch."""
        return random_images(STEPS_PER_EPOCH * self.images, self.size)

    def pretraining(self, precision: str) -> Pretraining:
        """As a suite would ask for it."""
        changed = {}
        if self.method == "w_mse":
            whitening = {"sub_batch_size": 2 * self.embedding, "slicing_iterations": self.slicing_iterations}
            changed["projector"] = {"hidden": [1024], "embedding_size": self.embedding}
            changed["transform"] = {"kind": "whitening", **whitening}
        settings = all_methods()[self.method].settings.model_validate(changed)
        training = TrainingSpec(
            views=self.views,
            augmentation=Augmentation(),
            optimiser=Optimiser(lr=LR),
            schedule=Schedule(name="constant", warmup_steps=0),
            epochs=EPOCHS,
            batch_size=self.images,
            precision=precision,
        )
        return Pretraining(
            method=self.method,
            settings=settings.model_dump(mode="json"),
            input=self.input,
            source=Source(name="random", splits=("train",)),
            backbone=self.backbone,
            training=training,
            seed=SEED,
        )


class SteppedTrainer:
    """`Trainer.run` for a training, as many steps at a time as are asked for."""

    def __init__(self, training: Training, precision: str, machine: Machine, counted: bool = False) -> None:
        asked = training.pretraining(precision)
        spec = asked.training
        _, method = build_networks(asked, all_methods()[training.method], CLASSES)
        assert method is not None
        assert spec is not None
        self.device = machine.device
        self.flops = float(step_flops(method, spec, training.input)) if counted else 0.0
        """Of a step, forward and backward."""
        stream = ViewStream(
            training.random_images(), asked.input, spec.augmentation, spec.views, spec.batch_size, SEED, machine.device
        )
        hooks = Hooks(
            measure=lambda epochs_done: {},
            report=lambda progress: None,
            should_stop=self._halt,
            save=lambda data: None,
            checkpoint_seconds=1e9,
            report_seconds=1e9,
        )
        self.trainer = Trainer(spec, SEED, asked.id, method, stream, machine.device, hooks, compile="auto")
        self._asked: SimpleQueue[int] = SimpleQueue()
        self._halted: SimpleQueue[None] = SimpleQueue()
        self._left = 0
        self._closing = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="trainer")
        self._running: Future[None] = self._pool.submit(self._run)
        self._running.add_done_callback(lambda _: self._halted.put(None))

    def advance(self, steps: int) -> None:
        """So many steps more, until the device has done them."""
        self._asked.put(steps)
        self._halted.get()
        if self._running.done():
            self._running.result()

    def close(self) -> None:
        """Stop after the current step."""
        self._closing = True
        self._asked.put(0)
        self._pool.shutdown()

    def _run(self) -> None:
        self._left = self._asked.get()
        if self._left:
            with suppress(Interrupted):
                self.trainer.run()

    def _halt(self) -> bool:
        """The trainer's hook after each step: waits there until more steps are asked for; whether to stop."""
        self._left -= 1
        if self._left == 0 and not self._closing:
            synchronise(self.device)
            self._halted.put(None)
            self._left = self._asked.get()
        return self._closing


@contextmanager
def own_training(
    training: Training, machine: Machine, precision: str, work: float = 1.0, counted: bool = False
) -> Iterator[Implementation]:
    """The real trainer; a call is a step, which does so much work, its operations counted or not."""
    trainer = SteppedTrainer(training, precision, machine, counted)
    try:
        yield Implementation(
            trainer.advance,
            machine.device,
            work,
            flops=trainer.flops,
            precision=precision,
            before=lambda: trainer.advance(HALTED_STEPS),
        )
    finally:
        trainer.close()
