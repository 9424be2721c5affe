"""Fused heads: the numbers of torch's own layers in float64, and nothing else about a head changed."""

import copy

import pytest
import torch
from torch import nn

from harness.training import fused_mlp, fused_norm
from harness.training.fused_mlp import FusedMLP, fuse_heads
from methods.parts import mlp

BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32
HEADS = {
    "hidden layer": lambda: mlp((12, 40, 8)),
    "BatchNorm on the output": lambda: mlp((12, 40, 24, 8), bias=False, output_norm="affine"),
    "BatchNorm without scale and shift on the output": lambda: mlp((12, 40, 8), output_norm="plain"),
    "width beyond a page": lambda: mlp((12, 2050, 8)),
    "no ReLU": lambda: nn.Sequential(nn.Linear(12, 40), nn.BatchNorm1d(40), nn.Tanh(), nn.Linear(40, 8)),
}


def head_of(build):
    torch.manual_seed(0)
    head = build().train()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d) and module.affine:
            nn.init.normal_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return head


def fused_copy(head):
    network = nn.ModuleDict({"head": copy.deepcopy(head)})
    fuse_heads(network)
    return network["head"]


def rows(count=33, seed=1):
    return 2 * torch.randn(count, 12, generator=torch.Generator().manual_seed(seed)) + 1


def state_after_step(head, x, dtype):
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=BFLOAT16, enabled=dtype == BFLOAT16):
        y = head(x)
    (y.double() * torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view_as(y)).sum().backward()
    values = {"output": y.detach(), "rows": x.grad}
    values |= {f"gradient of {name}": p.grad for name, p in head.named_parameters()}
    values |= {name: buffer.clone() for name, buffer in head.named_buffers()}
    return {name: value.double() for name, value in values.items()}


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("name", HEADS)
def test_a_training_step_is_as_near_to_float64_as_torchs_layers_are(name, dtype):
    ours, theirs = [], []
    for seed in range(4):
        head, x = head_of(HEADS[name]), rows(seed=seed)
        exact = state_after_step(copy.deepcopy(head).double(), x.double(), torch.float64)
        fused = fused_copy(head)
        assert type(fused) is FusedMLP
        for errors, module in ((ours, fused), (theirs, head)):
            found = state_after_step(module, x, dtype)
            assert found.keys() == exact.keys()
            errors.append(torch.tensor([(found[k] - exact[k]).norm() / exact[k].norm().clamp(min=1e-3) for k in exact]))
    assert torch.stack(ours).mean() <= 1.2 * torch.stack(theirs).mean() + 1e-7


def test_the_compiled_loops_are_what_runs(monkeypatch):
    seen = []
    monkeypatch.setattr(fused_mlp, "norm_act", lambda x, norm, relu: seen.append(relu) or fused_norm.norm_act(x, norm))
    assert fused_norm.fits(torch.randn(33, 40), nn.BatchNorm1d(40))
    fused_copy(head_of(HEADS["BatchNorm on the output"]))(rows())
    assert seen == [True, True, False]


def test_evaluation_is_bit_for_bit_that_of_the_plain_head():
    head = head_of(HEADS["hidden layer"])
    head(rows())
    fused = fused_copy(head).eval()
    assert torch.equal(fused(rows()), head.eval()(rows()))


def test_a_norm_whose_input_others_may_hold_is_left_to_torch():
    for layers in ([nn.BatchNorm1d(12), nn.ReLU()], [nn.Linear(12, 12), nn.ReLU(), nn.BatchNorm1d(12)]):
        assert type(fused_copy(nn.Sequential(*layers))) is nn.Sequential
    mixed = fused_copy(nn.Sequential(nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 7), nn.BatchNorm1d(7)).train())
    x = rows().requires_grad_()
    kept = x.detach().clone()
    mixed(x).square().sum().backward()
    assert torch.equal(x, kept)


def test_hooks_see_every_layer():
    head = head_of(HEADS["hidden layer"])
    fused, seen = fused_copy(head), []
    fused[1].register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    y = fused(rows())
    assert torch.equal(y, head(rows()))
    assert seen[0].min() < 0  # before ReLU


def test_copies_are_as_fused_and_checkpoints_fit():
    head = head_of(HEADS["hidden layer"])
    fused = fused_copy(head)
    assert type(copy.deepcopy(fused)) is FusedMLP
    assert fused.state_dict().keys() == head.state_dict().keys()


def test_one_row_is_refused_as_by_torch():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fused_copy(head_of(HEADS["hidden layer"]))(rows(1))


def test_a_graph_that_is_kept_can_be_used_again():
    fused, x = fused_copy(head_of(HEADS["hidden layer"])), rows().requires_grad_()
    y = fused(x).square().sum()
    first = torch.autograd.grad(y, [x, *fused.parameters()], retain_graph=True)
    second = torch.autograd.grad(y, [x, *fused.parameters()])
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
