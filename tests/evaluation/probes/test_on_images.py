"""Probes that are trained on images, on a toy encoder and real digits: what they learn, and what they leave alone."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.views import normalise
from harness.engines.evaluate import Features, load_images
from harness.evaluation.sgd import augmentation
from harness.evaluation.split import PrivateEncoder, Shown
from harness.registry import all_probes
from harness.spec.models import Augmentation, Input
from tests.conftest import write_suite
from tests.engines.toy import Command

CPU = torch.device("cpu")
QUICK = {"epochs": 6, "batch_size": 50, "crop_scale": (0.6, 1.0), "flip_probability": 0.0, "lr": 0.5}
SETTINGS = {"sgd": QUICK, "fine_tune": {**QUICK, "encoder_lr": 0.05}}
ON_IMAGES = sorted(SETTINGS)


def network():
    """A small convolutional encoder with BatchNorm and dropout, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = (nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        return nn.Sequential(*parts, nn.Flatten(), nn.Dropout(0.1)).eval()


@pytest.fixture(scope="module")
def toy(tmp_path_factory, data_dir):
    """The toy suite, of which nothing is run."""
    directory = tmp_path_factory.mktemp("toy")
    return Command(write_suite(directory), data_dir, directory / "cells")


@pytest.fixture
def question(toy):
    """(probe, changes) -> a question of the toy suite that asks that."""
    base = toy.task("w_mse").evaluations[0]

    def of(probe, seed=0, settings=None, **changes):
        whole = all_probes()[probe].settings(**(SETTINGS[probe] if settings is None else settings)).model_dump()
        return base.model_copy(update={"probe": probe, "settings": whole, "seed": seed, **changes})

    return of


@pytest.fixture
def asked(toy, question):
    """(probe, encoder, changes) -> the scores."""

    def ask(probe, encoder=None, **changes):
        fed = toy.task("w_mse").pretraining.input
        return Features(encoder or network(), fed, toy.data_dir, CPU).ask(question(probe, **changes))

    return ask


@pytest.mark.parametrize("probe", ON_IMAGES)
def test_it_learns(asked, probe):
    scores = asked(probe)
    assert scores.metrics["top1"] > 60  # chance is 10
    assert list(scores.metrics) == ["top1", "top5", "balanced"]
    assert len(scores.recalls) == 10


def test_tuning_the_encoder_fits_what_a_layer_on_it_cannot(asked):
    assert asked("fine_tune").metrics["top1"] > asked("sgd").metrics["top1"] + 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("probe", ON_IMAGES)
def test_the_encoder_that_is_evaluated_stays_as_it_is(asked, probe, precision):
    encoder = network()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    asked(probe, encoder, precision=precision)
    after = encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in encoder.modules())
    assert all(weight.grad is None for weight in encoder.parameters())


def test_only_fine_tuning_moves_its_own_copy(asked, monkeypatch):
    moved = {}
    for probe in ON_IMAGES:
        made = []
        start = PrivateEncoder.__init__

        def note(self, *given, made=made, start=start):
            start(self, *given)
            made.append(self)

        monkeypatch.setattr(PrivateEncoder, "__init__", note)
        asked(probe)
        monkeypatch.setattr(PrivateEncoder, "__init__", start)
        (own,) = made
        toy = network().state_dict()
        moved[probe] = {name for name, value in own.encoder.state_dict().items() if not torch.equal(value, toy[name])}
    assert moved["sgd"] == set()
    assert moved["fine_tune"] == set(network().state_dict())  # BatchNorm's statistics among them


@pytest.mark.parametrize("probe", ON_IMAGES)
def test_a_seed_repeats_it_to_the_bit_and_another_does_not(asked, probe):
    torch.manual_seed(1)
    first = asked(probe)
    torch.manual_seed(2)  # what else the process has drawn is of no matter
    before = torch.get_rng_state()
    again, other = asked(probe), asked(probe, seed=1)
    assert torch.equal(before, torch.get_rng_state())  # nor does it move it: a monitor changes no training
    assert (first.hits["top1"] == again.hits["top1"]).all()
    assert first.metrics == again.metrics
    assert (first.hits["top1"] != other.hits["top1"]).any()


def test_dropout_of_an_encoder_that_is_tuned_belongs_to_the_seed(asked):
    class Noting(nn.Flatten):
        def forward(self, x):
            if self.training:
                masks.append(nn.functional.dropout(torch.ones(64)).tolist())
            return super().forward(x)

    def drawn(seed):
        masks.clear()
        asked("fine_tune", nn.Sequential(Noting(), nn.Linear(64, 8)), seed=seed)
        return [tuple(mask) for mask in masks]

    masks = []
    first, again, other = drawn(0), drawn(0), drawn(1)
    assert first == again
    assert len({*first, *other}) == 2 * len(first) == 2 * 6 * 4  # epochs of four batches


@pytest.mark.parametrize("probe", ON_IMAGES)
def test_the_rate_of_the_last_step_is_next_to_nothing(asked, probe, monkeypatch):
    """Half a cosine: of two steps the second has half the rate of the first."""
    rates = []
    step = torch.optim.SGD.step

    def noted(self, *given):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *given)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    asked(probe, settings={**SETTINGS[probe], "epochs": 1, "batch_size": 100})
    expected = [0.5] if probe == "sgd" else [0.5, 0.05]
    assert rates == [pytest.approx(expected), pytest.approx([rate / 2 for rate in expected])]


@pytest.mark.parametrize("probe", ON_IMAGES)
def test_what_has_diverged_is_said_so(asked, probe):
    with pytest.raises(ValueError, match="has diverged: lower the probe's lr"):
        asked(probe, settings={**SETTINGS[probe], "lr": 1e38})


@pytest.mark.parametrize("probe", ON_IMAGES)
def test_pixels_have_nothing_to_tune_and_are_probed(asked, probe):
    assert asked(probe, nn.Flatten(), settings={**QUICK, "lr": 0.05}).metrics["top1"] > 60


@pytest.mark.parametrize("name", [*ON_IMAGES, "linear", "knn", "lbfgs"])
def test_few_labels_for_every_probe(asked, question, toy, name, monkeypatch):
    settings = SETTINGS.get(name, {"k": 1} if name == "knn" else {})
    few = question(name, settings=settings, label_fraction=0.1)
    features = Features(network(), toy.task("w_mse").pretraining.input, toy.data_dir, CPU)
    train = features.train(few)
    assert len(train) == 20
    assert sum(len(labels) for _, labels in train.images(Augmentation(), batch_size=7)) == 14  # two whole batches
    assert sum(len(labels) for _, labels in train.images(Augmentation(), batch_size=64)) == 20
    assert features.ask(few).metrics["top1"] > 20
    everything = features.ask(question(name, settings=settings))
    assert everything.metrics["top1"] > features.ask(few).metrics["top1"]


# What a probe is shown


def test_it_is_trained_on_crops_and_flips_and_nothing_else():
    drawn = augmentation(all_probes()["sgd"].settings(crop_scale=(0.3, 0.9), flip_probability=0.2))
    never = ("jitter_probability", "greyscale_probability", "blur_probability", "solarise_probability")
    assert [getattr(drawn, name) for name in never] == [0.0] * 4
    assert (drawn.crop_scale, drawn.flip_probability) == ((0.3, 0.9), 0.2)


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_fp16_supported(), reason="this CPU has no float16 arithmetic")
def test_only_an_encoder_that_is_tuned_in_float16_has_its_loss_scaled(asked, monkeypatch):
    scaled, scaler = [], torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda device, enabled: scaled.append(enabled) or scaler(device, enabled=enabled)
    )
    for probe in ON_IMAGES:
        for precision in ("float32", "float16"):
            asked(probe, settings={**SETTINGS[probe], "epochs": 1}, precision=precision)
    assert dict(zip([(p, q) for p in ON_IMAGES for q in (32, 16)], scaled, strict=True)) == {
        ("fine_tune", 32): False,
        ("fine_tune", 16): True,
        ("sgd", 32): False,
        ("sgd", 16): False,
    }


def test_images_are_in_the_encoders_own_input_with_their_labels(toy, question):
    asked, fed = question("sgd"), Input(size=12, channels=1, mean=(0.2,), std=(0.5,))  # digits are 8x8
    features = Features(nn.Flatten(), fed, toy.data_dir, CPU)
    train, scored = features.train(asked), features.scored(asked)
    clean = torch.cat([images for images, _ in scored.images(batch_size=50)])
    assert clean.shape == (360, 1, 12, 12)
    torch.testing.assert_close(clean.flatten(1), scored.features())
    assert torch.equal(torch.cat([labels for _, labels in scored.images()]), scored.labels)
    nothing = {"jitter_probability": 0.0, "greyscale_probability": 0.0, "flip_probability": 0.0}
    still = Augmentation(**nothing, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    same = Features(nn.Flatten(), fed.model_copy(update={"size": 8}), toy.data_dir, CPU).train(asked)
    pixels = torch.from_numpy(np.array(load_images(asked.train, "train", toy.data_dir, 1).images.pixels))
    whole = normalise(pixels.permute(0, 3, 1, 2).float(), fed)
    known = {image.numpy().round(3).tobytes(): int(label) for image, label in zip(whole, same.labels, strict=True)}
    seen = [
        known[image.contiguous().numpy().round(3).tobytes()] == int(label)
        for images, labels in same.images(still, batch_size=64)
        for image, label in zip(images, labels, strict=True)
    ]
    assert (len(seen), all(seen)) == (192, True)
    assert next(iter(train.images(still)))[0].shape == (200, 1, 12, 12)


def test_every_epoch_has_its_own_order_and_views_by_the_seed(toy, question):
    train = Features(nn.Flatten(), toy.task("w_mse").pretraining.input, toy.data_dir, CPU).train(question("sgd"))
    views = augmentation(all_probes()["sgd"].settings(**QUICK))

    def first(**choices):
        return next(iter(train.images(views, batch_size=50, **choices)))[0]

    assert torch.equal(first(epoch=1), first(epoch=1))
    assert not torch.equal(first(epoch=1), first(epoch=2))
    assert not torch.equal(first(seed=1), first(seed=2))
    assert train.steps(50) == 4
    assert train.steps(1000) == 1


def test_the_copy_computes_in_the_questions_precision_and_answers_in_float32():
    seen = []

    class Probe(nn.Module):
        def forward(self, x):
            seen.append(torch.nn.functional.linear(x.flatten(1), torch.ones(3, 64)).dtype)
            return x.flatten(1)

    shown = Shown(Input(size=8, channels=1, mean=(0.0,), std=(1.0,)), None, CPU)
    for precision, expected in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        own = PrivateEncoder(Probe(), precision, shown)
        assert own(torch.zeros(2, 1, 8, 8)).dtype == torch.float32
        assert (seen[-1], own.width) == (expected, 64)
