"""What a representation is worth: the accuracies of a cell's evaluation. Owns metric names, hits and the checks of what
comes in; never extracts features, and never sees an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harness.evaluation.knn import knn_predict
from harness.evaluation.lbfgs import lbfgs_predict
from harness.evaluation.linear import Probe, train_probes
from harness.suite.cell import EvaluationSpec, LinearSpec


@dataclass(frozen=True)
class Labelled:
    """Features of one split and their labels."""

    features: Tensor
    """(N, F) float32."""
    labels: Tensor
    """(N,) int64 in [0, classes), on any device."""


@dataclass
class Evaluation:
    """Accuracies in per cent, and what they are made of."""

    metrics: dict[str, float] = field(default_factory=dict)
    hits: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Per metric, whether each test image is right, in their order."""
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, hits: Tensor) -> None:
        """Record a metric from its hits (M,)."""
        self.hits[name] = hits.cpu().numpy()
        self.metrics[name] = 100.0 * float(self.hits[name].mean())


def evaluate(probe: Labelled, test: Labelled, spec: EvaluationSpec, classes: int, seed: int) -> Evaluation:
    """Fit on `probe`, score on `test`: knn<k>_top1, linear_top1, linear_top5 (with more than 5 classes: else it is
    100 whatever the features), lbfgs_top1 with `lbfgs_converged` and `lbfgs_iterations` among the diagnostics.

    Args:
        seed: of the linear probe's initial weights and order of images.

    Raises:
        ValueError: labels outside [0, classes), features that are not finite, an empty split, or k too large.
    """
    _check("probe", probe, classes)
    _check("evaluation", test, classes)
    device = probe.features.device
    labels, truth = probe.labels.to(device), test.labels.to(device)
    outcome = Evaluation()
    if spec.knn is not None:
        predictions = knn_predict(probe.features, labels, test.features, spec.knn.k)
        outcome.add(f"knn{spec.knn.k}_top1", predictions == truth)
    if spec.linear is not None:
        logits = linear_logits(probe.features, labels, test.features, spec.linear, classes, seed)
        outcome.add("linear_top1", logits.argmax(1) == truth)
        if classes > 5:
            outcome.add("linear_top5", (logits.topk(5, 1).indices == truth[:, None]).any(1))
    if spec.lbfgs is not None:
        fitted = lbfgs_predict(probe.features, labels, test.features, spec.lbfgs)
        outcome.add("lbfgs_top1", fitted.predictions == truth.cpu())
        outcome.diagnostics |= {"lbfgs_converged": fitted.converged, "lbfgs_iterations": fitted.iterations}
    return outcome


def linear_logits(features: Tensor, labels: Tensor, test: Tensor, spec: LinearSpec, classes: int, seed: int) -> Tensor:
    """Logits (M, C) of one linear probe on test features (M, F)."""
    weights = train_probes(features, labels, classes, [Probe(seed, spec)], order_seed=seed)
    return weights.logits(test)[0]


def _check(name: str, split: Labelled, classes: int) -> None:
    if len(split.labels) == 0:
        raise ValueError(f"the {name} split has no images")
    if len(split.labels) != len(split.features):
        raise ValueError(f"the {name} split has {len(split.features)} feature rows for {len(split.labels)} labels")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0:
        count = int((split.labels < 0).sum())
        raise ValueError(
            f"{count} of {len(split.labels)} images of the {name} split are unlabelled: give it only labelled images"
        )
    if high >= classes:
        raise ValueError(f"the {name} split has label {high}, and the dataset {classes} classes (0 to {classes - 1})")
    broken = int((~split.features.isfinite().all(1)).sum())
    if broken:
        raise ValueError(
            f"features of {broken} of {len(split.features)} images of the {name} split are not finite: "
            "the encoder has diverged; lower the learning rate or use float32"
        )
