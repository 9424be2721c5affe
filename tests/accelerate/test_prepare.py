"""Training with and without our means: the same numbers but for rounding, for every method, and modules left as they
were."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from harness import accelerate
from harness.accelerate import prepare
from harness.accelerate.cpu import side_by_side
from harness.data.images import Images
from harness.data.views import ViewStream
from harness.registry import all_methods
from harness.spec.models import (
    Augmentation,
    Backbone,
    Input,
    Optimiser,
    Pretraining,
    Schedule,
    Source,
    TrainingSpec,
)
from harness.training.checkpoints import from_bytes
from harness.training.networks import build_networks
from harness.training.trainer import Hooks, Interrupted, Trainer
from methods.method import one_by_one

CPU = torch.device("cpu")
SEED, STEPS = 0, 3
INPUT = Input(size=16, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
TRAINING = TrainingSpec(
    views=2,
    augmentation=Augmentation(),
    # of Adam's first steps only the gradients' signs would be compared, and some gradients are nothing but rounding
    optimiser=Optimiser(name="sgd", lr=1e-4),
    schedule=Schedule(name="constant", warmup_steps=0),
    epochs=1,
    batch_size=32,
    precision="float32",
)
WHITENED = {"transform": {"kind": "whitening", "sub_batch_size": 16}}


def trained_methods():
    return [name for name, entry in all_methods().items() if entry.trains]


def pretraining(method):
    settings = {"projector": {"hidden": [16], "embedding_size": 4}} if method != "supervised" else {}
    if method in ("w_mse", "whitened_contrastive"):
        settings |= WHITENED
    return Pretraining(
        method=method,
        settings=settings,
        input=INPUT,
        source=Source(name="random", splits=("train",)),
        backbone=Backbone(stem="small", width=8),
        training=TRAINING,
        seed=SEED,
    )


def network(method):
    _, built = build_networks(pretraining(method), all_methods()[method], 5)
    return built


class Noting:
    """Hooks that keep the loss and the state after every step, and stop after one of them."""

    def __init__(self, stop_after=None):
        self.losses, self.states, self.saved, self.stop_after = [], [], [], stop_after
        self.trainer = None
        self.hooks = Hooks(
            measure=lambda epoch: {},
            report=self.report,
            should_stop=lambda: len(self.losses) == self.stop_after,
            save=self.saved.append,
            report_seconds=0.0,
        )

    def report(self, progress):
        self.losses.append(progress.loss)
        self.states.append(copy.deepcopy(self.trainer.method.state_dict()))


def trainer_of(method, around, plain=False):
    drawn = np.random.default_rng(1)
    pixels = drawn.integers(0, 256, (32 * STEPS, 16, 16, 3), dtype=np.uint8)
    images = Images(pixels, drawn.integers(0, 5, len(pixels)))
    views = ViewStream(images, INPUT, TRAINING.augmentation, TRAINING.views, TRAINING.batch_size, SEED, CPU)
    around.trainer = Trainer(TRAINING, SEED, "id", network(method), views, CPU, around.hooks, plain=plain)
    return around.trainer


def trained(method, plain, spoil=lambda encoder: None):
    """What was noted of a whole run."""
    around = Noting()
    trainer = trainer_of(method, around, plain)
    spoil(trainer.method.encoder)
    trainer.run()
    return around


@pytest.fixture
def fused_views(monkeypatch):
    """A list that gets an entry whenever a view takes the fast way."""
    seen, fused = [], side_by_side.fused
    monkeypatch.setattr(side_by_side, "fused", lambda encoder, view: seen.append(len(view)) or fused(encoder, view))
    return seen


def distance(state, other):
    """Between the floating-point values, all together."""
    names = [name for name, value in other.items() if value.is_floating_point()]
    return float(sum((state[name] - other[name]).double().square().sum() for name in names)) ** 0.5


@pytest.mark.parametrize("method", trained_methods())
def test_every_method_trains_plainly_to_the_same_numbers(method, two_threads, fused_views):
    start = network(method).state_dict()
    plain = trained(method, plain=True)
    assert not fused_views
    fast = trained(method, plain=False)
    assert len(fused_views) == STEPS * TRAINING.views * (2 if method == "byol" else 1)  # its target encodes, too
    assert fast.losses[0] == pytest.approx(plain.losses[0], rel=1e-5)
    assert fast.losses == pytest.approx(plain.losses, rel=1e-3)
    # where an input of ReLU is rounded to the other side of 0, a gradient moves by a thousandth
    for ours, theirs in zip(fast.states, plain.states, strict=True):
        assert ours.keys() == theirs.keys()
        assert distance(ours, theirs) <= 0.01 * distance(theirs, start)
        assert all(torch.equal(ours[k], theirs[k]) for k in ours if not ours[k].is_floating_point())


def test_a_run_that_was_stopped_goes_on_to_the_bit(two_threads, fused_views):
    whole, stopped = trained("w_mse", plain=False), Noting(stop_after=1)
    with pytest.raises(Interrupted):
        trainer_of("w_mse", stopped).run()
    resumed = Noting()
    trainer_of("w_mse", resumed).restore(from_bytes(stopped.saved[-1], "id"))
    resumed.trainer.run()
    assert len(fused_views) == 2 * STEPS * TRAINING.views
    assert stopped.losses + resumed.losses == whole.losses
    assert all(torch.equal(a, b) for a, b in zip(resumed.states[-1].values(), whole.states[-1].values(), strict=True))


@pytest.mark.parametrize("method", trained_methods())
def test_every_module_keeps_its_class_and_its_names(method):
    built = network(method)
    before = [(name, type(module), set(vars(module))) for name, module in built.named_modules()]
    names = list(built.state_dict())
    prepared = prepare(built, TRAINING, INPUT, CPU)
    assert prepared.method is built
    prepared.encode(built.encoder, torch.rand(2, 4, 3, 16, 16)).sum().backward()
    assert before == [(name, type(module), set(vars(module))) for name, module in built.named_modules()]
    assert list(built.state_dict()) == names


def test_an_encoder_with_a_hook_trains_as_plainly_as_without_us(two_threads, fused_views):
    seen = []

    def watch(encoder):
        encoder.layer3[0].bn1.register_forward_hook(lambda module, given, result: seen.append(result.detach().clone()))

    ours, plain = trained("vicreg", plain=False, spoil=watch), trained("vicreg", plain=True)
    assert not fused_views
    assert len(seen) == STEPS * TRAINING.views
    assert min(float(result.min()) for result in seen) < 0  # before ReLU
    assert ours.losses == plain.losses
    assert all(torch.equal(a, b) for a, b in zip(ours.states[-1].values(), plain.states[-1].values(), strict=True))


def test_an_encoder_of_a_users_own_runs_its_own_code(two_threads, fused_views):
    class Own(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    views = torch.rand(2, 4, 3, 16, 16)
    encode = prepare(network("simsiam"), TRAINING, INPUT, CPU).encode
    assert torch.equal(encode(Own(), views), views.mean((3, 4)))
    assert not fused_views


@pytest.mark.parametrize(
    ("options", "kept", "wishes"),
    [
        ({}, 1, ["off"]),
        ({"compile": "auto"}, 1, ["auto"]),
        ({"plain": True, "compile": "auto"}, 0, []),
        ({"plain": True, "compile": "on"}, 0, ["on"]),
    ],
)
def test_plain_is_without_any_means_that_was_not_asked_for(monkeypatch, options, kept, wishes):
    calls, wished = [], []
    monkeypatch.setattr(accelerate, "keep_freed_memory", lambda: calls.append(1))
    monkeypatch.setattr(accelerate, "compile_encoders", lambda *given: wished.append(given))
    built = network("simsiam")
    prepared = prepare(built, TRAINING, INPUT, CPU, **options)
    assert (prepared.encode is one_by_one) == (not kept)
    assert len(calls) == kept
    assert wished == [(built, (32, 3, 16, 16), "float32", CPU, wish) for wish in wishes]
    assert built.encoder.conv1.weight.is_contiguous(memory_format=torch.channels_last)
