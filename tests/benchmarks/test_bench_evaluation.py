"""How fast features become accuracies, beside the plain way and scikit-learn, as shares of the measured float32 peak.

Run with `pytest -o addopts=--import-mode=importlib tests/benchmarks/test_bench_evaluation.py --benchmark-only`; ratios
and shares are in `extra_info`, printed with `-s`. The sizes are those of a CIFAR-10 cell with ResNet-18: 50,000
training and 10,000 test images, 512 features.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from harness.evaluation.collapse import diagnose
from harness.evaluation.knn import knn_predict
from harness.evaluation.linear import Probe, train_probes
from harness.suite.cell import LinearSpec

TRAIN, TEST, FEATURES, CLASSES, K = 50_000, 10_000, 512, 10, 5
EPOCHS = 4  # of the probe's 500: its time is proportional


def best_seconds(work: Callable[[], object], rounds: int) -> float:
    """The least of several timings: what the work costs without the neighbours' share of the machine."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def matrix_peak() -> float:
    """Float32 matrix products of 2048 x 2048, operations a second; measured beside each use, as clocks change."""
    a, b = torch.randn(2, 2048, 2048)
    return 2 * 2048**3 / best_seconds(lambda: a @ b, 20)


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor, Tensor]:
    """Features of overlapping classes, as a ReLU network's: train (N, F), labels (N,), test (M, F)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (TRAIN + TEST,), generator=generator)
    basis = torch.randn(40, FEATURES, generator=generator)
    hidden = torch.randn(TRAIN + TEST, 40, generator=generator) + torch.randn(CLASSES, 40, generator=generator)[labels]
    features = (hidden @ basis + torch.randn(TRAIN + TEST, FEATURES, generator=generator)).relu_() / 10
    return features[:TRAIN].clone(), labels[:TRAIN], features[TRAIN:].clone()


def report(benchmark, **numbers: float) -> None:
    benchmark.extra_info.update({name: float(f"{value:.3g}") for name, value in numbers.items()})
    print("\n", benchmark.name, benchmark.extra_info)


def test_knn(benchmark, data):
    train, labels, test = data
    peak = matrix_peak()
    benchmark.pedantic(lambda: knn_predict(train, labels, test, K), rounds=5, warmup_rounds=1)
    peak = max(peak, matrix_peak())
    ours = benchmark.stats.stats.min
    rows = 1000  # scikit-learn's time is proportional to the test rows
    model = KNeighborsClassifier(K, algorithm="brute").fit(train.numpy(), labels.numpy())
    theirs = best_seconds(lambda: model.predict(test[:rows].numpy()), 2) * TEST / rows
    share = 2 * TRAIN * TEST * FEATURES / ours / peak
    report(benchmark, seconds=ours, share_of_peak=share, scikit_learn_ratio=theirs / ours, peak_gflops=peak / 1e9)


def plain_probe(train: Tensor, labels: Tensor, spec: LinearSpec) -> None:
    """One probe as the paper's code has it: autograd, torch.optim's default Adam, indexing."""
    layer = nn.Linear(FEATURES, CLASSES)
    optimiser = torch.optim.Adam(layer.parameters(), lr=spec.lr, weight_decay=spec.weight_decay)
    for _ in range(spec.epochs):
        for rows in torch.randperm(len(train)).split(spec.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(layer(train[rows]), labels[rows]).backward()
            optimiser.step()


@pytest.mark.parametrize("probes", [1, 8])
def test_linear_probes(benchmark, data, probes):
    train, labels, _ = data
    spec = LinearSpec(epochs=EPOCHS)

    def ours(count: int) -> None:
        train_probes(train, labels, CLASSES, [Probe(seed, spec) for seed in range(count)], order_seed=0)

    peak = matrix_peak()
    benchmark.pedantic(lambda: ours(probes), rounds=5, warmup_rounds=1)
    peak = max(peak, matrix_peak())
    seconds = benchmark.stats.stats.min
    plain = best_seconds(lambda: plain_probe(train, labels, spec), 3)
    sgd = SGDClassifier(loss="log_loss", max_iter=1, tol=None)
    theirs = best_seconds(lambda: sgd.fit(train.numpy(), labels.numpy()), 1) * EPOCHS
    report(
        benchmark,
        seconds_per_500_epochs=seconds * 500 / EPOCHS,
        ratio_to_one_probe=seconds / best_seconds(lambda: ours(1), 3),
        plain_ratio_per_probe=plain * probes / seconds,
        cost_in_plain_probes=seconds / plain,
        scikit_learn_sgd_ratio_per_probe=theirs * probes / seconds,
        peak_gflops=peak / 1e9,
        share_of_peak=4 * TRAIN * FEATURES * CLASSES * probes * EPOCHS / seconds / peak,
    )


def test_linear_probe_of_a_small_set(benchmark, data):
    train, labels, _ = data
    features = train[:1437, :128].contiguous()
    probe = [Probe(0, LinearSpec())]
    benchmark.pedantic(lambda: train_probes(features, labels[:1437], CLASSES, probe, order_seed=0), rounds=3)
    report(benchmark, seconds_500_epochs=benchmark.stats.stats.min)


def test_collapse_diagnostics(benchmark, data):
    sample = data[0][:2048]
    benchmark.pedantic(lambda: diagnose(sample, views=(sample, sample)), rounds=3)
    report(benchmark, seconds=benchmark.stats.stats.min)
