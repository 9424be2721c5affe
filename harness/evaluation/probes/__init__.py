"""The questions that may be asked of an encoder, a file each. Owns their contract; imports no torch.

A file of this folder ends with `PROBE = ProbeEntry(...)`; `harness.registry` finds it, and those from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.evaluation.accuracy import TOP1, balanced
from harness.spec.identity import Frozen
from harness.spec.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from harness.evaluation.split import PrivateEncoder, Split

__all__ = ["Answer", "Metric", "ProbeEntry"]


@dataclass
class Answer:
    """What a probe found: each metric that it declares, among the hits or among the values."""

    hits: dict[str, Tensor] = field(default_factory=dict)
    """Per accuracy, (M,) bool: whether each scored image is right, in their order. The metric is their mean, in per
    cent; beside `top1` stands the mean over classes, `balanced`, and what each class has is stored."""
    values: dict[str, float] = field(default_factory=dict)
    """Any other number, in its metric's unit."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else there is to say, as JSON holds it."""


Run = Callable[[Any, "Callable[[], PrivateEncoder]", "Split", "Split", int], Answer]
"""(settings, encoder, train, scored, seed) -> answer. `encoder()` is a copy of the frozen encoder, which is the probe's
to train; a probe on features never calls it."""


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
    augments: bool = False
    """Whether it is fitted on augmented images: then the code that augments ages its answers."""
    needed_images: Callable[[Any], int] = lambda settings: 1
    """(settings) -> the fewest training images it works with."""
    called: Callable[[Any], str] | None = None
    """(settings) -> what results are called that no suite has named: `knn5`; None: the probe's name."""

    def all_metrics(self, settings: Any, classes: int | None) -> tuple[Metric, ...]:
        """Those that it declares and, last, the balanced accuracy that goes with a `top1`."""
        own = self.metrics(settings, classes)
        return (*own, *(balanced(metric) for metric in own if metric.name == TOP1))
