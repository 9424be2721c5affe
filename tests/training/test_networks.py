"""What is built for a pretraining: seeds that give the same encoder, weights from a file that is what it should be."""

import hashlib

import pytest
import safetensors.torch
import torch

from harness.backbones import BackboneError, build_encoder
from harness.registry import all_methods
from harness.spec.models import Augmentation, Backbone, Input, Optimiser, Pretraining, Schedule, Source, TrainingSpec
from harness.training.networks import build_networks

INPUT = Input(size=8, channels=1, mean=(0.5,), std=(0.25,))
BACKBONE = Backbone(stem="small_max_pool", width=4)
TRAINING = TrainingSpec(
    views=2,
    augmentation=Augmentation(),
    optimiser=Optimiser(),
    schedule=Schedule(),
    epochs=1,
    batch_size=64,
    precision="float32",
)
HEAD = {"projector": {"hidden": [8], "embedding_size": 4}}


def pretraining(method, **changes):
    trains = all_methods()[method].trains
    fields = {
        "method": method,
        "settings": HEAD if trains else {},
        "input": INPUT,
        "source": Source(name="digits", splits=("train",)) if trains else None,
        "backbone": BACKBONE,
        "training": TRAINING if trains else None,
        "seed": 3,
    }
    return Pretraining(**{**fields, **changes})


def networks(method, weights=None, classes=10, **changes):
    return build_networks(pretraining(method, **changes), all_methods()[method], classes, weights)


def weights_of(module):
    return [value.clone() for value in module.state_dict().values()]


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(weights_of(ours), weights_of(theirs), strict=True))


def test_methods_with_one_seed_begin_with_the_same_encoder_and_the_heads_of_its_own_stream():
    drawn = torch.get_rng_state()
    untrained, none = networks("untrained")
    encoder, method = networks("contrastive")
    other, barlow = networks("barlow_twins")
    assert torch.equal(drawn, torch.get_rng_state())
    assert none is None
    assert method.encoder is encoder
    assert same(encoder, untrained)
    assert same(encoder, other)
    assert same(encoder, build_encoder(BACKBONE, 1, 8, 3))
    assert same(networks("contrastive")[1], method)
    head = method.head.projector[0].weight
    assert torch.equal(head, barlow.head.projector[0].weight)
    another = networks("contrastive", seed=4)[1]
    assert not torch.equal(head, another.head.projector[0].weight)


def test_the_head_is_as_wide_as_the_encoders_output_is():
    _, method = networks("contrastive", backbone=Backbone(name="mobilenetv3_small_050"), input=INPUT)
    assert method.head.projector[0].in_features == 1024  # the model's num_features says 288


def test_pixels_need_neither_backbone_nor_seed():
    encoder, method = networks("pixels", backbone=None, seed=None)
    assert method is None
    assert encoder(torch.zeros(2, 1, 8, 8)).shape == (2, 64)


@pytest.fixture
def given(tmp_path):
    """A file of weights, and the backbone that names it."""
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(build_encoder(BACKBONE, 1, 8, 99).state_dict(), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return path, BACKBONE.model_copy(update={"weights": sha256})


def test_given_weights_need_no_seed(given):
    path, backbone = given
    encoder, method = networks("given_weights", path, backbone=backbone, seed=None)
    assert method is None
    assert same(encoder, build_encoder(BACKBONE, 1, 8, 99))


def test_training_goes_on_from_given_weights_with_a_head_of_the_seed(given):
    path, backbone = given
    encoder, method = networks("contrastive", path, backbone=backbone)
    assert same(encoder, build_encoder(BACKBONE, 1, 8, 99))
    assert torch.equal(method.head.projector[0].weight, networks("contrastive")[1].head.projector[0].weight)
    with pytest.raises(AssertionError, match="contrastive draws the weights of its head"):
        networks("contrastive", path, backbone=backbone, seed=None)


def test_without_given_weights_an_encoder_is_drawn_with_a_seed():
    with pytest.raises(AssertionError, match="untrained draws its encoder's weights"):
        networks("untrained", seed=None)


def test_a_momentum_copy_begins_with_the_given_weights(given):
    path, backbone = given
    _, method = networks("byol", path, backbone=backbone)
    assert same(method.target_encoder, build_encoder(BACKBONE, 1, 8, 99))


def test_a_file_that_is_missing_or_another_is_refused(given):
    path, backbone = given
    sha256 = backbone.weights
    with pytest.raises(BackboneError, match=f"no file was named; it must be the one with SHA-256 {sha256}"):
        networks("given_weights", backbone=backbone, seed=None)
    with pytest.raises(BackboneError, match=f"no file at .*gone.pth; it must be the one with SHA-256 {sha256}"):
        networks("given_weights", path.with_name("gone.pth"), backbone=backbone, seed=None)
    safetensors.torch.save_file(build_encoder(BACKBONE, 1, 8, 98).state_dict(), path)
    with pytest.raises(BackboneError, match=f"w.safetensors has changed: its SHA-256 is .*, not {sha256}. Put the old"):
        networks("given_weights", path, backbone=backbone, seed=None)


def test_weights_of_another_network_do_not_fit(given):
    path, backbone = given
    with pytest.raises(
        BackboneError, match=r"does not fit the encoder \(of another shape: .*conv1.weight \(4, 1, 3, 3\), not"
    ):
        networks("given_weights", path, backbone=backbone.model_copy(update={"width": 8}), seed=None)


def test_an_encoder_that_does_not_pool_is_refused():
    backbone = Backbone(stem="small", width=4, options={"global_pool": ""})
    with pytest.raises(BackboneError, match="not a row of features each"):
        networks("contrastive", backbone=backbone)
