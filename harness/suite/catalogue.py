"""What expansion needs to know of methods and datasets, as protocols: whatever has these attributes will do.

The methods' own entries need torch, the datasets' live with the data; this room imports neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel


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
    def min_views(self) -> int:
        """Fewest views d that the method works with."""

    @property
    def unused(self) -> frozenset[str]:
        """Fields of a cell that it does not use."""


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
    def splits(self) -> Mapping[str, int]:
        """Images in each split; empty where unknown."""

    @property
    def pretrain(self) -> tuple[str, ...]:
        """Splits that methods are trained on."""


def pretrain_images(info: DatasetLike, validation_fraction: float) -> int | None:
    """Images to train on when a fraction of the labelled ones is held out; None where the sizes are unknown."""
    if not info.splits or any(split not in info.splits for split in info.pretrain):
        return None
    held_out = round(info.splits.get("train", 0) * validation_fraction)
    return sum(info.splits[split] for split in info.pretrain) - held_out
