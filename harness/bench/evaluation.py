"""Rows: from features to accuracies. Linear probes, neighbours and collapse diagnostics of a CIFAR-10 cell with
ResNet-18: 50,000 training and 10,000 test images, 512 features."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from harness.bench.conventional.evaluation import brute_neighbours, logistic_iterations, plain_probe, sgd_epoch
from harness.bench.row import MILLISECONDS, SECONDS, Machine, Row, Setup, Side, Target, Unit
from harness.evaluation.collapse import diagnose
from harness.evaluation.knn import knn_predict
from harness.evaluation.linear import Probe, train_probes
from harness.evaluation.probes.linear import LinearSettings

GROUP = "evaluation"
TRAIN, TEST, FEATURES, CLASSES, K = 50_000, 10_000, 512, 10, 5
PROBE_EPOCHS = LinearSettings().epochs
TIMED_EPOCHS = 2  # the probe's time is proportional to its epochs
TOGETHER = 8
SKLEARN_TEST = 500  # test images a turn of scikit-learn's: its time is proportional to them
LBFGS_ITERATIONS = 5
DIGITS, DIGITS_FEATURES = 1437, 128
SAMPLE = 2048
IMAGES = Unit("test images/s", "rate")
SCALED = f"{TIMED_EPOCHS} epochs timed and scaled to {PROBE_EPOCHS}"

Data = tuple[Tensor, Tensor, Tensor]
"""Train features (N, F), labels (N,), test features (M, F)."""


def rows(device: torch.device) -> tuple[Row, ...]:
    """The same sizes on every device; scikit-learn stays on the CPU."""
    probe = f"linear probe, {TRAIN:,} x {FEATURES}, {PROBE_EPOCHS} epochs"
    epoch = f"linear probe, {TRAIN:,} x {FEATURES}, an epoch"
    return (
        Row(GROUP, probe, SECONDS, probes(1), _plain(), "autograd, torch.optim.Adam", note=SCALED),
        Row(
            GROUP,
            f"{probe}, {TOGETHER} together, each",
            SECONDS,
            probes(TOGETHER),
            _plain(),
            "autograd, torch.optim.Adam, one",
            target=Target("ratio", TOGETHER / 2),
            note=f"{SCALED}; {TOGETHER / 2:g} times as fast each means that {TOGETHER} cost twice one",
        ),
        Row(
            GROUP,
            f"{probe}, {TOGETHER} together, each, beside ours alone",
            SECONDS,
            probes(TOGETHER),
            probes(1),
            "ours, one alone",
            note=f"{SCALED}; a ratio of r means that {TOGETHER} together cost {TOGETHER} / r of one of ours",
        ),
        Row(GROUP, epoch, MILLISECONDS, probes(1, per_epoch=True), _sgd(), "scikit-learn, SGDClassifier"),
        Row(
            GROUP,
            f"{epoch}, L-BFGS",
            MILLISECONDS,
            probes(1, per_epoch=True),
            _lbfgs(),
            "scikit-learn, LogisticRegression, an iteration",
        ),
        Row(
            GROUP,
            f"linear probe, {DIGITS:,} x {DIGITS_FEATURES}, {PROBE_EPOCHS} epochs",
            SECONDS,
            _small_probe(),
            note="all epochs timed",
        ),
        Row(
            GROUP,
            f"{K}-NN, {TEST:,} against {TRAIN:,} x {FEATURES}",
            IMAGES,
            neighbours(),
            _brute(),
            "scikit-learn, brute force",
            target=Target("limit", 0.4),
            values=_predictions,
        ),
        Row(GROUP, f"collapse diagnostics, {SAMPLE:,} x {FEATURES}", MILLISECONDS, _diagnostics()),
    )


def features(machine: Machine, train: int = TRAIN, test: int = TEST, size: int = FEATURES) -> Data:
    """Features of overlapping classes, as a ReLU network's, on the device."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (train + test,), generator=generator)
    basis = torch.randn(40, size, generator=generator)
    hidden = torch.randn(train + test, 40, generator=generator)
    hidden += torch.randn(CLASSES, 40, generator=generator)[labels]
    h = hidden @ basis
    h += torch.randn(train + test, size, generator=generator)
    h = h.relu_().div_(10).to(machine.device)
    return h[:train].clone(), labels[:train].to(machine.device), h[train:].clone()


def probes(count: int, per_epoch: bool = False) -> Setup:
    """Some probes trained together: a turn returns the share of a whole training of all, or the epochs, of one."""
    spec = LinearSettings(epochs=TIMED_EPOCHS)

    def setup(machine: Machine) -> Side:
        train, labels, _ = features(machine)
        chosen = [Probe(seed, spec) for seed in range(count)]
        work = count * TIMED_EPOCHS / (1 if per_epoch else PROBE_EPOCHS)

        def turn() -> float:
            train_probes(train, labels, CLASSES, chosen, order_seed=0)
            return work

        # an epoch of one: logits and weight gradients, and the features read once for all
        once = TIMED_EPOCHS / work
        operations, read = 4 * TRAIN * FEATURES * CLASSES * count * once, 4 * TRAIN * FEATURES * once
        return Side(turn, flops=operations, moved_bytes=read)

    return setup


def _small_probe() -> Setup:
    spec = LinearSettings()

    def setup(machine: Machine) -> Side:
        train, labels, _ = features(machine, DIGITS, 0, DIGITS_FEATURES)

        def turn() -> float:
            train_probes(train, labels, CLASSES, [Probe(0, spec)], order_seed=0)
            return 1.0

        return Side(turn)

    return setup


def _plain() -> Setup:
    spec = LinearSettings(epochs=TIMED_EPOCHS)
    return _on_training_features(
        lambda train, labels: plain_probe(train, labels, CLASSES, spec), TIMED_EPOCHS / PROBE_EPOCHS
    )


def _sgd() -> Setup:
    return _on_training_features(sgd_epoch, 1.0)


def _on_training_features(work: Callable[[Tensor, Tensor], object], amount: float) -> Setup:
    def setup(machine: Machine) -> Side:
        train, labels, _ = features(machine)

        def turn() -> float:
            work(train, labels)
            return amount

        return Side(turn)

    return setup


def _lbfgs() -> Setup:
    def setup(machine: Machine) -> Side:
        train, labels, _ = features(machine)
        return Side(lambda: float(logistic_iterations(train, labels, LBFGS_ITERATIONS)))

    return setup


def neighbours() -> Setup:
    """Exact k-NN of all test features; a turn returns their number."""

    def setup(machine: Machine) -> Side:
        train, labels, test = features(machine)

        def turn() -> float:
            knn_predict(train, labels, test, K)
            return float(len(test))

        return Side(turn, flops=2.0 * TRAIN * FEATURES)

    return setup


def _brute() -> Setup:
    def setup(machine: Machine) -> Side:
        train, labels, test = features(machine)
        model = brute_neighbours(train, labels, K)
        parts: Iterator[Tensor] = itertools.cycle(test.cpu().split(SKLEARN_TEST))  # type: ignore[no-untyped-call]

        def turn() -> float:
            part = next(parts)
            model.predict(part.numpy())
            return float(len(part))

        return Side(turn)

    return setup


def _predictions(machine: Machine) -> tuple[Tensor, Tensor]:
    """Of a few test images, by both sides: whole numbers, as float32."""
    train, labels, test = features(machine)
    model = brute_neighbours(train, labels, K)
    ours = knn_predict(train, labels, test[:SKLEARN_TEST], K)
    theirs = torch.from_numpy(model.predict(test[:SKLEARN_TEST].numpy(force=True)))
    return ours.cpu().float(), theirs.float()


def _diagnostics() -> Setup:
    def setup(machine: Machine) -> Side:
        sample = features(machine)[0][:SAMPLE]

        def turn() -> float:
            diagnose(sample, views=(sample, sample))
            return 1.0

        return Side(turn)

    return setup
