"""Training end to end: the real trainer with its fast settings beside training as public code does it, the views of a
step included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from harness.backbones import build_encoder, feature_size
from harness.spec.models import Augmentation
from tests.benchmarks.conventional import pipeline
from tests.benchmarks.conventional.training import NETWORKS, Trainer
from tests.benchmarks.machine import Machine
from tests.benchmarks.timing import Implementation, repeated, separate_process
from tests.benchmarks.trainer import LR, Training, own_training

WARM_UP_STEPS = 4  # of the conventional side, until its queues are as in the long run
NARROW, SMALL, WIDE = Training(), Training(size=16), Training(width=None, images=128)
OTHERS = ("byol", "simsiam", "contrastive", "vicreg", "barlow_twins")
TRAININGS = (
    *((training, precision) for training in (NARROW, SMALL, WIDE) for precision in ("fast", "float32")),
    *((Training(method), "fast") for method in OTHERS),
)


def case(training: Training, precision: str) -> str:
    network = "ResNet-18" if training.width is None else f"ResNet-18 of width {training.width}"
    size = f"{training.size}x{training.size}"
    return f"{training.method} d={training.views}, {network}, {size}, batch {training.images}, {precision}"


@pytest.mark.parametrize(("training", "precision"), TRAININGS, ids=[case(*pair) for pair in TRAININGS])
def test_training(training, precision, compare, machine, small):
    training = replace(training, images=128, size=8, width=4) if small else training
    precision = machine.limits.fast_precision if precision == "fast" else precision
    plain = partial(conventional, training, machine, workers=0 if small else machine.threads)
    compare(
        "views/s",
        own_training(training, machine, precision, work=training.views * training.images, counted=True),
        plain() if small else separate_process(plain, machine),
        against="DataLoader, float32, NCHW, a slice at a time, as a program of its own",
        note=f"fast precision is {precision} on this machine" if precision != "float32" else None,
    )


@contextmanager
def conventional(training: Training, machine: Machine, workers: int) -> Iterator[Implementation]:
    """In float32; it is warm when it comes."""
    pixels, input = np.asarray(training.random_images().pixels), training.input
    encoder = build_encoder(training.backbone, input.channels, input.size, 0)
    network = NETWORKS[training.method](encoder, feature_size(encoder, input.channels, input.size))
    with pipeline.batches(pixels, Augmentation(), input, training.views, training.images, workers) as batches:
        trainer = Trainer(network, batches, machine.device, LR)
        side = repeated(
            trainer.step,
            machine.device,
            work=training.views * training.images,
            before=pipeline.resume_workers,
            after=pipeline.pause_workers,
        )
        side.seconds(WARM_UP_STEPS if workers else 1)
        yield side
