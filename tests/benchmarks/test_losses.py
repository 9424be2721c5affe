"""Forward and backward of every loss on random embeddings v (d, N, D)."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from methods.losses import barlow_twins_loss, contrastive_loss, vicreg_loss, w_mse_loss
from methods.losses.whitening import slices
from tests.benchmarks.conventional import losses
from tests.benchmarks.machine import Machine
from tests.benchmarks.timing import Implementation, repeated

Loss = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def w_mse(sub_batch: int, iterations: int, whiten_slice: losses.WhitenSlice) -> tuple[Loss, Loss]:
    """Ours, and the same slices one by one."""

    def conventional(v: Tensor) -> Tensor:
        index = slices(v.shape[1], sub_batch, iterations, seeded()).to(v.device)
        return losses.w_mse(v, index, one=whiten_slice)

    return lambda v: w_mse_loss(v, sub_batch, iterations, generator=seeded()), conventional


CASES: dict[str, tuple[Shape, tuple[Loss, Loss], str]] = {}
for shape, sub_batch, iterations in (
    ((2, 512, 64), 128, 1),
    ((2, 512, 128), 256, 4),
    ((4, 512, 64), 128, 1),
    ((4, 512, 128), 256, 4),
):
    for suffix, one, against in (
        ("", losses.whiten_slice, "whitening slice by slice, as released"),
        (" lean,", losses.whiten_slice_lean, "slice by slice, in as few operations as it takes"),
    ):
        name = f"W-MSE, slices of {sub_batch} x {iterations},{suffix} d={shape[0]}, N={shape[1]}, D={shape[2]}"
        CASES[name] = (shape, w_mse(sub_batch, iterations, one), against)
CASES |= {
    "NT-Xent, d=2, N=512, D=64": ((2, 512, 64), (contrastive_loss, losses.nt_xent), "four N x N blocks"),
    "NT-Xent, d=4, N=256, D=64": ((4, 256, 64), (contrastive_loss, losses.nt_xent), "a loop over pairs"),
    "VICReg, d=2, N=256, D=2048": ((2, 256, 2048), (vicreg_loss, losses.vicreg), "D x D matrices"),
    "Barlow Twins, d=2, N=256, D=2048": (
        (2, 256, 2048),
        (barlow_twins_loss, losses.barlow_twins),
        "a D x D matrix",
    ),
}


@pytest.mark.parametrize(("shape", "both", "against"), CASES.values(), ids=CASES)
def test_loss(shape, both, against, compare, machine):
    """Both compute the same loss and gradient."""
    (ours, expected), (value, gradient) = (value_and_gradient(loss, embeddings(shape, machine)) for loss in both)
    torch.testing.assert_close(ours, value, rtol=1e-4, atol=1e-5)
    assert (expected - gradient).norm() / gradient.norm() < 1e-3
    ours, conventional = both
    compare(
        "ms",
        nullcontext(implementation(ours, shape, machine, counted=True)),
        nullcontext(implementation(conventional, shape, machine)),
        against=against,
    )


def embeddings(shape: Shape, machine: Machine) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(machine.device).requires_grad_()


def value_and_gradient(loss: Loss, v: Tensor) -> tuple[Tensor, Tensor]:
    v.grad = None
    value = loss(v)
    torch.autograd.backward(value)
    assert v.grad is not None
    return value.detach(), v.grad


def implementation(loss: Loss, shape: Shape, machine: Machine, counted: bool = False) -> Implementation:
    v = embeddings(shape, machine)
    call = partial(value_and_gradient, loss, v)
    if not counted:
        return repeated(call, machine.device)
    in_place = {torch.ops.aten.addmm_: _in_place_flops, torch.ops.aten.baddbmm_: _in_place_flops}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        call()
    return repeated(call, machine.device, flops=counter.get_total_flops())


def _in_place_flops(sum_shape: list[int], a_shape: list[int], b_shape: list[int], **_: object) -> int:
    """Of sum += a b, (..., n, k) by (..., k, m), which torch's counter leaves out."""
    return 2 * math.prod(a_shape) * b_shape[-1]
