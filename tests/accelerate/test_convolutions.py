"""Convolutions as matrix products: the numbers of torch's own, and the form that each shape takes."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.accelerate.cpu import convolutions
from harness.accelerate.cpu.convolutions import _Columns, _Dense, _form, convolve

BFLOAT16, FLOAT32 = torch.bfloat16, torch.float32
# channels in, out, pixels a side, kernel, stride[, images]
ONE_PIXEL_STRIDE_2 = (6, 4, 1, 3, 2)
DENSE = [(5, 7, 1, 3, 1), (5, 7, 2, 3, 1), (5, 7, 2, 3, 2), ONE_PIXEL_STRIDE_2]
DENSE_IN_BFLOAT16 = [(5, 7, 3, 3, 1), (5, 7, 3, 3, 2), (5, 7, 4, 3, 2)]
COLUMNS = [(5, 7, 4, 3, 1), (9, 16, 3, 3, 1), (5, 7, 7, 3, 2), (12, 16, 4, 3, 2), (40, 20, 2, 3, 1)]
IN_PARTS = [(32, 24, 4, 3, 1, 130), (8, 8, 7, 3, 2, 130)]  # several, the last one smaller
BY_COLUMNS_THROUGHOUT = [(256, 512, 3, 3, 1), (256, 512, 6, 3, 2)]
CASES = [
    *((case, dtype, _Dense) for case in DENSE for dtype in (FLOAT32, BFLOAT16)),
    *((case, BFLOAT16, _Dense) for case in DENSE_IN_BFLOAT16),
    *((case, BFLOAT16, _Columns) for case in COLUMNS + IN_PARTS + BY_COLUMNS_THROUGHOUT),
]


def case_of(inside, outside, side, kernel, stride, images=6):
    generator = torch.Generator().manual_seed(side)
    conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    nn.init.normal_(conv.weight, std=inside**-0.5, generator=generator)
    x = torch.randn(images, inside, side, side, generator=generator)
    y = conv(x)
    return conv, x, torch.randn(y.shape, generator=generator)


def results(function, conv, x, grad, dtype):
    """Output and gradients."""
    conv.weight.grad, x = None, x.to(dtype, memory_format=torch.channels_last, copy=True).requires_grad_()
    with torch.autocast("cpu", dtype=BFLOAT16, enabled=dtype == BFLOAT16):
        y = function(x, conv)
    y.backward(grad.to(dtype))
    assert y.dtype == x.grad.dtype == dtype
    assert conv.weight.grad.dtype == FLOAT32
    return [value.double() for value in (y.detach(), x.grad, conv.weight.grad)]


def exact(conv, x, grad, dtype):
    """In float64, of the inputs as rounded to `dtype`."""
    x = x.to(dtype).double().requires_grad_()
    w = conv.weight.detach().to(dtype).double().requires_grad_()
    y = F.conv2d(x, w, None, conv.stride, conv.padding)
    y.backward(grad.to(dtype).double())
    return [y.detach(), x.grad, w.grad]


@pytest.mark.parametrize(("case", "dtype", "form"), CASES)
def test_as_near_to_float64_as_torch_is(case, dtype, form):
    conv, x, grad = case_of(*case)
    with torch.autocast("cpu", dtype=BFLOAT16, enabled=dtype == BFLOAT16):
        assert _form(x.to(dtype), conv) is form
    ours, torchs = (results(function, conv, x, grad, dtype) for function in (convolve, lambda x, conv: conv(x)))
    for mine, theirs, true in zip(ours, torchs, exact(conv, x, grad, dtype), strict=True):
        scale, rounding, torchs_error = true.norm(), torch.finfo(dtype).eps, (theirs - true).norm()
        assert (mine - true).norm() <= 2 * rounding * scale
        # torch alone is no yardstick: of one pixel and a stride of 2 its gradient in bfloat16 is whatever lay in memory
        if case != ONE_PIXEL_STRIDE_2:
            assert (mine - true).norm() <= 1.5 * torchs_error + 0.1 * rounding * scale


def test_large_maps_and_unusual_layers_are_left_to_torch():
    x = torch.randn(2, 8, 16, 16)
    for conv in (
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.Conv2d(8, 8, 1, bias=False),
        nn.Conv2d(8, 8, 1, stride=2, bias=False),
        nn.AvgPool2d(2),
    ):
        assert _form(x, conv) is None
    tiny = x[:, :, :2, :2]
    assert _form(tiny, nn.Conv2d(8, 8, 3, padding=1, bias=False)) is _Dense
    assert _form(tiny, nn.Conv2d(8, 8, 3, bias=False)) is None  # without padding
    assert _form(tiny, nn.Conv2d(8, 8, 3, padding=1)) is None
    assert _form(tiny, nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)) is None
    assert _form(tiny, nn.Conv2d(8, 8, 3, padding=1, stride=(2, 1), bias=False)) is None
    assert _form(tiny, nn.Conv2d(8, 8, 3, padding=1, bias=False).double()) is None
    assert _form(tiny, nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular", bias=False)) is None
    assert _form(x[:, :, :2, :1], nn.Conv2d(8, 8, 3, padding=1, bias=False)) is None
    small, conv = x[:, :, :4, :4], nn.Conv2d(8, 8, 3, padding=1, bias=False)
    assert _form(small, conv) is None  # columns are for bfloat16
    with torch.autocast("cpu", dtype=BFLOAT16):
        assert _form(small, conv) is None  # not yet rounded
        assert _form(small.bfloat16(), conv) is _Columns


def test_columns_beyond_the_limit_are_left_to_torch(monkeypatch):
    conv, x, _ = case_of(5, 7, 4, 3, 1)
    values = 6 * 4 * 4 * 9 * 5
    with torch.autocast("cpu", dtype=BFLOAT16):
        monkeypatch.setattr(convolutions, "MOST_COLUMNS", values)
        assert _form(x.bfloat16(), conv) is _Columns
        monkeypatch.setattr(convolutions, "MOST_COLUMNS", values - 1)
        assert _form(x.bfloat16(), conv) is None


def test_columns_of_one_thread_do_not_disturb_anothers():
    cases = [case_of(5, 7, 4, 3, 1, images) for images in (6, 9)]
    alone = [results(convolve, *case, BFLOAT16) for case in cases]
    wrong = []

    def work(case, expected):
        for _ in range(30):
            found = results(convolve, *case, BFLOAT16)
            wrong.extend(1 for a, b in zip(found, expected, strict=True) if not torch.equal(a, b))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(cases, alone, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_frozen_input_gets_no_gradient():
    for case, dtype in ((DENSE[1], FLOAT32), (COLUMNS[0], BFLOAT16)):
        conv, x, grad = case_of(*case)
        with torch.autocast("cpu", dtype=BFLOAT16, enabled=dtype == BFLOAT16):
            convolve(x.to(dtype), conv).backward(grad.to(dtype))
        assert conv.weight.grad.shape == conv.weight.shape
