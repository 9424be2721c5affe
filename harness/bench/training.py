"""Rows: training end to end, the real trainer with its fast settings beside training as public code does it."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from harness.backbones import build_encoder, feature_size
from harness.bench.apart import apart
from harness.bench.conventional.pipeline import closing, endless, loader, pause, resume
from harness.bench.conventional.training import NETWORKS, Trainer
from harness.bench.row import MINUTES, VIEWS, Machine, Precision, Row, Setup, Side, Target, Unavailable
from harness.bench.stepping import LR, SteppedTrainer, Training
from harness.spec.models import Augmentation

GROUP = "training"
AGAINST = "DataLoader, float32, NCHW, a slice at a time, as a program of its own"
NARROW = 16
PLAIN_WARM_UP_STEPS = 6  # until queues and memory are as in the long run
CIFAR_EPOCHS, CIFAR_IMAGES = 1000, 50_000
CIFAR_MINUTES = 20.0  # at 35 % of an H100's bfloat16 peak
OTHERS = ("byol", "simsiam", "contrastive", "vicreg", "barlow_twins")


def rows(device: torch.device) -> tuple[Row, ...]:
    """W-MSE on three networks, in the fast precision and in float32; the other methods on the narrow one."""
    on_cuda = device.type == "cuda"
    wide = Training("w_mse", 2, 512 if on_cuda else 128, 32)
    narrow = Training("w_mse", 2, 512, 32, NARROW)
    small = Training("w_mse", 2, 512, 16, NARROW)
    paper = Training("w_mse", 2, 512, 32)
    return (
        trained(narrow, 4.0),
        trained(narrow, None, "float32"),
        trained(small, 4.0),
        trained(small, None, "float32"),
        trained(wide, 3.0),
        trained(wide, None, "float32"),
        *(trained(Training(method, 2, 512, 32, NARROW)) for method in OTHERS),
        whole_run(paper),
    )


def trained(training: Training, target: float | None = None, precision: Precision | None = None) -> Row:
    """Steps of one method; in the device's fast precision unless one is named."""
    name = f"{training.method} d={training.views}, {training.encoder}, {training.size}x{training.size}"
    return Row(
        group=GROUP,
        name=f"{name}, batch {training.images}" + (f", {precision}" if precision else ""),
        unit=VIEWS,
        ours=ours(training, precision),
        conventional=apart(partial(plain, training)),
        against=AGAINST,
        target=None if target is None else Target("ratio", target),
    )


def whole_run(training: Training) -> Row:
    """How long the W-MSE paper's CIFAR-10 training would take on a GPU."""
    views = CIFAR_EPOCHS * (CIFAR_IMAGES // training.images) * training.images * training.views

    def setup(machine: Machine) -> Side:
        if machine.device.type != "cuda":
            raise Unavailable("estimated on CUDA devices only")
        return ours(training, None, float(views))(machine)

    return Row(
        group=GROUP,
        name=f"CIFAR-10, {CIFAR_EPOCHS} epochs of {training.method} d={training.views}, {training.encoder}",
        unit=MINUTES,
        ours=setup,
        target=Target("value", CIFAR_MINUTES, most=True),
        note=f"the time of some steps of batch {training.images}, scaled to {views:,} views",
    )


def ours(training: Training, precision: Precision | None = None, work: float = 1.0) -> Setup:
    """The real trainer; a turn is a step and returns its views over `work`."""

    def setup(machine: Machine) -> Side:
        chosen = precision or machine.limits.fast_precision
        trainer = SteppedTrainer(training, chosen, machine)
        views = training.views * training.images

        def steps(count: int) -> tuple[float, float]:
            return views / work, trainer.advance(count)

        flops = trainer.flops * work / views
        return Side(lambda: steps(1)[0], timed=steps, flops=flops, precision=chosen, warm_up_calls=1)

    return setup


def plain(training: Training, machine: Machine) -> Side:
    """The conventional trainer, in float32, its DataLoader with as many workers as cores."""
    images, input = training.random_images(), training.input
    source = loader(
        np.asarray(images.pixels),
        np.asarray(images.labels),
        Augmentation(),
        training.size,
        input.mean,
        input.std,
        views=training.views,
        batch_size=training.images,
        workers=machine.workers,
        pin_memory=machine.device.type == "cuda",
    )
    encoder = build_encoder(training.backbone, input.channels, input.size, 0)
    network = NETWORKS[training.method](encoder, feature_size(encoder, input.channels, input.size))
    batches = endless(source)
    trainer = Trainer(network, batches, machine.device, LR)

    def turn() -> float:
        trainer.step()
        return float(training.views * training.images)

    return Side(turn, before=resume, after=pause, close=closing(batches), warm_up_calls=PLAIN_WARM_UP_STEPS)
