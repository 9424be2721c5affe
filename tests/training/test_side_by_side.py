"""Views side by side: bit for bit what one after another gives, and that itself wherever they cannot run apart."""

import copy
import sys
import threading

import pytest
import torch
from torch import nn

from harness.backbones import build_encoder
from harness.spec.models import Backbone
from harness.threads import streams
from harness.training import side_by_side as module
from harness.training.fused_resnet import fuse_normalisation
from harness.training.side_by_side import side_by_side
from methods.method import one_by_one

BFLOAT16 = torch.bfloat16


def encoder_of(name="resnet18", seed=0):
    encoder = build_encoder(Backbone(name=name, stem="small", width=8), 3, 16, seed)
    fuse_normalisation(encoder)
    return encoder.to(memory_format=torch.channels_last).train()


def views_of(count, images=6):
    x = torch.randn(count, images, 16, 16, 3, generator=torch.Generator().manual_seed(count))
    return x.permute(0, 1, 4, 2, 3)


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

    def counted(self, encoder, views, count, threads):
        seen.append((len(views), count, threads))
        begin(self, encoder, views, count, threads)

    monkeypatch.setattr(module._Run, "__init__", counted)
    return seen


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("name", ["resnet18", "resnet26d"])
def test_every_bit_is_that_of_one_view_after_another(name, count, two_threads, calls):
    encoder, views = encoder_of(name), views_of(count)
    parallel = step(side_by_side, encoder, views)
    assert calls == [(count, 2, 1)]
    torch.set_num_threads(1)
    plain = step(one_by_one, encoder, views)
    for ours, theirs in zip(parallel, plain, strict=True):
        assert ours.keys() == theirs.keys()
        assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_under_autocast_gradients_are_nearer_to_float32_than_those_of_one_after_another(two_threads, calls):
    encoder, views = encoder_of(), views_of(4)
    parallel = step(side_by_side, encoder, views, BFLOAT16)
    assert calls
    torch.set_num_threads(1)
    plain, exact = step(one_by_one, encoder, views, BFLOAT16), step(one_by_one, encoder, views)
    for k in (0, 2):  # features and buffers
        assert [key for key in plain[k] if not torch.equal(parallel[k][key], plain[k][key])] == []

    def error(grads):
        return sum((grads[name] - exact[1][name]).square().sum() for name in grads).sqrt()

    assert error(parallel[1]) <= 1.02 * error(plain[1])


def test_without_gradients_the_statistics_still_move(two_threads, calls):
    encoder, views = encoder_of().requires_grad_(False), views_of(2)
    other = copy.deepcopy(encoder)
    h = side_by_side(encoder, views)
    assert calls
    assert not h.requires_grad
    torch.set_num_threads(1)
    assert torch.equal(h, one_by_one(other, views))
    assert all(torch.equal(a, b) for a, b in zip(encoder.buffers(), other.buffers(), strict=True))


def test_the_next_step_sees_what_the_optimiser_and_a_checkpoint_changed(two_threads, calls):
    encoder, views, other = encoder_of(), views_of(2), encoder_of(seed=1)
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
    assert torch.equal(h, one_by_one(other, views))
    other.conv1.weight = nn.Parameter(other.conv1.weight.detach() * 2)
    assert torch.equal(doubled, one_by_one(other, views))


def test_each_norm_moves_at_its_own_rate(two_threads, calls):
    encoder, views = encoder_of(), views_of(2)
    encoder.bn1.momentum, encoder.layer1[0].bn2.momentum = 0.5, 0.01
    parallel = step(side_by_side, encoder, views)[2]
    assert calls
    torch.set_num_threads(1)
    plain = step(one_by_one, encoder, views)[2]
    assert [name for name in plain if not torch.equal(parallel[name], plain[name])] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda encoder: encoder.eval(),
        lambda encoder: encoder.layer1.register_forward_hook(lambda *_: None),
        lambda encoder: encoder.set_grad_checkpointing(),
        lambda encoder: setattr(encoder.bn1, "momentum", None),
        lambda encoder: setattr(encoder.bn1, "track_running_stats", False),
        lambda encoder: setattr(encoder, "maxpool", nn.Dropout(0.1)),
        lambda encoder: setattr(encoder.layer1[0], "drop_path", nn.Dropout(0.1)),
        lambda encoder: setattr(encoder, "act1", nn.GELU()),
        lambda encoder: setattr(encoder, "_compiled_call_impl", lambda *_: None),
    ],
    ids=["eval", "hook", "recomputation", "average", "untracked", "dropout", "drop_path", "gelu", "compiled"],
)
def test_what_cannot_run_apart_runs_one_by_one(spoil, two_threads, calls, monkeypatch):
    encoder, views = encoder_of(), views_of(2)
    spoil(encoder)
    met = []
    monkeypatch.setattr(module, "one_by_one", lambda *arguments: met.append(arguments))
    side_by_side(encoder, views)
    assert met == [(encoder, views)]
    assert not calls


def test_one_view_one_thread_or_another_network_run_one_by_one(two_threads, calls):
    side_by_side(encoder_of(), views_of(1))
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 4))
    side_by_side(plain, views_of(2))
    images = views_of(2).requires_grad_()
    side_by_side(encoder_of(), images).sum().backward()
    assert images.grad is not None
    torch.set_num_threads(1)
    side_by_side(encoder_of(), views_of(2))
    assert not calls


def test_an_error_in_a_view_is_raised_and_a_second_backward_pass_refused(two_threads):
    encoder = encoder_of()
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
    assert sys.getswitchinterval() < 0.001
    other = []
    thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert other == [2]
