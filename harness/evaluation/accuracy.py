"""Accuracies, and what goes with them. Owns the formulas of top-k, of the mean over classes and of each class; imports
no torch before something is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.spec.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

TOP1 = "top1"
BALANCED = "balanced"
TOP5_CLASSES = 5  # with so many classes or fewer top-5 is 100 whatever the features are


def top_metrics(title: str, classes: int | None) -> tuple[Metric, ...]:
    """Top-1 and, of more than five classes, top-5."""
    top5 = (Metric("top5", f"{title} top-5"),) if classes is None or classes > TOP5_CLASSES else ()
    return (Metric(TOP1, f"{title} top-1"), *top5)


def top_hits(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The hits of `top_metrics`, of logits (M, C) and labels (M,)."""
    hits = {TOP1: logits.argmax(1) == labels}
    if logits.shape[1] > TOP5_CLASSES:
        hits["top5"] = (logits.topk(5, 1).indices == labels[:, None]).any(1)
    return hits


def balanced(metric: Metric) -> Metric:
    """The mean over classes that goes with a top-1 accuracy."""
    return Metric(BALANCED, f"{metric.title}, balanced")


def class_recalls(hits: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64], classes: int) -> list[float | None]:
    """Share of each class's images (M,) that are right, in per cent; None for a class without images."""
    images = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[hits], minlength=classes)
    return [100.0 * float(r) / float(n) if n else None for r, n in zip(right, images, strict=True)]


def balanced_accuracy(recalls: Sequence[float | None]) -> float:
    """Mean of the recalls of the classes that have images."""
    return float(np.mean([recall for recall in recalls if recall is not None]))
