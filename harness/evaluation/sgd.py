"""A linear layer on an encoder, trained by SGD on random crops and flips. Owns the loop and the predictions; which
parameters move, and how fast, is the probe's to say.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.evaluation.arithmetic import full_float32
from harness.evaluation.probes.sgd import SgdSettings
from harness.evaluation.split import PrivateEncoder, Split
from harness.spec.models import Augmentation
from harness.streams import stream, stream_seed

HEAD_STD = 0.01  # of the layer's initial weights; its bias begins at 0


def train_on_views(
    settings: SgdSettings, encoder: PrivateEncoder, train: Split, seed: int, encoder_lr: float | None = None
) -> nn.Linear:
    """The trained layer. SGD with momentum, cross-entropy, the rates along half a cosine to 0 at the last step.

    Args:
        seed: of the layer's weights, the order of images, crops and flips, dropout.
        encoder_lr: rate at which the encoder is trained, in place and in train mode; None: frozen, in eval mode.

    Raises:
        ValueError: a weight is not finite at the end.
    """
    views, own_seed = augmentation(settings), stream_seed(seed, "sgd probe")
    cuda = [encoder.device] if encoder.device.type == "cuda" else []
    with full_float32(), torch.random.fork_rng(devices=cuda):
        torch.manual_seed(own_seed)
        head = nn.Linear(encoder.width, len(train.classes))
        nn.init.normal_(head.weight, std=HEAD_STD, generator=stream(seed, "sgd probe weights"))
        nn.init.zeros_(head.bias)
        layer = list(head.to(encoder.device).parameters())
        tuned = list(encoder.parameters()) if encoder_lr is not None else []
        encoder.train(bool(tuned))
        groups: list[dict[str, Any]] = [{"params": layer, "lr": settings.lr}]
        groups += [{"params": tuned, "lr": encoder_lr}] if tuned else []
        optimiser = torch.optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)
        steps = settings.epochs * train.steps(settings.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        scaler = torch.amp.GradScaler(encoder.device.type, enabled=bool(tuned) and encoder.precision == "float16")
        for epoch in range(settings.epochs):
            for images, labels in train.images(views, epoch, batch_size=settings.batch_size, seed=own_seed):
                with torch.set_grad_enabled(bool(tuned)):
                    features = encoder(images)
                loss = cross_entropy(head(features), labels)
                optimiser.zero_grad()
                torch.autograd.backward(scaler.scale(loss))
                scaler.step(optimiser)
                scaler.update()
                schedule.step()
    if not all(bool(weight.isfinite().all()) for weight in (*layer, *tuned)):
        raise ValueError(
            "training on views has diverged: lower the probe's lr, or look whether the encoder has diverged"
        )
    return head


def predict(encoder: PrivateEncoder, head: nn.Linear, scored: Split) -> Tensor:
    """Logits (M, C) of clean images, the encoder in eval mode."""
    encoder.eval()
    with torch.inference_mode(), full_float32():
        return torch.cat([head(encoder(images)) for images, _ in scored.images()])


def augmentation(settings: SgdSettings) -> Augmentation:
    """Random resized crops and horizontal flips, as ImageNet classifiers are trained on."""
    return Augmentation(
        jitter_probability=0.0,
        greyscale_probability=0.0,
        crop_scale=settings.crop_scale,
        flip_probability=settings.flip_probability,
    )
