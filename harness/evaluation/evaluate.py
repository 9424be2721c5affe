"""What a representation is worth: one question's answer as numbers. Owns the checks of what comes in and the mean of
the hits; never extracts features, and never sees an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.evaluation.probes import Labelled, ProbeEntry


@dataclass
class Scores:
    """Accuracies in per cent, and what they are made of."""

    metrics: dict[str, float] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    hits: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Per metric, whether each scored image is right, in their order."""
    details: dict[str, Any] = field(default_factory=dict)


def score(
    probe: ProbeEntry, settings: dict[str, Any], train: Labelled, scored: Labelled, classes: int, seed: int
) -> Scores:
    """Fit a probe on `train`, score it on `scored`.

    Args:
        settings: the probe's own, as a spec holds them.
        seed: of all that the probe draws.

    Raises:
        ValueError: labels outside [0, classes), features that are not finite, an empty split, or what the probe itself
            refuses.
        TypeError: the probe answers otherwise than `Answer` says.
    """
    _check("training", train, classes)
    _check("scored", scored, classes)
    model = probe.settings.model_validate(settings)
    answer = probe.run(model, train, scored, classes, seed)
    hits = {name: _booleans(probe.name, name, found, len(scored.labels)) for name, found in answer.hits.items()}
    titles = {metric.name: metric.title for metric in probe.metrics(model, classes) if metric.name in hits}
    return Scores({name: 100.0 * float(found.mean()) for name, found in hits.items()}, titles, hits, answer.details)


def _booleans(probe: str, metric: str, found: Any, images: int) -> npt.NDArray[np.bool_]:
    """(M,) hits as numpy has them."""
    if not isinstance(found, Tensor) or found.dtype != torch.bool or found.shape != (images,):
        what = f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise TypeError(
            f"the probe {probe} gives {what} as the hits of {metric}: return a bool tensor of shape ({images},), "
            "whether each scored image is right"
        )
    array: npt.NDArray[np.bool_] = found.cpu().numpy()
    return array


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
