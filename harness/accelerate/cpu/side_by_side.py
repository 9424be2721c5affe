"""The views of a batch through an encoder on a CPU, side by side: each view alone, on cores of its own.

Owns when that is possible, the replicas that keep the views' batch statistics apart, and what autograd is told.
Between views nothing is shared but the weights, since BatchNorm's scope in the encoder is a view. So threads that
each run one of them meet twice a step, and not twice in every layer: an encoder of small layers loses much of its time
at those meetings. Outputs, gradients and buffers are those of one view after another, with the gradients of a weight
added up in float32 whatever the autocast around.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from harness.accelerate.cpu.resnet import can_be_fused, fused
from harness.accelerate.cpu.threads import streams
from methods.method import one_by_one


class SideBySide:
    """As `one_by_one`: features (d, N, F) of views (d, N, C, H, W); that itself for encoders that cannot be fused."""

    def __init__(self) -> None:
        self._replicas: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()

    def __call__(self, encoder: nn.Module, views: Tensor) -> Tensor:
        if views.device.type != "cpu" or not can_be_fused(encoder):
            return one_by_one(encoder, views)
        threads = torch.get_num_threads()
        count = min(len(views), threads)
        if count < 2 or views.requires_grad:
            return torch.stack([fused(encoder, view) for view in views.unbind(0)])
        run = _Run(encoder, self._replicas_of(encoder, len(views)), views, streams(count, threads // count))
        if torch.is_grad_enabled() and run.weights:
            outputs: tuple[Tensor, ...] = _Encode.apply(run, *run.weights)
        else:
            outputs = run.forward()
        _take_over_statistics(encoder, run.replicas)
        return torch.stack(outputs)

    def _replicas_of(self, encoder: nn.Module, views: int) -> list[nn.Module]:
        """The encoder once for every view: the same weights, and buffers that take the statistics of a batch
        unmixed."""
        known = self._replicas.get(encoder, [])
        if len(known) < views or any(
            mine is not theirs for mine, theirs in zip(encoder.parameters(), known[0].parameters(), strict=True)
        ):
            known = self._replicas[encoder] = [_replica(encoder) for _ in range(views)]
        return known[:views]


class _Run:
    """One forward pass of a batch's views and, on request, the backward pass."""

    def __init__(self, encoder: nn.Module, replicas: list[nn.Module], views: Tensor, pool: Executor) -> None:
        self.views, self.replicas, self.pool = views.unbind(0), replicas, pool
        self.weights = [weight for weight in encoder.parameters() if weight.requires_grad]
        self.autocast = (torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu"))
        self.outputs: list[Tensor] = []

    def forward(self) -> tuple[Tensor, ...]:
        """By view, without a graph."""
        return tuple(self._each(self._encode, (False,) * len(self.views)))

    def forward_with_graph(self) -> tuple[Tensor, ...]:
        """By view; the graphs are kept for `backward`."""
        self.outputs = self._each(self._encode, (True,) * len(self.views))
        return tuple(output.detach() for output in self.outputs)

    def backward(self, gradients: Sequence[Tensor]) -> list[Tensor | None]:
        """Of the weights, given those of the outputs. The graphs are gone then."""
        if not self.outputs:
            raise RuntimeError("views that ran side by side have one backward pass; run them forward once more")
        by_view = self._each(self._gradients, gradients)
        self.outputs = []
        *earlier, last = by_view  # autograd meets the last view first, and sums are made in its order
        used = [i for i, gradient in enumerate(last) if gradient is not None]
        total = [last[i] for i in used]
        for of_view in reversed(earlier):
            torch._foreach_add_(total, [of_view[i] for i in used])
        return list(last)

    def _each(self, work: Callable[[int, Any], Any], arguments: Sequence[Any]) -> list[Any]:
        futures = [self.pool.submit(work, view, argument) for view, argument in enumerate(arguments)]
        try:
            return [future.result() for future in futures]
        finally:  # after an error nothing may go on behind the caller's back
            for future in futures:
                future.cancel() or future.exception()

    def _encode(self, view: int, graph: bool) -> Tensor:
        dtype, enabled = self.autocast
        # casts of weights are not kept for other views: they would join the graphs
        casts = torch.autocast("cpu", dtype=dtype, enabled=enabled, cache_enabled=False)
        with torch.set_grad_enabled(graph), casts:
            return fused(self.replicas[view], self.views[view])

    def _gradients(self, view: int, of_output: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(self.outputs[view], self.weights, of_output, allow_unused=True)


class _Encode(torch.autograd.Function):
    """The features of every view, as a function of the encoder's weights."""

    @staticmethod
    def forward(ctx: Any, run: _Run, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.run = run
        return run.forward_with_graph()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.run.backward(gradients)


def _replica(encoder: nn.Module) -> nn.Module:
    replica = copy.deepcopy(encoder, {id(weight): weight for weight in encoder.parameters()})
    for norm in _norms(replica):
        norm.momentum = 1.0
    return replica.train()


def _norms(encoder: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def _take_over_statistics(encoder: nn.Module, replicas: Sequence[nn.Module]) -> None:
    """The running statistics as if the views had come one after another."""
    by_momentum: dict[float, list[int]] = {}
    norms = _norms(encoder)
    for index, norm in enumerate(norms):
        by_momentum.setdefault(cast(float, norm.momentum), []).append(index)
    for replica in replicas:
        of_view = _norms(replica)
        for momentum, places in by_momentum.items():
            torch._foreach_lerp_(_running([norms[i] for i in places]), _running([of_view[i] for i in places]), momentum)
    torch._foreach_add_([cast(Tensor, norm.num_batches_tracked) for norm in norms], len(replicas))


def _running(norms: Sequence[nn.BatchNorm2d]) -> list[Tensor]:
    return [cast(Tensor, buffer) for norm in norms for buffer in (norm.running_mean, norm.running_var)]
