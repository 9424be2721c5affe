"""Learning rate and weight decay as pure functions of the step. Owns no state: resuming needs the step alone."""

from __future__ import annotations

import math

import torch

from harness.spec.models import Schedule, WeightDecaySchedule


def warmup_factor(spec: Schedule, step: int) -> float:
    """(i + 1) / warmup_steps at step i, and 1 from step warmup_steps - 1 on."""
    return min(1.0, (step + 1) / spec.warmup_steps) if spec.warmup_steps else 1.0


def decay_factor(spec: Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Fraction of the peak rate at a step, warm-up left out.

    `step`: x drop_factor from epoch E - drop on, for each drop smaller than E. `cosine`: half a cosine from the end of
    the warm-up to the last step, down to `final_fraction`.
    """
    if spec.name == "step":
        epoch = step // steps_per_epoch
        return spec.drop_factor ** sum(drop < epochs and epoch >= epochs - drop for drop in spec.drops)
    if spec.name == "cosine":
        total = epochs * steps_per_epoch
        progress = max(0, step - spec.warmup_steps) / max(1, total - spec.warmup_steps)
        return spec.final_fraction + (1 - spec.final_fraction) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return 1.0


def set_lr(
    optimiser: torch.optim.Optimizer, peak_lr: float, spec: Schedule, step: int, steps_per_epoch: int, epochs: int
) -> float:
    """Set every group's rate for this step; groups marked `constant_lr` only warm up, and
    `lr_scale` multiplies a group's. Returns the decayed rate."""
    warm = peak_lr * warmup_factor(spec, step)
    decayed = warm * decay_factor(spec, step, steps_per_epoch, epochs)
    for group in optimiser.param_groups:
        group["lr"] = (warm if group["constant_lr"] else decayed) * group["lr_scale"]
    return decayed


def weight_decay_at(first: float, spec: WeightDecaySchedule, step: int, steps: int) -> float:
    """final + (first - final) (1 + cos(pi step / steps)) / 2 (DINO, utils.cosine_scheduler)."""
    return spec.final + (first - spec.final) * (1 + math.cos(math.pi * step / steps)) / 2


def set_weight_decay(optimiser: torch.optim.Optimizer, weight_decay: float) -> None:
    """Set it for this step in every group that has any."""
    for group in optimiser.param_groups:
        if group["decayed"]:
            group["weight_decay"] = weight_decay
