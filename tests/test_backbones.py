"""Stems and initialisation by layer, against torchvision's ResNets."""

import math

import pytest
import torch
import torchvision
from torch import nn

from harness.backbones import BackboneError, build_encoder, feature_size, flops_per_view
from harness.suite.cell import BackboneSpec


def build(channels=3, image_size=32, seed=0, **spec):
    return build_encoder(BackboneSpec(**spec), channels, image_size, seed)


def test_cifar_stem_is_a_3x3_convolution_without_max_pool():
    encoder = build(stem="small")
    conv = encoder.conv1
    assert (conv.kernel_size, conv.stride, conv.padding, conv.bias) == ((3, 3), (1, 1), (1, 1), None)
    assert isinstance(encoder.maxpool, nn.Identity)
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, 512)
    assert feature_size(encoder) == 512


def test_stl_stem_keeps_the_max_pool_and_the_standard_stem_is_torchvisions():
    kept = build(stem="small_max_pool").maxpool
    assert (kept.kernel_size, kept.stride, kept.padding) == (3, 2, 1)
    standard, reference = build(), torchvision.models.resnet18()
    assert str(standard.conv1) == str(reference.conv1)


def test_layers_and_parameters_are_torchvisions():
    encoder, reference = build(), torchvision.models.resnet18()
    ours = {name: tuple(p.shape) for name, p in encoder.named_parameters()}
    theirs = {name: tuple(p.shape) for name, p in reference.named_parameters() if not name.startswith("fc.")}
    assert ours == theirs
    reference.fc = nn.Identity()
    encoder.load_state_dict(reference.state_dict())  # and so is the function: the stem's ReLU is not lost
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(encoder.eval()(images), reference.eval()(images))


@pytest.mark.parametrize("width", [None, 16])
def test_initialisation_by_layer(width):
    encoder = build(stem="small", width=width)
    for name, module in encoder.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all(), name  # the last BN of a block included: not zero-initialised
            assert module.bias.eq(0).all(), name
        elif isinstance(module, nn.Conv2d) and name != "conv1":
            fan_out = module.out_channels * math.prod(module.kernel_size)
            spread = 6 / math.sqrt(2 * module.weight.numel())  # six standard errors of a standard deviation
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=spread), name
    bound = 1 / math.sqrt(3 * 9)  # nn.Conv2d's default: uniform within 1 / sqrt(fan_in)
    largest = encoder.conv1.weight.abs().max().item()
    assert 0.95 * bound < largest <= bound


def test_zero_init_last_is_a_choice():
    assert build(zero_init_last=True).layer1[0].bn2.weight.eq(0).all()


def test_narrow_variant_scales_every_stage():
    encoder = build(width=16, stem="small_max_pool", channels=1, image_size=16)
    assert [encoder.conv1.out_channels, *(s[0].conv1.out_channels for s in map(encoder.get_submodule, STAGES))] == [
        16, 16, 32, 64, 128,
    ]  # fmt: skip
    assert encoder(torch.zeros(2, 1, 16, 16)).shape == (2, 128)
    assert encoder.layer1[0].downsample is None


STAGES = ["layer1", "layer2", "layer3", "layer4"]


def test_narrow_resnet_with_the_standard_stem():
    conv = build(width=32, image_size=64).conv1
    assert (conv.out_channels, conv.kernel_size, conv.stride) == (32, (7, 7), (2, 2))


@pytest.mark.parametrize(
    ("name", "options", "features"),
    [("resnet50", {}, 2048), ("vit_tiny_patch16_224", {"patch_size": 8}, 192), ("convnext_atto", {}, 320)],
)
def test_other_families(name, options, features):
    encoder = build(name=name, options=options, image_size=32)
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, features)


def test_the_seed_alone_decides_the_weights():
    torch.manual_seed(5)
    first = build(seed=1, width=8)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))  # the global generator is left alone
    same, other = build(seed=1, width=8), build(seed=2, width=8)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_flops_of_a_hand_counted_network():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(4 * 8 * 8, 5))
    assert flops_per_view(encoder, 3, 8) == 2 * (8 * 8 * 4 * 3 * 9) + 2 * (4 * 8 * 8 * 5)
    assert encoder.training


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "resnet81"}, "no model `resnet81`; did you mean `resnet"),
        ({"name": "vit_tiny_patch16_224", "stem": "small"}, "is no timm ResNet"),
        ({"width": 15}, "15 is odd"),
        ({"options": {"nonsense": 1}}, "timm cannot build `resnet18`"),
    ],
)
def test_errors_say_what_and_why(spec, message):
    with pytest.raises(BackboneError, match=message):
        build(**spec)
