"""The optimiser's settings by parameter group."""

import pytest
import torch
from torch import nn

from harness.spec.models import Optimiser
from harness.training.optimisers import build_optimiser
from methods.method import Method, ParameterGroup


class Toy(Method):
    def __init__(self):
        super().__init__(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
        self.predictor = nn.Linear(2, 2)
        self.target = nn.Linear(2, 2).requires_grad_(False)

    def loss(self, batch, step):
        return self.predictor(self.encoder(batch.views[0][0]).mean((2, 3))).square().sum()

    def parameter_groups(self):
        return [ParameterGroup(self.predictor.parameters(), constant_lr=True)]


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


def grouped(*groups):
    toy = Toy()
    toy.parameter_groups = lambda: [make(toy) for make in groups]
    return toy


def test_a_group_has_a_rate_and_a_decay_of_its_own_and_the_rest_need_not_be_named():
    toy = grouped(
        lambda toy: ParameterGroup(toy.predictor.parameters(), lr_scale=10.0, decay=False),
        lambda toy: ParameterGroup(toy.encoder[1].parameters(), decay=True),
    )
    optimiser = build_optimiser(toy, Optimiser(lr=0.1, weight_decay=0.5, decay_bias_and_norm=False))
    of = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    assert len(of) == 6
    for p in toy.predictor.parameters():
        assert (of[id(p)]["lr"], of[id(p)]["weight_decay"]) == (1.0, 0.0)
    assert {of[id(p)]["weight_decay"] for p in toy.encoder[1].parameters()} == {0.5}
    conv = toy.encoder[0]
    assert (of[id(conv.weight)]["weight_decay"], of[id(conv.bias)]["weight_decay"]) == (0.5, 0.0)
    assert of[id(conv.weight)]["lr"] == 0.1


def test_a_parameter_in_two_groups_or_of_nobody_is_refused():
    def predictor(toy):
        return ParameterGroup(toy.predictor.parameters())

    with pytest.raises(ValueError, match=r"^parameter_groups of Toy: predictor.weight stands in two groups; name it"):
        build_optimiser(grouped(predictor, predictor), Optimiser())
    stray = nn.Parameter(torch.zeros(3, 2))
    with pytest.raises(
        ValueError, match=r"a parameter of shape \(3, 2\) is none of the method's; make it an attribute"
    ):
        build_optimiser(grouped(lambda toy: ParameterGroup([stray])), Optimiser())
