"""The linear probe of the W-MSE paper, many at once. Owns its training; never extracts or alters features.

One Linear layer on raw features, cross-entropy, Adam with coupled weight decay (bias included), batches of 1000
reshuffled each epoch, learning rate times a constant each epoch (arXiv 2007.06346, released code). The authors' small
sets divide by the batch, and of the others they drop what is over when features are extracted; here the last, smaller
batch is kept, so that every image counts, and a set smaller than a batch is one batch. Gradients are written out: for
softmax cross-entropy they are X^T (p - onehot(y)) / n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.streams import stream
from harness.suite.cell import LinearSpec

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # torch.optim.Adam's defaults


@dataclass(frozen=True)
class Probe:
    """One probe among those trained together."""

    seed: int
    """Of its initial weights."""
    spec: LinearSpec


@dataclass(frozen=True)
class LinearWeights:
    """Trained probes."""

    weight: Tensor
    """(P, F, C) float32."""
    bias: Tensor
    """(P, C) float32."""

    def logits(self, features: Tensor) -> Tensor:
        """(P, M, C) of features (M, F), or (P, M, F) where each probe has its own."""
        return torch.matmul(features, self.weight) + self.bias[:, None]


def lr_at(spec: LinearSpec, epoch: int) -> float:
    """Learning rate in `epoch` (from 0): lr * (final_lr / lr)^(epoch / epochs); it would reach final_lr after the last."""
    return spec.lr * math.pow(spec.final_lr / spec.lr, epoch / spec.epochs)


def initial_weights(seed: int, inputs: int, classes: int) -> Tensor:
    """(F + 1, C): weights and, last, bias, each from U(-1, 1) / sqrt(F) as torch.nn.Linear draws them."""
    draws = torch.rand(inputs + 1, classes, generator=stream(seed, "linear probe weights"))
    return (2 * draws - 1) / math.sqrt(inputs)


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
        ValueError: probes that differ in epochs or batch size, or as many feature sets as probes are not given.
    """
    sets = features if features.ndim == 3 else features[None]  # (S, N, F)
    if len({(probe.spec.epochs, probe.spec.batch_size) for probe in probes}) != 1:
        raise ValueError("probes trained together need the same epochs and batch_size: train the others apart")
    if len(sets) not in (1, len(probes)):
        raise ValueError(f"{len(sets)} feature sets for {len(probes)} probes: give one set, or one a probe")
    training = _Training(sets, labels, classes, probes)
    spec = probes[0].spec
    images = sets.shape[1]
    for epoch in range(spec.epochs):
        order = torch.randperm(images, generator=stream(order_seed, "linear probe order", epoch)).to(features.device)
        lr = training.per_probe([lr_at(probe.spec, epoch) for probe in probes])
        for rows in torch.split(order, spec.batch_size):
            training.step(rows, lr)
    return training.weights()


class _Training:
    """Parameters and Adam's state of P probes over S feature sets, R = P / S probes a set: tensors (S, F + 1, R * C),
    so that probes that share features are one matrix product."""

    def __init__(self, sets: Tensor, labels: Tensor, classes: int, probes: Sequence[Probe]) -> None:
        self.sets, self.labels, self.classes = sets, labels, classes
        self.count, self.inputs = len(probes), sets.shape[2]
        self.per_set = self.count // len(sets)
        initial = torch.stack([initial_weights(probe.seed, self.inputs, classes) for probe in probes])  # (P, F + 1, C)
        self.theta = self._to_layout(initial.to(sets.device, sets.dtype))
        self.gradient = torch.empty_like(self.theta)
        self.first, self.second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self.denominator = torch.empty_like(self.theta)
        self.decay = self.per_probe([probe.spec.weight_decay for probe in probes])
        self.steps = 0

    def _to_layout(self, stacked: Tensor) -> Tensor:
        """(P, F + 1, C) -> (S, F + 1, R * C)."""
        split = stacked.view(len(self.sets), self.per_set, self.inputs + 1, self.classes)
        return split.transpose(1, 2).reshape(len(self.sets), self.inputs + 1, -1).contiguous()

    def per_probe(self, values: Sequence[float]) -> Tensor:
        """One value a probe, laid out to multiply the parameters: (S, 1, R * C)."""
        spread = torch.tensor(values, dtype=self.sets.dtype).repeat_interleave(self.classes)
        return spread.view(len(self.sets), 1, -1).to(self.sets.device)

    def step(self, rows: Tensor, lr: Tensor) -> None:
        """Forward, gradient and Adam on one batch; the mean over the batch is each probe's own loss."""
        inputs = self.sets.index_select(1, rows)  # (S, B, F)
        labels = self.labels.index_select(0, rows)  # (B,)
        weight, bias = self.theta[:, :-1], self.theta[:, -1:]
        logits = torch.baddbmm(bias, inputs, weight).view(len(self.sets), len(rows), self.per_set, self.classes)
        error = logits.softmax(-1)
        error.scatter_add_(
            3,
            labels[None, :, None, None].expand(*error.shape[:3], 1),
            error.new_full((1,), -1.0).expand(*error.shape[:3], 1),
        )
        error = error.view(len(self.sets), len(rows), -1).div_(len(rows))
        self.gradient[:, :-1] = inputs.transpose(1, 2) @ error
        self.gradient[:, -1] = error.sum(1)
        self._adam(lr)

    def _adam(self, lr: Tensor) -> None:
        """torch.optim.Adam's update, the bias corrections moved into the step's scale."""
        self.steps += 1
        root = math.sqrt(1 - BETA2**self.steps)
        self.gradient.addcmul_(self.theta, self.decay)
        self.first.lerp_(self.gradient, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(self.gradient, self.gradient, value=1 - BETA2)
        torch.sqrt(self.second, out=self.denominator).add_(EPS * root)
        torch.div(self.first, self.denominator, out=self.denominator)
        self.theta.addcmul_(self.denominator, lr, value=-root / (1 - BETA1**self.steps))

    def weights(self) -> LinearWeights:
        """The parameters as (P, F, C) and (P, C)."""
        split = self.theta.view(len(self.sets), self.inputs + 1, self.per_set, self.classes).transpose(1, 2)
        stacked = split.reshape(self.count, self.inputs + 1, self.classes)
        return LinearWeights(stacked[:, :-1].contiguous(), stacked[:, -1].contiguous())
