"""What a process compiles, or loads compiled, once: done before the clock of its first training starts, else that
training would be charged with it. Changes no number."""

from __future__ import annotations

from functools import cache

import torch

from harness.accelerate.cpu.side_by_side import SideBySide
from harness.accelerate.precision import autocast
from harness.backbones import build_encoder, forked_rng
from harness.spec.models import Backbone, Precision

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@cache
def compile_ahead() -> None:
    """The loops of augmentation and of normalisation on a CPU, by a pass through a small ResNet."""
    import harness.data.fused  # noqa: F401  compiled as it is imported

    with forked_rng():
        encoder = build_encoder(Backbone(name="resnet18", stem="small", width=8), channels=3, image_size=8, seed=0)
        encoder.to(memory_format=torch.channels_last)
        views = torch.rand(2, 4, 8, 8, 3).permute(0, 1, 4, 2, 3)
        for precision in PRECISIONS:
            with autocast(precision, torch.device("cpu")):
                features = SideBySide()(encoder, views)
            torch.autograd.backward(features.float().sum())
