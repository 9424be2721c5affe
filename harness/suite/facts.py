"""What a suite's text does not say, as protocols: the extensions it names, and the content of the files it reads.

Whatever has these attributes will do; this room imports neither the methods nor the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from harness.data.facts import DatasetFacts
from harness.spec.metric import Metric
from harness.spec.models import Backbone, Input


class SettingsLike(Protocol):
    """A method's settings that can say why they do not work."""

    def problem(self, views: int, batch_size: int) -> str | None:
        """Why the method cannot run so, and what to change; None if it can."""


class MethodLike(Protocol):
    """A method, as far as a suite is concerned."""

    @property
    def name(self) -> str:
        """As written in a suite."""

    @property
    def summary(self) -> str:
        """One line."""

    @property
    def settings(self) -> type[BaseModel]:
        """The model of its settings; its instances are `SettingsLike`."""

    @property
    def kind(self) -> Literal["method", "control"]: ...

    @property
    def min_views(self) -> int:
        """Fewest views d that the method works with."""

    @property
    def trains(self) -> bool:
        """Whether it trains an encoder."""

    @property
    def represents(self) -> Literal["encoder", "pixels"]:
        """What is evaluated."""

    @property
    def reads_labels(self) -> bool:
        """Whether training reads the labels."""

    @property
    def needs_weights(self) -> bool:
        """Whether there is nothing to evaluate without `backbone.weights`."""


class ProbeLike(Protocol):
    """A probe, as far as a suite is concerned."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def settings(self) -> type[BaseModel]: ...
    @property
    def draws(self) -> bool:
        """Whether anything in it is drawn."""

    def all_metrics(self, settings: Any, classes: int | None, /) -> tuple[Metric, ...]: ...
    def needed_images(self, settings: Any, /) -> int: ...


class DatasetLike(Protocol):
    """A dataset, as far as a suite is concerned."""

    @property
    def name(self) -> str:
        """As written in a suite."""

    @property
    def channels(self) -> Any:
        """1 or 3."""

    @property
    def image_size(self) -> int:
        """Side in pixels of training views in the protocol."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of pixels in [0, 1]."""

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel."""

    @property
    def eval_resize(self) -> int | None:
        """Shorter edge before the evaluation's centre crop."""

    @property
    def pretrain(self) -> tuple[str, ...]:
        """Splits that methods are trained on."""


@dataclass(frozen=True)
class Catalogue:
    """The extensions that a suite may name."""

    methods: Mapping[str, MethodLike]
    probes: Mapping[str, ProbeLike]
    datasets: Mapping[str, DatasetLike]
    backbones: Mapping[str, object] = field(default_factory=dict)
    """Those beside timm's."""

    @property
    def controls(self) -> frozenset[str]:
        """Names of methods that are there to be compared with."""
        return frozenset(name for name, entry in self.methods.items() if entry.kind == "control")


class WeightsMissing(ValueError):
    """A file of weights that is not there, or cannot be read."""


class Facts(Protocol):
    """The content of what a suite names."""

    def dataset(self, name: str) -> DatasetFacts:
        """Splits with their sizes and fingerprints, as far as known, and whether the images are on this machine."""

    def weights(self, path: str) -> str:
        """SHA-256 of a file of weights. WeightsMissing if it cannot be read."""

    def backbone_problem(self, backbone: Backbone, encoder_input: Input) -> str | None:
        """Why an encoder cannot be built for such an input; None if it can, or nobody has tried."""
