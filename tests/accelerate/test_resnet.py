"""A fused step of a ResNet: the numbers of timm's own modules in float64, and only for encoders that allow it."""

import copy
from functools import partial

import numpy as np
import pytest
import timm
import torch
from torch import nn

from harness.accelerate.cpu import norm as norms
from harness.accelerate.cpu.resnet import can_be_fused, fused
from harness.backbones import build_encoder
from harness.spec.models import Backbone

BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32


def encoder_of(name="resnet18", width=8, stem="small"):
    encoder = build_encoder(Backbone(name=name, stem=stem, width=width), 3, 16, 0)
    generator = torch.Generator().manual_seed(1)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):  # weights of both signs, so that every branch has a gradient
            nn.init.normal_(module.weight, 0.5, 1.0, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.3, generator=generator)
    return encoder.to(memory_format=torch.channels_last).train()


def images(count=7, size=16, seed=0):
    x = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return x.to(memory_format=torch.channels_last)


def plain(encoder, x):
    return encoder(x)


def state_after_step(encode, encoder, x, dtype):
    """Output, gradients and buffers after one forward and backward pass."""
    encoder = copy.deepcopy(encoder)
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=BFLOAT16, enabled=dtype == BFLOAT16):
        h = encode(encoder, x)
    (h.double() * torch.linspace(-1, 1, h.numel(), dtype=torch.float64).view_as(h)).sum().backward()
    values = {"output": h.detach(), "images": x.grad}
    values |= {f"gradient of {name}": p.grad for name, p in encoder.named_parameters()}
    values |= {name: b.clone() for name, b in encoder.named_buffers()}
    return {name: value.double() for name, value in values.items()}


def error(values, reference, name):
    scale = max(reference[name].norm().item(), 1e-6)
    return (values[name] - reference[name]).norm().item() / scale


@pytest.mark.parametrize(("name", "stem", "size"), [("resnet18", "small", 16), ("resnet26", "standard", 40)])
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16])
def test_a_training_step_is_as_near_to_float64_as_the_plain_modules_are(name, stem, size, dtype):
    errors = []
    for seed in range(3):
        encoder, x = encoder_of(name, stem=stem), images(7, size, seed)
        exact = state_after_step(plain, copy.deepcopy(encoder).double(), x.double(), torch.float64)
        assert can_be_fused(encoder)
        ours, theirs = (state_after_step(encode, encoder, x, dtype) for encode in (fused, plain))
        assert ours.keys() == exact.keys()
        errors.append([(error(ours, exact, key), error(theirs, exact, key)) for key in exact])
        if dtype == FLOAT32:
            for key, (ours, theirs) in zip(exact, errors[-1], strict=True):
                assert ours <= 2 * theirs + 1e-6, key
    ours, theirs = np.array(errors).mean((0, 1))
    assert ours <= (1 if dtype == FLOAT32 else 1.2) * theirs  # bfloat16's roundings come out differently, not larger


def test_training_without_gradients_still_counts_the_batch():
    encoder, x = encoder_of(), images()
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        torch.testing.assert_close(fused(encoder, x), other(x), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(encoder.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_gradients_of_two_batches_add_up():
    encoder, first, second = encoder_of(), images(seed=1), images(seed=2)
    encode = partial(fused, encoder)
    single = []
    for x in (first, second):
        encoder.zero_grad()
        encode(x).square().mean().backward()
        single.append([p.grad.clone() for p in encoder.parameters()])
    encoder.zero_grad()
    (encode(first).square().mean() + encode(second).square().mean()).backward()
    for p, a, b in zip(encoder.parameters(), *single, strict=True):
        torch.testing.assert_close(p.grad, a + b, rtol=1e-5, atol=1e-6)


def test_a_kept_graph_can_be_walked_twice_and_another_one_cannot():
    encoder = encoder_of()
    loss = fused(encoder, images()).square().mean()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in encoder.parameters()]
    loss.backward()
    assert all(torch.equal(p.grad, 2 * g) for p, g in zip(encoder.parameters(), once, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16])
def test_a_nan_is_not_lost(dtype):
    x = images()
    x[3, 0, 2, 2] = torch.nan
    values = state_after_step(fused, encoder_of(), x, dtype)
    assert values["output"].isnan().all()
    assert values["bn1.running_var"].isnan().all()
    assert values["gradient of conv1.weight"].isnan().any()


def calls_of(monkeypatch):
    """How often each fused operation runs."""
    calls = []
    for kind in (norms._Norm, norms._NormAdd):
        apply = kind.apply
        monkeypatch.setattr(kind, "apply", lambda *a, kind=kind, apply=apply: calls.append(kind.__name__) or apply(*a))
    return calls


def test_every_norm_of_a_plain_resnet_is_fused(monkeypatch):
    calls = calls_of(monkeypatch)
    fused(encoder_of(), images())
    assert (calls.count("_Norm"), calls.count("_NormAdd")) == (1 + 8 + 3, 8)  # stem, within blocks, downsampling; sums


@pytest.mark.parametrize(
    "options",
    [
        {"block_args": {"attn_layer": "se"}},
        {"drop_path_rate": 0.5},
        {"drop_rate": 0.1},
        {"aa_layer": nn.AvgPool2d},
        {"act_layer": nn.SiLU},
        {"norm_layer": nn.SyncBatchNorm},
    ],
)
def test_an_encoder_with_anything_else_in_it_is_not_fused(options):
    assert can_be_fused(timm.create_model("resnet18", num_classes=0).train())
    assert not can_be_fused(timm.create_model("resnet18", num_classes=0, **options).train())


def test_neither_is_one_that_is_watched_changed_or_evaluated():
    def forward_of(module):
        module.forward = module.forward

    for spoil in (
        lambda encoder: encoder.eval(),
        lambda encoder: encoder.set_grad_checkpointing(),
        lambda encoder: encoder.layer2[0].bn1.register_forward_hook(lambda *_: None),
        lambda encoder: encoder.register_forward_pre_hook(lambda *_: None),
        lambda encoder: encoder.layer1.register_full_backward_hook(lambda *_: None),
        lambda encoder: encoder.conv1.compile(),
        lambda encoder: forward_of(encoder.maxpool),
        lambda encoder: setattr(encoder.bn1, "momentum", None),
        lambda encoder: setattr(encoder.bn1, "track_running_stats", False),
        lambda encoder: setattr(encoder, "act1", nn.Identity()),
        lambda encoder: setattr(encoder, "maxpool", nn.Dropout(0.1)),
        lambda encoder: nn.utils.parametrizations.weight_norm(encoder.layer1[0].conv1),
    ):
        encoder = encoder_of()
        assert can_be_fused(encoder)
        spoil(encoder)
        assert not can_be_fused(encoder)


def test_a_hook_on_all_modules_counts_too():
    encoder = encoder_of()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert not can_be_fused(encoder)
    finally:
        handle.remove()
    assert can_be_fused(encoder)
