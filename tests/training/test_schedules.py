"""The learning rate of the W-MSE paper at the steps that matter, and the other shapes by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from harness.spec.models import Schedule, WeightDecaySchedule
from harness.training.schedules import decay_factor, set_lr, set_weight_decay, warmup_factor, weight_decay_at

STEPS, EPOCHS = 97, 1000  # CIFAR: 50,000 images in batches of 512


def rate(step, spec=None, steps_per_epoch=STEPS, epochs=EPOCHS, peak=3e-3, constant_lr=False, lr_scale=1.0):
    group = {"params": [nn.Parameter(torch.zeros(1))], "constant_lr": constant_lr, "lr_scale": lr_scale}
    optimiser = torch.optim.SGD([group], lr=1.0)
    set_lr(optimiser, peak, spec or Schedule(), step, steps_per_epoch, epochs)
    return optimiser.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 3e-3 / 500),
        (249, 1.5e-3),
        (499, 3e-3),
        (500, 3e-3),
        (950 * STEPS - 1, 3e-3),
        (950 * STEPS, 6e-4),
        (975 * STEPS - 1, 6e-4),
        (975 * STEPS, 1.2e-4),
        (1000 * STEPS - 1, 1.2e-4),
    ],
)
def test_paper_schedule(step, expected):
    assert rate(step) == pytest.approx(expected, rel=1e-12)


def test_drops_longer_than_the_run_do_not_happen():
    assert [decay_factor(Schedule(), e * 10, 10, 40) for e in (0, 14, 15, 39)] == pytest.approx([1, 1, 0.2, 0.2])


def test_cosine_runs_from_the_warmup_to_the_final_fraction():
    spec = Schedule(name="cosine", warmup_steps=10, final_fraction=0.1)
    assert rate(9, spec, 10, 5, peak=1.0) == pytest.approx(1.0)
    assert rate(10, spec, 10, 5, peak=1.0) == pytest.approx(1.0)
    assert rate(30, spec, 10, 5, peak=1.0) == pytest.approx(0.1 + 0.9 * 0.5)
    assert rate(49, spec, 10, 5, peak=1.0) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 39 / 40)) / 2)


def test_constant_and_no_warmup():
    spec = Schedule(name="constant", warmup_steps=0)
    assert [warmup_factor(spec, s) for s in (0, 1)] == [1.0, 1.0]
    assert rate(99_000, spec) == 3e-3


def test_constant_lr_groups_warm_up_and_stay():
    assert rate(99, constant_lr=True) == pytest.approx(3e-3 * 100 / 500)
    assert rate(999 * STEPS, constant_lr=True) == 3e-3


def test_a_group_s_scale_multiplies_its_rate_at_every_step():
    assert rate(249, lr_scale=10.0) == pytest.approx(1.5e-2)
    assert rate(975 * STEPS, lr_scale=0.5) == pytest.approx(6e-5)


def test_weight_decay_follows_dinos_cosine():
    """utils.cosine_scheduler of facebookresearch/dino with no warm-up: 0.04 -> 0.4 over 8 steps."""
    dino = 0.4 + 0.5 * (0.04 - 0.4) * (1 + np.cos(np.pi * np.arange(8) / 8))
    ours = [weight_decay_at(0.04, WeightDecaySchedule(final=0.4), step, 8) for step in range(8)]
    assert ours == pytest.approx(dino.tolist(), rel=1e-12)
    assert ours[0] == pytest.approx(0.04)
    assert weight_decay_at(0.4, WeightDecaySchedule(final=0.0), 4, 8) == pytest.approx(0.2)


def test_weight_decay_is_set_only_where_there_is_any():
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "decayed": decayed} for decayed in (True, False)]
    optimiser = torch.optim.SGD(groups, lr=1.0)
    set_weight_decay(optimiser, 0.3)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.3, 0]
