"""The linear probe of the W-MSE paper, many at once. Owns its training; never extracts or alters features.

One Linear layer on raw features, cross-entropy, Adam with coupled weight decay (bias included), batches of 1000
reshuffled each epoch, learning rate times a constant each epoch (arXiv 2007.06346, released code). The authors' small
sets divide by the batch, and of the others they drop what is over when features are extracted; here the last, smaller
batch is kept, so that every image counts, and a set smaller than a batch is one batch. Gradients are written out: for
softmax cross-entropy they are X^T (p - onehot(y)) / n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.evaluation.arithmetic import full_float32
from harness.evaluation.probes.linear import LinearSettings
from harness.streams import stream

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # torch.optim.Adam's defaults
SERIAL_PRODUCTS = 4_000_000  # multiplications in a forward pass below which one thread does a step


@dataclass(frozen=True)
class Probe:
    """One probe among those trained together."""

    seed: int
    """Of its initial weights."""
    spec: LinearSettings


@dataclass(frozen=True)
class LinearWeights:
    """Trained probes."""

    weight: Tensor
    """(P, F, C) float32."""
    bias: Tensor
    """(P, C) float32."""

    def logits(self, features: Tensor) -> Tensor:
        """(P, M, C) of features (M, F), or (P, M, F) where each probe has its own."""
        with full_float32():
            return torch.matmul(features, self.weight) + self.bias[:, None]


def lr_at(spec: LinearSettings, epoch: int) -> float:
    """Learning rate in `epoch` (from 0): lr * (final_lr / lr)^(epoch / epochs), final_lr at e = epochs."""
    return spec.lr * math.pow(spec.final_lr / spec.lr, epoch / spec.epochs)


def initial_weights(seed: int, inputs: int, classes: int) -> Tensor:
    """(F + 1, C): weights and, last, bias, each from U(-1, 1) / sqrt(F) as torch.nn.Linear draws them."""
    draws = torch.rand(inputs + 1, classes, generator=stream(seed, "linear probe weights"))
    return (2 * draws - 1) / math.sqrt(inputs)


@torch.no_grad()
def train_probes(
    features: Tensor, labels: Tensor, classes: int, probes: Sequence[Probe], order_seed: int
) -> LinearWeights:
    """Train P probes together; each ends as it would alone, up to float32 rounding.

    Args:
        features: (N, F) shared by all, or (P, N, F), one set a probe.
        labels: (N,) int64 in [0, classes).
        probes: may differ in seed, learning rates and weight decay, not in epochs or batch size.
        order_seed: of the order of images, which is common to all probes.

    Raises:
        ValueError: probes that differ in epochs or batch size, a number of feature sets that is neither 1 nor P, or
            features so large that weights or Adam's state overflow.
    """
    sets = features if features.ndim == 3 else features[None]  # (S, N, F)
    if len({(probe.spec.epochs, probe.spec.batch_size) for probe in probes}) != 1:
        raise ValueError("probes trained together need the same epochs and batch_size: train the others apart")
    if len(sets) not in (1, len(probes)):
        raise ValueError(f"{len(sets)} feature sets for {len(probes)} probes: give one set, or one a probe")
    training = _Training(sets, labels, classes, probes)
    spec = probes[0].spec
    with (
        full_float32(),
        _threads_for(sets, min(spec.batch_size, sets.shape[1]) * sets.shape[2] * classes * len(probes)),
    ):
        for epoch in range(spec.epochs):
            training.set_lr([lr_at(probe.spec, epoch) for probe in probes])
            order = torch.randperm(sets.shape[1], generator=stream(order_seed, "linear probe order", epoch))
            for rows in torch.split(order.to(sets.device), spec.batch_size):
                training.step(rows)
    # Squared gradients that overflow stop Adam silently, with finite weights.
    if not bool(training.theta.isfinite().all() & training.second.isfinite().all()):
        raise ValueError(
            f"the linear probe overflowed: features reach {float(sets.abs().max()):.1e}; "
            "look whether the encoder diverged, or lower the probe's lr"
        )
    return training.weights()


@contextmanager
def _threads_for(sets: Tensor, products: int) -> Iterator[None]:
    """One thread inside, on the CPU, where a step has so few multiplications that waiting for a second costs more
    than it brings: a little on an idle machine, a hundredfold on a busy one."""
    before = torch.get_num_threads()
    if sets.device.type == "cpu" and products < SERIAL_PRODUCTS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Training:
    """Parameters and Adam's state of P probes over S feature sets, R = P / S probes a set.

    Outputs are rows, ordered by class and then by probe, so that probes that share features are one matrix product and
    the softmax runs over the leading, strided dimension, which vectorises for few classes. All parameters stand in one
    flat vector, the weights (S, C * R, F) first and then the biases (S, C * R, 1), so that Adam is one pass.
    """

    def __init__(self, sets: Tensor, labels: Tensor, classes: int, probes: Sequence[Probe]) -> None:
        self.sets, self.labels = sets, labels
        count, self.images, inputs = sets.shape
        self.per_set = len(probes) // count
        self.shape = (count, classes * self.per_set, inputs)
        initial = torch.stack([initial_weights(probe.seed, inputs, classes) for probe in probes])  # (P, F + 1, C)
        rows = (
            initial.view(count, self.per_set, inputs + 1, classes).permute(0, 3, 1, 2).flatten(1, 2)
        )  # (S, C R, F + 1)
        self.theta = torch.cat([rows[..., :-1].flatten(), rows[..., -1].flatten()]).to(sets)
        self.gradient, self.scratch = torch.empty_like(self.theta), torch.empty_like(self.theta)
        self.first, self.second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self.weight, self.bias = self._split(self.theta)
        self.weight_gradient, self.bias_gradient = self._split(self.gradient)
        self.decay = self._spread([probe.spec.weight_decay for probe in probes])
        self.inputs = sets.new_empty(count, min(probes[0].spec.batch_size, self.images), inputs)
        self.classes = torch.arange(classes, device=sets.device)[:, None, None]
        self.onehot = sets.new_empty(classes, 1, self.inputs.shape[1])
        self.steps = 0

    def _split(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Views (S, C R, F) and (S, C R, 1) of a flat vector of parameters."""
        sets, rows, inputs = self.shape
        weight, bias = flat.split_with_sizes([sets * rows * inputs, sets * rows])
        return weight.view(self.shape), bias.view(sets, rows, 1)

    def _spread(self, values: Sequence[float]) -> Tensor:
        """One value a probe, repeated for each of its parameters, flat."""
        sets, rows, _ = self.shape
        each = torch.tensor(values, dtype=torch.float64).view(sets, 1, self.per_set)
        each = each.expand(sets, rows // self.per_set, self.per_set).reshape(sets, rows, 1).to(self.sets)
        return torch.cat([each.expand(self.shape).flatten(), each.flatten()])

    def set_lr(self, values: Sequence[float]) -> None:
        """The learning rate of each probe for the steps to come."""
        self.lr = self._spread(values)

    def step(self, rows: Tensor) -> None:
        """Forward, gradient and Adam on one batch of images (B,)."""
        inputs = self.inputs[:, : len(rows)]  # (S, B, F)
        for features, batch in zip(self.sets, inputs, strict=True):
            torch.index_select(features, 0, rows, out=batch)
        logits = torch.bmm(self.weight, inputs.mT).add_(self.bias)  # (S, C R, B)
        error = logits.view(len(self.sets), -1, self.per_set, len(rows)).softmax(1)
        torch.eq(self.classes, self.labels.index_select(0, rows), out=self.onehot[..., : len(rows)])
        error -= self.onehot[..., : len(rows)]
        error, mean = error.view_as(logits), 1 / len(rows)
        torch.baddbmm(self.weight_gradient, error, inputs, beta=0, alpha=mean, out=self.weight_gradient)
        torch.sum(error, 2, keepdim=True, out=self.bias_gradient).mul_(mean)
        self._adam()

    def _adam(self) -> None:
        """torch.optim.Adam's update, the bias corrections moved into the step's scale."""
        self.steps += 1
        root = math.sqrt(1 - BETA2**self.steps)
        self.gradient.addcmul_(self.theta, self.decay)
        self.first.lerp_(self.gradient, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(self.gradient, self.gradient, value=1 - BETA2)
        torch.sqrt(self.second, out=self.scratch).add_(EPS * root)
        torch.div(self.first, self.scratch, out=self.scratch)
        self.theta.addcmul_(self.scratch, self.lr, value=-root / (1 - BETA1**self.steps))

    def weights(self) -> LinearWeights:
        """The parameters as (P, F, C) and (P, C)."""
        weight, bias = (
            part.view(len(self.sets), -1, self.per_set, part.shape[2]).permute(0, 2, 3, 1).flatten(0, 1)
            for part in (self.weight, self.bias)
        )
        return LinearWeights(weight.contiguous(), bias[:, 0].contiguous())
