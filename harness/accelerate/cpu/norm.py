"""BatchNorm, the sum with a shortcut and ReLU as one operation on a CPU, in both directions.

Owns which tensors take the compiled loops (`norm_kernels.py`, `norm_gradients.py`), and what autograd is told; whatever
does not fit takes torch's own operations. An elementwise operation on a CPU costs what its memory costs: as one, they
read and write about half as often, and gradients are written over memory that nothing will read again. Sums are at
least as exact as torch's and the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from harness.accelerate.cpu import norm_gradients as gradients
from harness.accelerate.cpu import norm_kernels as kernels
from harness.accelerate.cpu.flat import as_flat, is_flat, memory
from harness.threads import share

LANES = 2048  # about how many values the innermost loop runs over: a page of bfloat16
BLOCK = 1 << 16  # about how many values are added up in float32, before float64 takes over
NO_FLOOR, RELU = np.float32(-np.inf), np.float32(0)


def norm_act(x: Tensor, norm: nn.Module, *, relu: bool = True) -> Tensor:
    """[ReLU of] `norm` of x, a tensor that nothing else needs: in the backward pass its gradient is written over it."""
    if fits(x, norm):
        y: Tensor = _Norm.apply(x, norm.weight, norm.bias, norm, RELU if relu else NO_FLOOR)
    else:
        y = norm(x).relu_() if relu else norm(x)
    return y


def norm_add_act(x: Tensor, norm: nn.Module, shortcut: Tensor, plain_shortcut: Tensor) -> tuple[Tensor, Tensor]:
    """ReLU(`norm` of x + shortcut), twice over the same memory: the second one for the next call's `shortcut` (and a
    convolution beside it) only, so that the gradients of the two uses are added where they are read.

    Args:
        x: nothing else needs it; its gradient is written over it.
        shortcut: of x's shape; the second result of the call before, or the same as `plain_shortcut`.
        plain_shortcut: the same values for torch's own operations, which may share gradients with others.
    """
    if fits(x, norm) and shortcut.dtype == x.dtype and shortcut.shape == x.shape and is_flat(shortcut):
        both: tuple[Tensor, Tensor] = _NormAdd.apply(x, shortcut, norm.weight, norm.bias, norm)
        return both
    y = (norm(x) + plain_shortcut).relu_()
    return y, y


def fits(x: Tensor, norm: nn.Module) -> bool:
    """Whether the compiled loops can do what `norm` would do with x (N, C, H, W)."""
    return (
        type(norm) is nn.BatchNorm2d
        and x.dim() == 4
        and norm.training
        and norm.affine
        and norm.momentum is not None
        and norm.running_mean is not None
        and norm.weight.dtype == norm.running_mean.dtype == torch.float32
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.shape[1] == norm.num_features
        and x.numel() > norm.num_features
        and is_flat(x)
    )


class _Batch:
    """Statistics of one batch at one BatchNorm, and the arrays by which the compiled loops normalise with them."""

    def __init__(self, x: Tensor, norm: Any) -> None:
        channels = x.shape[1]
        self.count = x.numel() // channels
        width = channels * max(1, LANES // channels)
        self.size = width * max(4, BLOCK // width)
        self.sums = np.empty((-(-x.numel() // self.size), 2, channels))
        self.tiles = np.empty((3, width), dtype=np.float32)
        self.of_batch = np.empty((3, channels))
        kernels.sample_mean(memory(x), channels, self.tiles[0])
        self.share(kernels.moments, memory(x), self.tiles[0], self.sums)
        weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
        kernels.statistics(self.sums, weight, bias, self.count, norm.eps, self.of_batch, self.tiles)
        mean, variance, _ = torch.from_numpy(self.of_batch).to(torch.float32).unbind()
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance, norm.momentum)

    def share(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """The kernel on all blocks."""
        share(partial(kernel, *arguments, self.size), len(self.sums), torch.get_num_threads())

    def gradients(self, g: Tensor, floor: np.float32, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of x, written over it, and of the parameters, from the gradient g whose sums are in `sums`."""
        weight_gradient, bias_gradient = torch.empty_like(weight), torch.empty_like(weight)
        factors = np.empty((2, self.tiles.shape[1]), dtype=np.float32)
        gradients.parameter_gradients(
            self.sums,
            weight.detach().numpy(),
            self.of_batch[2],
            self.count,
            weight_gradient.numpy(),
            bias_gradient.numpy(),
            factors,
        )
        self.share(gradients.input_gradient, memory(g), self.tiles, floor, factors, memory(x))
        return x.detach(), weight_gradient, bias_gradient


class _Norm(torch.autograd.Function):
    """max(BatchNorm(x), floor)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.Module, floor: np.float32) -> Tensor:
        batch, y = _Batch(x, norm), torch.empty_like(x)
        batch.share(kernels.normalise, memory(x), batch.tiles, floor, memory(y))
        ctx.batch, ctx.floor = batch, floor
        ctx.save_for_backward(x, weight)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        x, grad, batch = _own(x), as_flat(grad), ctx.batch
        batch.share(gradients.gradient_sums, memory(grad), memory(x), batch.tiles, ctx.floor, batch.sums)
        return *batch.gradients(grad, ctx.floor, x, weight), None, None


class _NormAdd(torch.autograd.Function):
    """ReLU(BatchNorm(x) + shortcut), twice; the gradient of the second one is written over."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shortcut: Tensor, weight: Tensor, bias: Tensor, norm: nn.Module
    ) -> tuple[Tensor, Tensor]:
        batch, y = _Batch(x, norm), torch.empty_like(x)
        batch.share(kernels.join, memory(x), batch.tiles, memory(shortcut), memory(y))
        ctx.batch = batch
        ctx.save_for_backward(x, y, weight)
        ctx.set_materialize_grads(False)
        again = y.new_empty(0).set_(y.untyped_storage(), 0, y.size(), y.stride())  # no view, to autograd
        return y, again

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, first: Tensor | None, second: Tensor | None) -> tuple[Tensor | None, ...]:
        x, y, weight = ctx.saved_tensors
        x, batch = _own(x), ctx.batch
        if first is None:
            first, second = second, None
        assert first is not None
        g = torch.empty_like(x) if second is None else as_flat(second)
        a, add = memory(as_flat(first)), second is not None
        batch.share(gradients.joined_gradient_sums, a, add, memory(x), memory(y), batch.tiles, memory(g), batch.sums)
        input_gradient, weight_gradient, bias_gradient = batch.gradients(g, NO_FLOOR, x, weight)
        return input_gradient, g, weight_gradient, bias_gradient, None


def _own(x: Tensor) -> Tensor:
    """x, or a copy where the graph is kept for another backward pass."""
    return x.clone() if torch._C._autograd._get_current_graph_task_keep_graph() else x
