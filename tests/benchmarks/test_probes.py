"""From features to accuracies: linear probes and neighbours of a CIFAR-10 cell with ResNet-18, 50,000 training and
10,000 test images with 512 features."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from harness.evaluation.knn import knn_predict
from harness.evaluation.linear import Probe, train_probes
from harness.evaluation.probes.linear import LinearSettings
from tests.benchmarks.machine import Machine
from tests.benchmarks.timing import repeated

CLASSES, K = 10, 5
PROBE = LinearSettings()
TIMED = PROBE.model_copy(update={"epochs": 2})
SCALED = f"{TIMED.epochs} epochs timed and scaled to {PROBE.epochs}"
SKLEARN_TEST = 500  # test images a call of scikit-learn's, whose time is proportional to them


@pytest.fixture
def features(machine: Machine, small: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Train (N, F), labels (N,), test (M, F), of overlapping classes, as a ReLU network's."""
    train, test, size = (120, 30, 8) if small else (50_000, 10_000, 512)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (train + test,), generator=generator)
    basis, centres = torch.randn(40, size, generator=generator), torch.randn(CLASSES, 40, generator=generator)
    hidden = torch.randn(train + test, 40, generator=generator) + centres[labels]
    h = hidden @ basis + torch.randn(train + test, size, generator=generator)
    h = h.relu_().div_(10).to(machine.device)
    return h[:train].clone(), labels[:train].to(machine.device), h[train:].clone()


@pytest.mark.parametrize("together", [1, 8], ids=lambda count: f"linear, 500 epochs, {count} together, each")
def test_linear_probe(together, features, compare, machine):
    train, labels, _ = features
    probes = [Probe(seed, TIMED) for seed in range(together)]
    share = TIMED.epochs / PROBE.epochs
    products = 4 * train.numel() * CLASSES * TIMED.epochs  # logits and weight gradients
    ours = repeated(
        lambda: train_probes(train, labels, CLASSES, probes, order_seed=0),
        machine.device,
        work=together * share,
        flops=together * products,
    )
    conventional = repeated(lambda: conventional_probe(train, labels), machine.device, work=share)
    against = "autograd and torch.optim.Adam, one probe"
    compare("s", nullcontext(ours), nullcontext(conventional), against=against, note=SCALED)


def conventional_probe(features: Tensor, labels: Tensor) -> None:
    """As the W-MSE paper's code trains it: autograd, torch.optim's default Adam, indexing."""
    layer = nn.Linear(features.shape[1], CLASSES).to(features.device)
    optimiser = torch.optim.Adam(layer.parameters(), lr=TIMED.lr, weight_decay=TIMED.weight_decay)
    for epoch in range(TIMED.epochs):
        for group in optimiser.param_groups:
            group["lr"] = TIMED.lr * (TIMED.final_lr / TIMED.lr) ** (epoch / TIMED.epochs)
        for rows in torch.split(torch.randperm(len(features), device=features.device), TIMED.batch_size):
            optimiser.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(layer(features[rows]), labels[rows]))
            optimiser.step()


def test_5_nearest_neighbours(features, compare, machine):
    """The same predictions as scikit-learn's, which stays on the CPU."""
    train, labels, test = features
    model: Any = KNeighborsClassifier(K, algorithm="brute").fit(train.numpy(force=True), labels.numpy(force=True))
    parts = itertools.cycle(part.numpy(force=True) for part in test.split(SKLEARN_TEST))
    part = test[:SKLEARN_TEST]
    ours = knn_predict(train, labels, part, K).cpu()
    assert torch.equal(ours, torch.from_numpy(model.predict(part.numpy(force=True))))
    assert len(set(ours.tolist())) > 1
    compare(
        "images/s",
        nullcontext(
            repeated(
                lambda: knn_predict(train, labels, test, K),
                machine.device,
                work=len(test),
                flops=2 * train.numel() * len(test),
            )
        ),
        nullcontext(repeated(lambda: model.predict(next(parts)), machine.device, work=len(part))),
        against="scikit-learn, brute force",
    )
