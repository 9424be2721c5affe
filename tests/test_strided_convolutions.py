"""Strided convolutions over very small maps have the right gradient in bfloat16, whatever memory held before."""

import copy

import pytest
import torch
from torch import nn

from harness.strided_convolutions import guard_strided_convolutions, is_guarded

CASES = [
    # kernel, stride, padding, pixels, groups
    (3, 2, 1, (1, 1), 1),
    (3, 2, 1, (4, 1), 1),
    (3, 2, 1, (1, 4), 1),
    (3, 2, 1, (1, 1), 16),
    (5, 2, 2, (1, 1), 16),
    (7, 2, 3, (1, 1), 1),
    (3, 3, 1, (2, 2), 1),
    (3, 2, 1, (2, 2), 1),
    (1, 2, 0, (4, 4), 1),
]


def leave_nan_in_freed_memory():
    sizes = (64, 512, 1024, 4608, 9216, 40000)
    garbage = [
        torch.full((size,), float("nan"), dtype=dtype) for size in sizes for dtype in (torch.float, torch.bfloat16)
    ]
    del garbage


def gradient(conv, x):
    conv.weight.grad = None
    leave_nan_in_freed_memory()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = conv(x)
    leave_nan_in_freed_memory()
    (y.float() ** 2).sum().backward()
    return y.detach().float(), conv.weight.grad


@pytest.mark.parametrize(("kernel", "stride", "padding", "pixels", "groups"), CASES)
def test_the_gradient_is_that_of_float64(kernel, stride, padding, pixels, groups):
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, kernel, stride, padding, bias=False, groups=groups)
    x = torch.randn(12, 16, *pixels)
    exact = copy.deepcopy(conv).double()
    expected = exact(x.double())
    expected.square().sum().backward()
    network = nn.Sequential(conv)
    guard_strided_convolutions(network)
    for _ in range(5):
        y, weight = gradient(conv, x)
        assert y.shape == expected.shape
        assert (y - expected).norm() < 0.01 * expected.norm()
        assert (weight - exact.weight.grad).norm() < 0.01 * exact.weight.grad.norm()


def test_a_copy_computes_with_its_own_weights():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False))
    guard_strided_convolutions(network)
    other = copy.deepcopy(network)
    nn.init.zeros_(other[0].weight)
    x = torch.randn(2, 3, 1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert other(x).count_nonzero() == 0
        assert network(x).count_nonzero() > 0


def test_only_strided_convolutions_are_guarded():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4))
    guard_strided_convolutions(network)
    assert [is_guarded(module) for module in network] == [False, True, False]
    assert list(network.state_dict()) == list(nn.Sequential(*network).state_dict())
