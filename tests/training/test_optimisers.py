"""The optimiser's settings by parameter group."""

import pytest
import torch
from torch import nn

from harness.spec.models import Optimiser
from harness.training.optimisers import build_optimiser
from methods.method import Method


class Toy(Method):
    def __init__(self):
        super().__init__(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
        self.predictor = nn.Linear(2, 2)
        self.target = nn.Linear(2, 2).requires_grad_(False)

    def loss(self, views, labels, generator):
        return self.predictor(self.encoder(views[0]).mean((2, 3))).square().sum()

    def constant_lr_parameters(self):
        return self.predictor.parameters()


def test_paper_adam_decays_everything_coupled():
    optimiser = build_optimiser(Toy(), Optimiser())
    assert type(optimiser) is torch.optim.Adam
    assert [len(g["params"]) for g in optimiser.param_groups] == [4, 2]
    for group in optimiser.param_groups:
        assert (group["lr"], group["weight_decay"], group["betas"]) == (3e-3, 1e-6, (0.9, 0.999))
        assert not group["decoupled_weight_decay"]
    assert [g["constant_lr"] for g in optimiser.param_groups] == [False, True]


def test_bias_and_norm_can_be_left_undecayed():
    optimiser = build_optimiser(Toy(), Optimiser(name="adamw", weight_decay=0.1, decay_bias_and_norm=False))
    decays = {p.ndim > 1: g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert decays == {True: 0.1, False: 0.0}


def test_the_target_is_never_optimised():
    toy = Toy()
    trained = {id(p) for g in build_optimiser(toy, Optimiser()).param_groups for p in g["params"]}
    assert not trained & {id(p) for p in toy.target.parameters()}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lars"])
def test_one_step_by_hand(name):
    """w of ones with a gradient of ones, decay 0.5: each rule's first step from its definition."""
    toy = Toy()
    spec = Optimiser(name=name, lr=0.1, weight_decay=0.5, decay_bias_and_norm=False, momentum=0.9)
    optimiser = build_optimiser(toy, spec)
    weight, bias = toy.predictor.weight, toy.predictor.bias
    with torch.no_grad():
        for p in toy.parameters():
            p.fill_(1.0)
            p.grad = torch.ones_like(p)
    optimiser.step()
    gradient = 1.0 + 0.5
    expected = {
        "adam": 1 - 0.1,  # the first step of Adam is the sign of gradient + decay
        "adamw": 1 - 0.1 * 0.5 - 0.1,
        "sgd": 1 - 0.1 * gradient,
        "lars": 1 - 0.1 * gradient * (1e-3 * 2 / (2 + 0.5 * 2)),  # norms of the 2 x 2 weight and gradient are 2
    }[name]
    undecayed = {"adam": 0.9, "adamw": 0.9, "sgd": 0.9, "lars": 0.9}[name]
    torch.testing.assert_close(weight.data, torch.full((2, 2), expected))
    torch.testing.assert_close(bias.data, torch.full((2,), undecayed))
