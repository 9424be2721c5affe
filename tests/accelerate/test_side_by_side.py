"""Views side by side: bit for bit what one after another gives, and that itself wherever they cannot run apart."""

import copy
import gc
import threading
import weakref

import pytest
import torch
from torch import nn

from harness.accelerate.cpu import side_by_side as module
from harness.accelerate.cpu.resnet import fused
from harness.accelerate.cpu.side_by_side import SideBySide
from harness.accelerate.cpu.threads import streams
from harness.backbones import build_encoder
from harness.spec.models import Backbone
from methods.method import one_by_one

BFLOAT16 = torch.bfloat16


def encoder_of(name="resnet18", seed=0):
    encoder = build_encoder(Backbone(name=name, stem="small", width=8), 3, 16, seed)
    return encoder.to(memory_format=torch.channels_last).train()


def views_of(count, images=6):
    x = torch.randn(count, images, 16, 16, 3, generator=torch.Generator().manual_seed(count))
    return x.permute(0, 1, 4, 2, 3)


def one_after_another(encoder, views):
    return torch.stack([fused(encoder, view) for view in views])


def step(encode, encoder, views, dtype=torch.float32):
    """Features, gradients and buffers of one pass."""
    encoder = copy.deepcopy(encoder)
    with torch.autocast("cpu", dtype=BFLOAT16, enabled=dtype == BFLOAT16):
        h = encode(encoder, views)
    (h.float() * torch.linspace(-1, 1, h.numel()).view_as(h)).sum().backward()
    grads = {name: p.grad for name, p in encoder.named_parameters()}
    return {"features": h.detach()}, grads, {name: b.clone() for name, b in encoder.named_buffers()}


@pytest.fixture
def calls(monkeypatch):
    """How many views each parallel pass had."""
    seen = []
    begin = module._Run.__init__

    def counted(self, encoder, replicas, views, pool):
        seen.append((len(views), pool._max_workers))
        begin(self, encoder, replicas, views, pool)

    monkeypatch.setattr(module._Run, "__init__", counted)
    return seen


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("name", ["resnet18", "resnet26d"])
def test_every_bit_is_that_of_one_view_after_another(name, count, two_threads, calls):
    encoder, views = encoder_of(name), views_of(count)
    parallel = step(SideBySide(), encoder, views)
    assert calls == [(count, 2)]
    torch.set_num_threads(1)
    plain = step(one_after_another, encoder, views)
    for ours, theirs in zip(parallel, plain, strict=True):
        assert ours.keys() == theirs.keys()
        assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_under_autocast_gradients_are_nearer_to_float32_than_those_of_one_after_another(two_threads, calls):
    encoder, views = encoder_of(), views_of(4)
    parallel = step(SideBySide(), encoder, views, BFLOAT16)
    assert calls
    torch.set_num_threads(1)
    plain, exact = step(one_after_another, encoder, views, BFLOAT16), step(one_after_another, encoder, views)
    for k in (0, 2):  # features and buffers
        assert [key for key in plain[k] if not torch.equal(parallel[k][key], plain[k][key])] == []

    def error(grads):
        return sum((grads[name] - exact[1][name]).square().sum() for name in grads).sqrt()

    assert error(parallel[1]) <= 1.02 * error(plain[1])


def test_without_gradients_the_statistics_still_move(two_threads, calls):
    encoder, views, side_by_side = encoder_of().requires_grad_(False), views_of(2), SideBySide()
    other = copy.deepcopy(encoder)
    h = side_by_side(encoder, views)
    assert calls
    assert not h.requires_grad
    torch.set_num_threads(1)
    assert torch.equal(h, one_after_another(other, views))
    assert all(torch.equal(a, b) for a, b in zip(encoder.buffers(), other.buffers(), strict=True))


def test_the_next_step_sees_what_the_optimiser_and_a_checkpoint_changed(two_threads, calls):
    encoder, views, other, side_by_side = encoder_of(), views_of(2), encoder_of(seed=1), SideBySide()
    side_by_side(encoder, views)
    encoder.load_state_dict(other.state_dict())
    with torch.no_grad():
        for p in (*encoder.parameters(), *other.parameters()):
            p.mul_(1.5)
    h = side_by_side(encoder, views)
    encoder.conv1.weight = nn.Parameter(encoder.conv1.weight.detach() * 2)  # another parameter, not another value
    doubled = side_by_side(encoder, views)
    assert len(calls) == 3
    torch.set_num_threads(1)
    assert torch.equal(h, one_after_another(other, views))
    other.conv1.weight = nn.Parameter(other.conv1.weight.detach() * 2)
    assert torch.equal(doubled, one_after_another(other, views))


def test_each_norm_moves_at_its_own_rate(two_threads, calls):
    encoder, views = encoder_of(), views_of(2)
    encoder.bn1.momentum, encoder.layer1[0].bn2.momentum = 0.5, 0.01
    parallel = step(SideBySide(), encoder, views)[2]
    assert calls
    torch.set_num_threads(1)
    plain = step(one_after_another, encoder, views)[2]
    assert [name for name in plain if not torch.equal(parallel[name], plain[name])] == []


def test_what_cannot_be_fused_runs_the_modules_own_code(two_threads, calls):
    seen = []
    watched, views = encoder_of(), views_of(2)
    watched.layer1.register_forward_hook(lambda module, given, result: seen.append(len(result)))
    other = copy.deepcopy(watched)
    assert torch.equal(SideBySide()(watched, views), one_by_one(other, views))
    assert seen == [6] * 4  # a hook's copy sees its own two
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 4))
    assert torch.equal(SideBySide()(plain, views), one_by_one(plain, views))
    assert not calls


def test_one_view_one_thread_or_a_gradient_of_images_run_one_after_another(two_threads, calls):
    def expected(views):
        return one_after_another(encoder_of(), views)

    assert torch.equal(SideBySide()(encoder_of(), views_of(1)), expected(views_of(1)))
    images = views_of(2).requires_grad_()
    SideBySide()(encoder_of(), images).sum().backward()
    assert images.grad is not None
    torch.set_num_threads(1)
    assert torch.equal(SideBySide()(encoder_of(), views_of(2)), expected(views_of(2)))
    assert not calls


def test_an_encoder_that_is_gone_leaves_nothing_behind(two_threads):
    side_by_side, encoder = SideBySide(), encoder_of()
    side_by_side(encoder, views_of(2)).sum().backward()
    weights = weakref.ref(encoder.conv1.weight)
    del encoder
    gc.collect()
    assert weights() is None


def test_an_error_in_a_view_is_raised_and_a_second_backward_pass_refused(two_threads):
    encoder, side_by_side = encoder_of(), SideBySide()
    with pytest.raises(RuntimeError, match="channels"):
        side_by_side(encoder, torch.randn(2, 4, 5, 16, 16))
    h = side_by_side(encoder, views_of(2)).sum()
    h.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass"):
        h.backward()


def test_streams_keep_their_cores_and_this_thread_its_own(two_threads):
    found = list(streams(2, 1).map(lambda _: (threading.current_thread().name, torch.get_num_threads()), range(8)))
    assert {threads for _, threads in found} == {1}
    assert torch.get_num_threads() == 2
    assert streams(2, 1) is streams(2, 1)
    other = []
    thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert other == [2]
