"""Stems and initialisation by layer, against torchvision's ResNets; widths, sizes that do not fit, weights of files."""

import math
import pickle

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.backbones import (
    BackboneError,
    build_encoder,
    feature_size,
    flops_per_view,
    load_weights,
    on_meta,
    try_backbone,
)
from harness.spec.models import Backbone, Input


def build(channels=3, image_size=32, seed=0, **fields):
    return build_encoder(Backbone(**fields), channels, image_size, seed)


def reason(image_size, channels=3, **fields):
    return try_backbone(
        Backbone(**fields),
        Input(size=image_size, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels),
    )


def test_cifar_stem_is_a_3x3_convolution_without_max_pool():
    encoder = build(stem="small")
    conv = encoder.conv1
    assert (conv.kernel_size, conv.stride, conv.padding, conv.bias) == ((3, 3), (1, 1), (1, 1), None)
    assert isinstance(encoder.maxpool, nn.Identity)
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, 512)
    assert feature_size(encoder, 3, 32) == 512


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


@pytest.mark.parametrize(
    ("name", "size", "features"), [("mobilenetv3_small_050", 32, 1024), ("vit_tiny_patch16_224", 28, 192)]
)
def test_the_width_is_that_of_the_output_whatever_the_model_says(name, size, features):
    encoder = build(name=name, image_size=size)
    assert encoder.eval()(torch.zeros(2, 3, size, size)).shape == (2, features)
    assert feature_size(encoder, 3, size) == features


class LooksAtValues(nn.Module):
    """Cannot run on the meta device; its width depends on its mode, and a batch counts into a buffer."""

    def __init__(self):
        super().__init__()
        self.norm = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        torch.rand(1)
        features = self.norm(x).flatten(1)
        return features[:, : 5 if float(features.sum()) < 1e9 and not self.training else 7]


@pytest.mark.parametrize(
    ("encoder", "features"),
    [
        (LooksAtValues(), 5),
        (nn.Flatten(), 64),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten()).half(), 3 * 36),
    ],
)
def test_reading_the_width_leaves_everything_as_it_was(encoder, features):
    for place, module in enumerate(encoder.modules()):
        module.training = place % 2 == 1
    modes = [module.training for module in encoder.modules()]
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    drawn = torch.get_rng_state()
    assert feature_size(encoder, 1, 8) == features
    assert torch.equal(drawn, torch.get_rng_state())
    assert [module.training for module in encoder.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (nn.Conv2d(1, 4, 3), r"output for 2 images is of shape \(2, 4, 6, 6\), not a row of features each"),
        (nn.Flatten(0), r"of shape \(128,\)"),
        (nn.LSTM(8, 3), r"the encoder cannot take 1x8x8 images: "),
        (nn.MaxPool2d(2, return_indices=True), "2 images is a tuple"),
        (nn.Conv2d(1, 4, 9), r"cannot take 1x8x8 images: .*[Kk]ernel size"),
    ],
)
def test_an_encoder_that_gives_no_row_an_image_is_refused(encoder, message):
    with pytest.raises(BackboneError, match=message):
        feature_size(encoder, 1, 8)


def test_a_copy_on_the_meta_device_keeps_structure_ties_and_what_is_trained():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)).eval()
    module[2].weight = module[0].weight
    module[0].bias.requires_grad_(False)
    module.seen = [torch.ones(3), {"last": module[0](torch.ones(1, 4))}]  # what no `Module.to` moves
    shadow = on_meta(module)
    assert (shadow.seen[0].device.type, shadow.seen[1]["last"].shape) == ("meta", (1, 4))
    assert torch.equal(module.seen[0], torch.ones(3))
    assert {value.device.type for value in shadow.state_dict().values()} == {"meta"}
    assert {name: value.shape for name, value in shadow.state_dict().items()} == {
        name: value.shape for name, value in module.state_dict().items()
    }
    assert shadow[2].weight is shadow[0].weight
    assert (shadow[0].bias.requires_grad, shadow[0].weight.requires_grad, shadow.training) == (False, True, False)
    assert module[0].weight.device.type == "cpu"


def test_flops_of_a_hand_counted_network():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(4 * 8 * 8, 5))
    assert flops_per_view(encoder, 3, 8) == 2 * (8 * 8 * 4 * 3 * 9) + 2 * (4 * 8 * 8 * 5)
    assert encoder.training


def test_a_network_that_cannot_be_counted_raises_its_own_error():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 9), nn.BatchNorm2d(4))
    with pytest.raises(RuntimeError, match=r"[Kk]ernel size"):
        flops_per_view(encoder, 3, 8)
    assert all(module.training for module in encoder.modules())


def test_a_model_that_hands_parameters_around_is_counted():
    """CaiT gives a parameter to its blocks, which torch's counter refuses where it needs a gradient and gets none."""
    encoder = build(name="cait_xxs24_224").eval()
    with FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 3, 32, 32))  # with gradients, which it does not refuse
    assert flops_per_view(encoder, 3, 32) == counter.get_total_flops() > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "resnet81"}, "no model `resnet81`; did you mean `resnet"),
        ({"name": "vit_tiny_patch16_224", "stem": "small"}, "is no timm ResNet"),
        ({"width": 15}, "15 is odd"),
        ({"options": {"nonsense": 1}}, "timm cannot build `resnet18`"),
    ],
)
def test_errors_say_what_and_why(fields, message):
    with pytest.raises(BackboneError, match=message):
        build(**fields)
    assert message.split(";")[0] in reason(32, **fields)  # and a plan says the same


@pytest.mark.parametrize(
    "options",
    [
        {"checkpoint_path": "weights"},
        {"pretrained": True},
        {"pretrained_cfg": "a1_in1k"},
        {"cache_dir": "here"},
        {"anything": "some/where"},
        {"anything": "C:\\weights"},
        {"anything": "weights.PTH"},
        {"anything": "weights.safetensors"},
    ],
)
def test_options_name_no_file(options):
    message = "backbone.options: no paths: name a file of weights in `backbone.weights`"
    with pytest.raises(BackboneError, match=f"^{message}$"):
        build(options=options)
    assert reason(32, options=options) == message


def test_options_that_only_look_like_it_are_passed_on():
    assert build(name="convnext_atto", options={"drop_path_rate": 0.1, "act_layer": "relu"}, image_size=32)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 8),
        ("mobilenetv3_small_050", 32),
        ("vit_tiny_patch16_224", 28),  # one patch of 16 pixels; the 12 that remain are not seen
        ("cait_xxs24_224", 32),
    ],
)
def test_backbones_that_can_be_trained_at_a_size(name, size):
    assert reason(size, name=name) is None


def test_one_channel_will_do():
    assert reason(28, 1, stem="small", width=16) is None


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("crossvit_9_240", 32, "The size of tensor a (5) must match"),
        ("efficientformer_l1", 32, "Expected size for first two dimensions"),
        ("vit_tiny_patch16_224", 8, ""),
        ("inception_v3", 32, ""),
    ],
)
def test_sizes_that_a_backbone_cannot_take(name, size, said):
    found = reason(size, name=name)
    assert found.startswith((f"backbone: `{name}` cannot take 3x{size}x{size} images: {said}", "backbone: timm cannot"))
    assert said in found
    assert "\n" not in found


def test_options_that_keep_an_encoder_from_pooling_are_found():
    assert "of shape (2, 512, 1, 1), not a row of features each" in reason(32, options={"global_pool": ""})


def test_a_backbone_that_needs_values_is_tried_on_the_cpu(monkeypatch):
    tried = []

    class Needs(nn.Module):
        def forward(self, x):
            tried.append(x.device.type)
            return x.flatten(1)[:, : 3 + int(float(x.sum()) > 0)]

    monkeypatch.setattr("harness.backbones._create", lambda *given: Needs())
    assert reason(8) is None
    assert tried == ["meta", "cpu"]


def test_a_try_draws_nothing_and_says_nothing(recwarn):
    drawn = torch.get_rng_state()
    reason(32, name="vit_tiny_patch16_224", options={"drop_rate": 0.5})
    reason(32, name="crossvit_9_240")
    assert torch.equal(drawn, torch.get_rng_state())
    assert not recwarn


SMALL = {"stem": "small_max_pool", "width": 4, "channels": 1, "image_size": 16}


def given(names=lambda name: name, **more):
    """Weights of another seed under other names, and the encoder that they are of."""
    source = build(seed=7, **SMALL)
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            module.num_batches_tracked += 3
    return source, {names(name): value for name, value in source.state_dict().items()} | more


def saved_tensors(path, state):
    safetensors.torch.save_file(state, path)
    return path


def saved_torch(path, state):
    torch.save(state, path)
    return path


CLASSIFIER = {"fc.weight": torch.zeros(10, 32), "head.bias": torch.zeros(2), "module.classifier.bias": torch.zeros(3)}


@pytest.mark.parametrize(
    "write",
    [
        lambda directory, state: saved_tensors(directory / "w.safetensors", state),
        lambda directory, state: saved_torch(directory / "w.pth", state),
        lambda directory, state: saved_torch(directory / "w", {"epoch": 3, "state_dict": state}),
        lambda directory, state: saved_torch(directory / "w.pt", {"model": state, "args": {"lr": 0.1}}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "module.encoder."])
def test_weights_of_a_file_take_the_place_of_the_drawn_ones(tmp_path, write, prefix):
    source, state = given(lambda name: prefix + name, **CLASSIFIER)
    encoder = build(**SMALL)
    load_weights(encoder, write(tmp_path, state))
    for name, value in source.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], value), name


def test_files_from_before_batches_were_counted_will_do(tmp_path):
    source, state = given()
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    encoder = build(**SMALL)
    load_weights(encoder, saved_torch(tmp_path / "old.pth", state))
    assert torch.equal(encoder.bn1.running_mean, source.bn1.running_mean)
    assert encoder.bn1.num_batches_tracked == 0


def test_weights_that_do_not_fit_are_named_and_nothing_is_loaded(tmp_path):
    _, state = given(**{f"projector.{i}": torch.zeros(1) for i in range(7)})
    del state["bn1.weight"], state["layer1.0.conv1.weight"]
    state["conv1.weight"] = torch.zeros(4, 3, 3, 3)
    encoder = build(**SMALL)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(BackboneError) as raised:
        load_weights(encoder, saved_torch(tmp_path / "w.pth", state))
    assert str(raised.value) == (
        f"backbone.weights: {tmp_path / 'w.pth'} does not fit the encoder (missing: bn1.weight, layer1.0.conv1.weight; "
        "not in the encoder: projector.0, projector.1, projector.2, projector.3, projector.4 and 2 more; "
        "of another shape: conv1.weight (4, 3, 3, 3), not (4, 1, 3, 3)). Set name, stem, width and options of "
        "`backbone`, and the images' channels and size, to those that it was trained with"
    )
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


class Anything:
    """What a pickle may run."""


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no file"),
        (lambda path: path.write_bytes(b"not weights"), "cannot be read as weights"),
        (lambda path: path.write_bytes(pickle.dumps({"w": 1}, protocol=2)[:-2]), "cannot be read as weights"),
        (lambda path: torch.save(Anything(), path), "cannot be read as weights.*Save the tensors alone"),
        (lambda path: torch.save(torch.zeros(3), path), "holds a Tensor: save `encoder.state_dict"),
        (lambda path: torch.save({"conv1.weight": torch.zeros(3), "lr": 0.1}, path), r"more than tensors \(lr\)"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_files_without_weights_are_refused(tmp_path, write, message, name):
    path = tmp_path / name
    write(path)
    if name == "w.safetensors" and path.exists():
        message = "cannot be read as weights"
    with pytest.raises(BackboneError, match=f"^backbone.weights: .*{message}"):
        load_weights(build(**SMALL), path)
