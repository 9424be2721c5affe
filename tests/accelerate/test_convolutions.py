"""Convolutions as matrix products: the numbers of torch's own, and the shapes that are computed so."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.accelerate.cpu import convolutions
from harness.accelerate.cpu.convolutions import _by_columns, convolve

BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32
# channels in, out, pixels a side, stride[, images]
ONE_PIXEL_STRIDE_2 = (6, 4, 1, 2)
CASES = [
    ONE_PIXEL_STRIDE_2,
    (5, 7, 1, 1),
    (5, 7, 2, 2),
    (5, 7, 4, 1),
    (9, 16, 3, 1),
    (5, 7, 7, 2),
    (12, 16, 4, 2),
    (40, 20, 2, 1),
    (32, 24, 4, 1, 130),  # in several parts, the last one smaller
    (8, 8, 7, 2, 130),
    (256, 512, 3, 1),  # by columns forward, too
    (256, 512, 6, 2),
]


def case_of(inside, outside, side, stride, images=6):
    generator = torch.Generator().manual_seed(side)
    conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    nn.init.normal_(conv.weight, std=inside**-0.5, generator=generator)
    x = torch.randn(images, inside, side, side, generator=generator)
    y = conv(x)
    return conv, x, torch.randn(y.shape, generator=generator)


def results(function, conv, x, grad):
    """Output and gradients."""
    conv.weight.grad, x = None, x.to(BFLOAT16, memory_format=torch.channels_last, copy=True).requires_grad_()
    with torch.autocast("cpu", dtype=BFLOAT16):
        y = function(x, conv)
    y.backward(grad.to(BFLOAT16))
    assert y.dtype == x.grad.dtype == BFLOAT16
    assert conv.weight.grad.dtype == FLOAT32
    return [value.double() for value in (y.detach(), x.grad, conv.weight.grad)]


def exact(conv, x, grad):
    """In float64, of the inputs as rounded to bfloat16."""
    x = x.to(BFLOAT16).double().requires_grad_()
    w = conv.weight.detach().to(BFLOAT16).double().requires_grad_()
    y = F.conv2d(x, w, None, conv.stride, conv.padding)
    y.backward(grad.to(BFLOAT16).double())
    return [y.detach(), x.grad, w.grad]


@pytest.mark.parametrize("case", CASES)
def test_as_near_to_float64_as_torch_is(case):
    conv, x, grad = case_of(*case)
    with torch.autocast("cpu", dtype=BFLOAT16):
        assert _by_columns(x.bfloat16(), conv)
    ours, torchs = (results(function, conv, x, grad) for function in (convolve, lambda x, conv: conv(x)))
    for mine, theirs, true in zip(ours, torchs, exact(conv, x, grad), strict=True):
        scale, rounding, torchs_error = true.norm(), torch.finfo(BFLOAT16).eps, (theirs - true).norm()
        assert (mine - true).norm() <= 2 * rounding * scale
        # torch alone is no yardstick: of one pixel and a stride of 2 its gradient in bfloat16 is whatever lay in memory
        if case != ONE_PIXEL_STRIDE_2:
            assert (mine - true).norm() <= 1.5 * torchs_error + 0.1 * rounding * scale


def test_large_maps_unusual_layers_and_float32_are_left_to_torch():
    small, usual = torch.randn(2, 8, 4, 4), nn.Conv2d(8, 8, 3, padding=1, bias=False)
    assert not _by_columns(small.bfloat16(), usual)  # weights are not rounded without autocast
    with torch.autocast("cpu", dtype=BFLOAT16):
        assert _by_columns(small.bfloat16(), usual)
        assert not _by_columns(small, usual)  # not yet rounded
        assert not _by_columns(torch.randn(2, 8, 16, 16).bfloat16(), usual)
        assert not _by_columns(small[:, :, :2, :1].bfloat16(), usual)
        for conv in (
            nn.Conv2d(8, 8, 1, bias=False),
            nn.Conv2d(8, 8, 3, bias=False),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular", bias=False),
            nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False),
            nn.Conv2d(8, 8, 3, padding=1, stride=(2, 1), bias=False),
            nn.Conv2d(8, 8, 3, padding=1, bias=False).double(),
            nn.AvgPool2d(2),
        ):
            assert not _by_columns(small.bfloat16(), conv)
    with torch.autocast("cpu", dtype=torch.float16):
        assert not _by_columns(small.bfloat16(), usual)


def test_columns_beyond_the_limit_are_left_to_torch(monkeypatch):
    conv, x, _ = case_of(5, 7, 4, 1)
    values = 6 * 4 * 4 * 9 * 5
    with torch.autocast("cpu", dtype=BFLOAT16):
        monkeypatch.setattr(convolutions, "MOST_COLUMNS", values)
        assert _by_columns(x.bfloat16(), conv)
        monkeypatch.setattr(convolutions, "MOST_COLUMNS", values - 1)
        assert not _by_columns(x.bfloat16(), conv)


def test_columns_of_one_thread_do_not_disturb_anothers():
    cases = [case_of(5, 7, 4, 1, images) for images in (6, 9)]
    alone = [results(convolve, *case) for case in cases]
    wrong = []

    def work(case, expected):
        for _ in range(30):
            found = results(convolve, *case)
            wrong.extend(1 for a, b in zip(found, expected, strict=True) if not torch.equal(a, b))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(cases, alone, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_frozen_input_gets_no_gradient():
    conv, x, grad = case_of(5, 7, 4, 1)
    with torch.autocast("cpu", dtype=BFLOAT16):
        convolve(x.bfloat16(), conv).backward(grad.bfloat16())
    assert conv.weight.grad.shape == conv.weight.shape
