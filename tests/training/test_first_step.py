"""A loss that cannot be right stops at the first step and says why; one that can is not touched."""

import pytest
import torch
from torch import nn

from harness.registry import all_methods
from harness.training.checkpoints import from_bytes
from harness.training.first_step import WrongLossError
from harness.training.trainer import Interrupted, NonFiniteLossError
from methods.method import Loss, Method
from tests.training.test_trainer import RUN_ID, Surroundings, make_trainer


class Free(Method):
    """A loss of any formula of (h, method), h (d, N, F)."""

    def __init__(self, formula):
        torch.manual_seed(3)
        super().__init__(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()))
        self.head, self.spare = nn.Linear(144, 6), nn.Linear(144, 6)
        self.formula = formula

    def loss(self, batch, step):
        return self.formula(step.features(self.encoder, batch), self)


def sound(h, method):
    return method.head(h).square().mean() + method.spare(h).square().mean()


def run(formula, silent=()):
    trainer = make_trainer(Surroundings(), method=Free(formula))
    trainer.silent = silent
    trainer.run()


WRONG = {
    "a vector": (
        lambda h, m: sound(h, m).expand(3),
        r"^`loss` returned a tensor of shape \(3,\) and type float32, not a",
    ),
    "bfloat16": (
        lambda h, m: sound(h, m).bfloat16(),
        r"a tensor of shape \(\) and type bfloat16, not a float32 scalar:",
    ),
    "a number": (lambda h, m: 1.0, r"^`loss` returned a float, not a float32 scalar: average over the batch"),
    "a constant": (
        lambda h, m: h.detach().mean(),
        r"^the loss depends on no trainable parameter: look for `.detach\(\)`",
    ),
    "detached features": (  # case 23
        lambda h, m: sound(h.detach(), m),
        r"^the gradient of the loss does not reach the encoder: none for encoder.0.weight, encoder.0.bias, "
        r"encoder.1.weight, encoder.1.bias. Look for `.detach\(\)`",
    ),
    "a head left out": (
        lambda h, m: m.head(h).square().mean(),
        r"does not reach every trainable parameter: none for spare.weight, spare.bias\. .*`MethodEntry\(..., silent=",
    ),
    "a factor of zero": (
        lambda h, m: 0.0 * sound(h, m),
        r"^the gradient of the encoder is nothing but zeros: the loss",
    ),
    "a term that is none": (
        lambda h, m: Loss(sound(h, m), {"pair": h}),
        r"^the loss term 'pair' is a tensor of shape \(2, 8, 144\) and type float32, not a scalar tensor",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_loss_is_an_error_at_the_first_step(case):
    formula, message = WRONG[case]
    with pytest.raises(WrongLossError, match=message):
        run(formula)


def test_a_loss_that_is_not_finite_says_so_and_not_that_it_has_no_gradient():
    with pytest.raises(NonFiniteLossError, match=r"not finite at step 0 \(epoch 0\)"):
        run(lambda h, m: sound(h, m) / 0.0)


def test_at_most_five_names_are_listed():
    method = Free(sound)
    method.more = nn.ModuleList(nn.Linear(1, 1) for _ in range(4))
    with pytest.raises(WrongLossError, match=r"none for more.0.weight, .*more.2.weight and 3 more\. Look"):
        make_trainer(Surroundings(), method=method).run()
    method.more[3].requires_grad_(False)
    method.more[2].bias.requires_grad_(False)
    with pytest.raises(WrongLossError, match=r"none for more.0.weight, .*more.2.weight\. Look"):
        make_trainer(Surroundings(), method=method).run()


@pytest.mark.parametrize("silent", [("spare.*",), ("spare.weight", "spare.bias")])
def test_declared_parameters_may_be_silent(silent):
    run(lambda h, m: m.head(h).square().mean(), silent)


def test_zeros_on_a_bias_before_a_normalisation_are_right():
    run(sound)  # the convolution's bias stands before a BatchNorm


def test_what_the_backbone_itself_does_not_use_is_no_fault_of_the_loss():
    class WithToken(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.mask_token = nn.Sequential(nn.Flatten(), nn.Linear(64, 144), nn.BatchNorm1d(144)), None
            self.mask_token = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return self.inner(x)

    method = Free(sound)
    method.encoder = WithToken()
    trainer = make_trainer(Surroundings(stop_after=1), method=method)
    with pytest.raises(Interrupted):
        trainer.run()
    assert int(method.encoder.inner[2].num_batches_tracked) == 2  # a call a view, and none for the check
    assert method.encoder.training


def test_nothing_is_looked_at_after_the_first_step_and_again_after_resuming(monkeypatch):
    looked = []
    monkeypatch.setattr("harness.training.trainer.check_gradients", lambda *args: looked.append(args))
    around = Surroundings(stop_after=5)
    with pytest.raises(Interrupted):
        make_trainer(around, method=Free(sound)).run()
    assert len(looked) == 1
    resumed = make_trainer(Surroundings(), method=Free(sound))
    resumed.restore(from_bytes(around.saved[-1], RUN_ID))
    resumed.run()
    assert len(looked) == 2


def test_looking_changes_no_bit(monkeypatch):
    looked_at = make_trainer(Surroundings(), method=Free(sound))
    looked_at.run()
    monkeypatch.setattr("harness.training.trainer.check_loss", lambda loss: None)
    monkeypatch.setattr("harness.training.trainer.check_gradients", lambda *args: None)
    not_looked_at = make_trainer(Surroundings(), method=Free(sound))
    not_looked_at.run()
    ours, theirs = looked_at.method.state_dict(), not_looked_at.method.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


FAMILY = sorted(name for name, entry in all_methods().items() if entry.trains)


@pytest.mark.parametrize("name", FAMILY)
def test_every_method_of_the_package_passes(name):
    entry = all_methods()[name]
    said = {"projector": {"hidden": [8], "embedding_size": 2}} if "projector" in entry.settings.model_fields else {}
    if entry.settings().model_dump().get("transform", None) not in (None, {"kind": "batch_norm"}):
        said["transform"] = {"kind": "whitening", "sub_batch_size": 4}
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    method = entry.builder()(entry.settings.model_validate(said), encoder, 144, 10)
    trainer = make_trainer(Surroundings(stop_after=1), method=method)
    with pytest.raises(Interrupted):
        trainer.run()
    assert trainer.checked
