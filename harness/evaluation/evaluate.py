"""What a representation is worth: one question's answer as numbers. Owns the checks of what comes in and out, the mean
of the hits, and what each class has of it; never extracts features, and never sees an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.evaluation.accuracy import BALANCED, TOP1, balanced_accuracy, class_recalls
from harness.evaluation.probes import Answer, ProbeEntry
from harness.evaluation.split import PrivateEncoder, Split
from harness.spec.metric import PER_CENT, Metric


@dataclass
class Scores:
    """A question's answer."""

    values: dict[Metric, float] = field(default_factory=dict)
    """Each in its metric's unit, the probe's first metric first."""
    hits: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Per accuracy, whether each scored image is right, in their order."""
    recalls: list[float | None] = field(default_factory=list)
    """Of `top1`, in per cent, per class in the order of the labels; None for a class that has no scored image. Empty
    for a probe without that metric."""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """By their names."""
        return {metric.name: value for metric, value in self.values.items()}


def score(
    probe: ProbeEntry,
    settings: dict[str, Any],
    encoder: Callable[[], PrivateEncoder],
    train: Split,
    scored: Split,
    seed: int,
) -> Scores:
    """Fit a probe on `train`, score it on `scored`.

    Args:
        settings: the probe's own, as a spec holds them.
        encoder: gives a copy that the probe may train.
        seed: of all that the probe draws.

    Raises:
        ValueError: labels outside the classes, features or a value that are not finite, an empty split, or what the
            probe itself refuses.
        TypeError: the probe answers otherwise than it declares.
    """
    for split in (train, scored):
        _check(split)
    model, classes = probe.settings.model_validate(settings), len(scored.classes)
    answer = probe.run(model, encoder, train, scored, seed)
    declared = {metric.name: metric for metric in probe.metrics(model, classes)}
    _check_answer(probe.name, answer, declared)
    hits = {name: _booleans(probe.name, name, correct, len(scored)) for name, correct in answer.hits.items()}
    values = {name: 100.0 * float(correct.mean()) for name, correct in hits.items()} | answer.values
    recalls = class_recalls(hits[TOP1], scored.labels.numpy(), classes) if TOP1 in hits else []
    if recalls:
        values[BALANCED] = balanced_accuracy(recalls)
    measured = {m: float(values[m.name]) for m in probe.all_metrics(model, classes) if m.name in values}
    return Scores(measured, hits, recalls, answer.details)


def _check_answer(probe: str, answer: Answer, declared: dict[str, Metric]) -> None:
    """That it has every metric that is declared, once, and no other."""
    given = [*answer.hits, *answer.values]
    for name in declared:
        if given.count(name) != 1:
            said = "both as hits and as a value: give one" if name in given else "not: give it, or do not declare it"
            raise TypeError(f"the probe {probe} declares the metric {name} and gives it {said}")
    for name in given:
        if name not in declared:
            raise TypeError(f"the probe {probe} gives {name}, which is none of its metrics: declare it")
    for name in answer.hits:
        if declared[name].unit != PER_CENT or not declared[name].higher_is_better:
            raise TypeError(f"the probe {probe} gives hits of {name}: their mean is in %, the higher the better")
    for name, value in answer.values.items():
        if not math.isfinite(value):
            raise ValueError(f"the probe {probe} gives {value} as {name}: it has diverged, or the encoder has")


def _booleans(probe: str, metric: str, hits: Any, images: int) -> npt.NDArray[np.bool_]:
    """(M,) hits as numpy has them."""
    if not isinstance(hits, Tensor) or hits.dtype != torch.bool or hits.shape != (images,):
        what = f"{hits.dtype} of shape {tuple(hits.shape)}" if isinstance(hits, Tensor) else type(hits).__name__
        raise TypeError(
            f"the probe {probe} gives {what} as the hits of {metric}: return a bool tensor of shape ({images},), "
            "whether each scored image is right"
        )
    array: npt.NDArray[np.bool_] = hits.cpu().numpy()
    return array


def _check(split: Split) -> None:
    labels, classes = split.labels, len(split.classes)
    if len(labels) == 0:
        raise ValueError(f"the {split.role} split has no images")
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        count = int((labels < 0).sum())
        raise ValueError(
            f"{count} of {len(labels)} images of the {split.role} split are unlabelled: give it only labelled images"
        )
    if high >= classes:
        raise ValueError(
            f"the {split.role} split has label {high}, and the dataset {classes} classes (0 to {classes - 1})"
        )
