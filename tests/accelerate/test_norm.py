"""BatchNorm, sum and ReLU as one operation: the formula in float64, and the same bits for any number of threads."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness.accelerate.cpu import norm as norms

BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32


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
    y, again = norms.norm_add_act(x * 1, norm, shortcut * 1, shortcut)
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
    y = norms.norm_act(x, norm, relu=False)
    torch.testing.assert_close(norm.running_var.double(), x.double().var((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        y.double(), F.batch_norm(x.double(), None, None, training=True), rtol=0, atol=2e-4
    )  # 1000 eps


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    x = torch.randn(64, 16, 24, 24, generator=torch.Generator().manual_seed(0))
    results = []
    for threads in (1, 2, 3, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        z = x.to(memory_format=torch.channels_last, copy=True).requires_grad_()
        norm = nn.BatchNorm2d(16)
        y = norms.norm_act(z * 1, norm)
        y.backward(x.to(memory_format=torch.channels_last))
        results.append([y, z.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var])
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
