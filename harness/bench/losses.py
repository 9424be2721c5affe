"""Rows: forward and backward of every loss, beside a loop over slices, pairs or D x D matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.bench.conventional import losses as conventional
from harness.bench.row import MILLISECONDS, Machine, Row, Setup, Side, Target
from methods.losses import barlow_twins_loss, contrastive_loss, vicreg_loss, w_mse_loss
from methods.losses.whitening import slices

GROUP = "losses"
FLOAT_BYTES = 4
PLAIN = "whitening slice by slice, as released"
LEAN = "a lean loop over slices"

Loss = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int]
"""Views d, images N, embedding D."""


def rows(device: torch.device) -> tuple[Row, ...]:
    """The table's losses; the same sizes on every device."""
    whitening = [
        row
        for shape, sub_batch, iterations, target in (
            ((2, 512, 64), 128, 1, 4.0),
            ((2, 512, 128), 256, 4, 3.0),
            ((4, 512, 64), 128, 1, 4.0),
            ((4, 512, 128), 256, 4, 3.0),
        )
        for row in w_mse(shape, sub_batch, iterations, target)
    ]
    return (
        *whitening,
        compared("NT-Xent", (2, 512, 64), contrastive_loss, conventional.nt_xent, "four N x N blocks", 1.0),
        compared("NT-Xent", (4, 256, 64), contrastive_loss, conventional.nt_xent, "a loop over pairs", 1.5),
        compared("VICReg", (2, 256, 2048), vicreg_loss, conventional.vicreg, "D x D matrices", 10.0),
        compared("Barlow Twins", (2, 256, 2048), barlow_twins_loss, conventional.barlow_twins, "a D x D matrix", 3.0),
    )


def w_mse(shape: Shape, sub_batch: int, iterations: int, target: float) -> tuple[Row, Row]:
    """Two honest comparisons: with the slice's whitening as it was released, and with as few operations as it takes."""

    def index(v: Tensor) -> Tensor:
        return slices(shape[1], sub_batch, iterations, torch.Generator().manual_seed(0)).to(v.device)

    def ours(v: Tensor) -> Tensor:
        return w_mse_loss(v, sub_batch, iterations, generator=torch.Generator().manual_seed(0))

    def plain(v: Tensor) -> Tensor:
        return conventional.w_mse(v, index(v))

    def lean(v: Tensor) -> Tensor:
        return conventional.w_mse(v, index(v), one=conventional.whiten_slice_lean)

    name = f"W-MSE, slices of {sub_batch} x {iterations}"
    return compared(name, shape, ours, plain, PLAIN, target), compared(f"{name}, lean", shape, ours, lean, LEAN, None)


def compared(name: str, shape: Shape, ours: Loss, plain: Loss, against: str, target: float | None) -> Row:
    """One loss on random embeddings of a shape, and the same loss written plainly."""
    d, n, size = shape
    return Row(
        group=GROUP,
        name=f"{name}, d={d}, N={n}, D={size}",
        unit=MILLISECONDS,
        ours=_side(ours, shape, counted=True),
        conventional=_side(plain, shape),
        against=against,
        target=None if target is None else Target("ratio", target),
        values=lambda machine: (_value(ours, _embeddings(shape, machine)), _value(plain, _embeddings(shape, machine))),
    )


def _embeddings(shape: Shape, machine: Machine) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(machine.device).requires_grad_()


def _value(loss: Loss, v: Tensor) -> Tensor:
    """The loss and its gradient, (1 + d N D,)."""
    value = loss(v)
    torch.autograd.backward(value)
    assert v.grad is not None
    return torch.cat([value.detach().reshape(1), v.grad.flatten()])


def _side(loss: Loss, shape: Shape, counted: bool = False) -> Setup:
    def setup(machine: Machine) -> Side:
        v = _embeddings(shape, machine)

        def turn() -> float:
            v.grad = None
            torch.autograd.backward(loss(v))
            return 1.0

        if not counted:
            return Side(turn)
        with FlopCounterMode(
            display=False, custom_mapping={torch.ops.aten.addmm_: _in_place, torch.ops.aten.baddbmm_: _in_place}
        ) as counter:
            turn()
        read_and_written = 2 * v.numel() * FLOAT_BYTES  # the embeddings in, their gradient out
        return Side(turn, flops=counter.get_total_flops(), moved_bytes=read_and_written)

    return setup


def _in_place(sum_shape: list[int], a_shape: list[int], b_shape: list[int], **_: object) -> int:
    """Operations of sum += a b, (..., n, k) by (..., k, m), which torch's counter leaves out."""
    return 2 * math.prod(a_shape) * b_shape[-1]
