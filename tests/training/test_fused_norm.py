"""Fused normalisation: the numbers of timm's own modules in float64, and nothing else about the encoder changed."""

import copy

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from harness.backbones import build_encoder
from harness.spec.models import Backbone
from harness.training import fused_norm
from harness.training.fused_resnet import FusedResNet, fuse_normalisation

BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32


def encoder_of(name="resnet18", width=8, stem="small"):
    encoder = build_encoder(Backbone(name=name, stem=stem, width=width), 3, 16, 0)
    generator = torch.Generator().manual_seed(1)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):  # weights of both signs, so that every branch has a gradient
            nn.init.normal_(module.weight, 0.5, 1.0, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.3, generator=generator)
    return encoder.to(memory_format=torch.channels_last).train()


def fused_copy(encoder):
    other = copy.deepcopy(encoder)
    fuse_normalisation(other)
    assert type(other) is FusedResNet
    return other


def images(count=7, size=16, seed=0):
    x = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return x.to(memory_format=torch.channels_last)


def state_after_step(encoder, x, dtype):
    """Output, gradients and buffers after one forward and backward pass."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=BFLOAT16, enabled=dtype == BFLOAT16):
        h = encoder(x)
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
        exact = state_after_step(copy.deepcopy(encoder).double(), x.double(), torch.float64)
        fused = state_after_step(fused_copy(encoder), x, dtype)
        plain = state_after_step(encoder, x, dtype)
        assert fused.keys() == exact.keys()
        errors.append([(error(fused, exact, key), error(plain, exact, key)) for key in exact])
        if dtype == FLOAT32:
            for key, (ours, theirs) in zip(exact, errors[-1], strict=True):
                assert ours <= 2 * theirs + 1e-6, key
    ours, theirs = np.array(errors).mean((0, 1))
    assert ours <= (1 if dtype == FLOAT32 else 1.2) * theirs  # bfloat16's roundings come out differently, not larger


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 16, 9, 3), (3, 2049, 1, 1), (64, 16, 32, 32), (5, 40, 33, 31)])
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16])
def test_one_sum_of_every_shape_against_the_formula_in_float64(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    x, shortcut = (4 * torch.randn(2, *shape, generator=generator) + 3).to(dtype).unbind()
    x, shortcut = (t.contiguous(memory_format=torch.channels_last).requires_grad_() for t in (x, shortcut))
    norm = nn.BatchNorm2d(shape[1])
    nn.init.normal_(norm.weight, generator=generator)
    exact = [t.detach().double().requires_grad_() for t in (x, shortcut, norm.weight, norm.bias)]
    z = F.batch_norm(exact[0], None, None, exact[2], exact[3], training=True) + exact[1]
    trunk, branch = torch.randn(2, *shape, generator=generator).to(dtype).unbind()
    # the mask is that of the rounded result: where it is in doubt, no gradient comes
    trunk, branch = (g * (z.detach().abs() > 0.05) for g in (trunk, branch))
    kept = x.detach().clone()
    y, again = fused_norm.norm_add_act(x * 1, norm, shortcut * 1, shortcut)
    torch.autograd.backward([y, again], [trunk, branch.clone()])  # the second one is written over
    torch.autograd.backward(
        z.relu(), (trunk + branch).double() if dtype == FLOAT32 else trunk.double() + branch.double()
    )
    assert torch.equal(x, kept)
    assert torch.equal(y, again)
    tolerance = 2e-6 if dtype == FLOAT32 else 6e-3
    for ours, theirs in zip((y, x.grad, shortcut.grad), (z.relu(), exact[0].grad, exact[1].grad), strict=True):
        assert (ours.double() - theirs).norm() <= tolerance * theirs.norm()
    for ours, theirs in ((norm.weight.grad, exact[2].grad), (norm.bias.grad, exact[3].grad)):
        assert (ours.double() - theirs).norm() <= 2e-5 * (trunk.double().norm() + theirs.norm())
    flat = exact[0].detach().transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean.double(), 0.1 * flat.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), 0.9 + 0.1 * flat.var(1), rtol=1e-5, atol=1e-6)
    assert norm.num_batches_tracked == 1


def test_a_mean_far_from_zero_costs_no_digits_of_the_variance():
    x = (1000 + torch.randn(64, 16, 16, 16, generator=torch.Generator().manual_seed(0))).contiguous(
        memory_format=torch.channels_last
    )
    norm = nn.BatchNorm2d(16, momentum=1.0)
    y = fused_norm.norm_act(x, norm, relu=False)
    torch.testing.assert_close(norm.running_var.double(), x.double().var((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        y.double(), F.batch_norm(x.double(), None, None, training=True), rtol=0, atol=2e-4
    )  # 1000 eps


def test_evaluation_is_bit_for_bit_that_of_the_plain_encoder():
    encoder = encoder_of()
    fused, x = fused_copy(encoder).eval(), images()
    with torch.inference_mode():
        assert torch.equal(fused(x), encoder.eval()(x))


def test_training_without_gradients_still_counts_the_batch():
    encoder, x = encoder_of(), images()
    fused = fused_copy(encoder)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), encoder(x), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(fused.buffers(), encoder.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_parameters_names_and_checkpoints_stay_as_they_were():
    encoder = encoder_of()
    fused = fused_copy(encoder)
    assert list(fused.state_dict()) == list(encoder.state_dict())
    fused(images()).sum().backward()
    encoder.load_state_dict(fused.state_dict())
    fused.load_state_dict(encoder.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(fused.state_dict().values(), encoder.state_dict().values(), strict=True)
    )


def test_a_deep_copy_has_parameters_of_its_own():
    fused = fused_copy(encoder_of())
    other = copy.deepcopy(fused)
    assert type(other) is FusedResNet
    other(images()).sum().backward()
    assert all(p.grad is None for p in fused.parameters())
    assert all(p.grad is not None for p in other.parameters())
    assert all(int(m.num_batches_tracked) == 0 for m in fused.modules() if isinstance(m, nn.BatchNorm2d))


def test_gradients_of_two_batches_add_up():
    encoder, first, second = fused_copy(encoder_of()), images(seed=1), images(seed=2)
    single = []
    for x in (first, second):
        encoder.zero_grad()
        encoder(x).square().mean().backward()
        single.append([p.grad.clone() for p in encoder.parameters()])
    encoder.zero_grad()
    (encoder(first).square().mean() + encoder(second).square().mean()).backward()
    for p, a, b in zip(encoder.parameters(), *single, strict=True):
        torch.testing.assert_close(p.grad, a + b, rtol=1e-5, atol=1e-6)


def test_a_kept_graph_can_be_walked_twice_and_another_one_cannot():
    encoder = fused_copy(encoder_of())
    loss = encoder(images()).square().mean()
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
    values = state_after_step(fused_copy(encoder_of()), x, dtype)
    assert values["output"].isnan().all()
    assert values["bn1.running_var"].isnan().all()
    assert values["gradient of conv1.weight"].isnan().any()


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    x = torch.randn(64, 16, 24, 24, generator=torch.Generator().manual_seed(0))
    results = []
    for threads in (1, 2, 3, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        z = x.to(memory_format=torch.channels_last, copy=True).requires_grad_()
        norm = nn.BatchNorm2d(16)
        y = fused_norm.norm_act(z * 1, norm)
        y.backward(x.to(memory_format=torch.channels_last))
        results.append([y, z.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var])
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def calls_of(monkeypatch):
    """How often each fused operation runs."""
    calls = []
    for kind in (fused_norm._Norm, fused_norm._NormAdd):
        apply = kind.apply
        monkeypatch.setattr(kind, "apply", lambda *a, kind=kind, apply=apply: calls.append(kind.__name__) or apply(*a))
    return calls


def test_every_norm_of_a_plain_resnet_is_fused(monkeypatch):
    calls = calls_of(monkeypatch)
    fused_copy(encoder_of())(images())
    assert (calls.count("_Norm"), calls.count("_NormAdd")) == (1 + 8 + 3, 8)  # stem, within blocks, downsampling; sums


@pytest.mark.parametrize(
    ("options", "fused_sums"),
    [
        ({"block_args": {"attn_layer": "se"}}, 0),
        ({"drop_path_rate": 0.5}, 1),  # the first block's rate is 0
        ({"aa_layer": nn.AvgPool2d}, 5),  # the three blocks with a stride have it
        ({"act_layer": nn.SiLU}, 0),
    ],
)
def test_unusual_blocks_run_their_own_code(monkeypatch, options, fused_sums):
    torch.manual_seed(0)
    encoder = timm.create_model("resnet18", num_classes=0, channels=(64, 8, 8, 8), **options).train()
    fused, x = fused_copy(encoder), images(4, 33)
    calls = calls_of(monkeypatch)
    torch.manual_seed(5)
    ours = fused(x)
    torch.manual_seed(5)
    torch.testing.assert_close(ours, encoder(x), rtol=1e-3, atol=1e-4)
    assert calls.count("_NormAdd") == fused_sums


def test_a_hook_on_a_module_sees_what_the_plain_encoder_gives_it():
    encoder = encoder_of()
    fused, x, seen = fused_copy(encoder), images(), []
    for network in (fused, encoder):
        network.layer2[0].bn1.register_forward_hook(lambda module, given, result: seen.append(result.clone()))
        network(x)
    assert torch.equal(*seen)
