"""The questions that may be asked of an encoder, a file each. Owns their contract; imports no torch.

A file of this folder ends with `PROBE = ProbeEntry(...)`; `harness.registry` finds it, and those from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.spec.identity import Frozen

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """One number of a probe."""

    name: str
    """Such as `top1`: a suite's `knn5` with this metric is `knn5_top1`."""
    title: str
    """As tables head it."""


@dataclass(frozen=True)
class Labelled:
    """Features of one split and their labels."""

    features: Tensor
    """(N, F) float32."""
    labels: Tensor
    """(N,) int64 in [0, classes), on any device."""


@dataclass
class Answer:
    """What a probe found."""

    hits: dict[str, Tensor] = field(default_factory=dict)
    """Per metric, (M,) bool: whether each scored image is right, in their order. The metric is their mean, in per
    cent."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else there is to say, as JSON holds it."""


Run = Callable[[Any, Labelled, Labelled, int, int], Answer]
"""(settings, train, scored, classes, seed) -> answer."""


@dataclass(frozen=True)
class ProbeEntry:
    """A probe as suites and evaluation find it."""

    name: str
    """As written in a suite."""
    summary: str
    """One line for `harness list probes`."""
    settings: type[Frozen]
    metrics: Callable[[Any, int | None], tuple[Metric, ...]]
    """(settings, number of classes or None where it is not known) -> what it measures, the first above all."""
    run: Run
    """Imports torch when it is called."""
    draws: bool = False
    """Whether anything in it is drawn: if not, one evaluation serves all seeds."""
    needed_images: Callable[[Any], int] = lambda settings: 1
    """(settings) -> the fewest training images it works with."""
