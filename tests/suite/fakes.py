"""A small catalogue without torch, and facts as a test wants them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from harness.data.facts import DatasetFacts, SplitFacts
from harness.registry import all_probes
from harness.spec.models import Backbone, Input
from harness.suite.facts import Catalogue, DatasetLike, WeightsMissing


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    def problem(self, views: int, batch_size: int) -> str | None:
        return None


class Head(Settings):
    hidden: tuple[PositiveInt, ...] = (1024,)
    """Widths."""
    embedding: PositiveInt = 64


class Whitening(Settings):
    kind: Literal["whitening"] = "whitening"
    sub_batch_size: PositiveInt = 128
    slicing_iterations: PositiveInt = 1
    eps: float = 0.0


class Norm(Settings):
    kind: Literal["norm"] = "norm"
    affine: bool = True


Transform = Annotated[Whitening | Norm, Field(discriminator="kind")]


class WhitenSettings(Settings):
    head: Head = Head()
    transform: Transform | None = Whitening()

    def problem(self, views: int, batch_size: int) -> str | None:
        if isinstance(self.transform, Whitening) and batch_size % self.transform.sub_batch_size:
            return f"a batch of {batch_size} cannot be cut into slices of {self.transform.sub_batch_size}"
        return None


class ContrastSettings(Settings):
    head: Head = Head()
    transform: Transform | None = Norm()
    temperature: PositiveFloat = 0.5


class ChaseSettings(Settings):
    head: Head = Head()
    transform: Transform | None = None
    momentum: float = 0.99


class NoSettings(Settings):
    pass


@dataclass(frozen=True)
class Entry:
    name: str
    settings: type[Settings]
    min_views: int = 2
    trains: bool = True
    represents: Literal["encoder", "pixels"] = "encoder"
    reads_labels: bool = False
    needs_weights: bool = False
    kind: Literal["method", "control"] = "method"
    summary: str = "A method of these tests."


@dataclass(frozen=True)
class Info:
    name: str
    splits: Mapping[str, int]
    classes: int | None = 10
    channels: int = 3
    image_size: int = 32
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    eval_resize: int | None = None
    pretrain: tuple[str, ...] = ("train",)


METHODS = {
    entry.name: entry
    for entry in (
        Entry("whiten", WhitenSettings),
        Entry("contrast", ContrastSettings),
        Entry("chase", ChaseSettings),
        Entry("taught", NoSettings, 1, reads_labels=True, kind="control"),
        Entry("untrained", NoSettings, 1, trains=False, kind="control"),
        Entry("given", NoSettings, 1, trains=False, needs_weights=True, kind="control"),
        Entry("pixels", NoSettings, 1, trains=False, represents="pixels", kind="control"),
    )
}
DATASETS = {
    info.name: info
    for info in (
        Info("cifar", {"train": 50_000, "test": 10_000}),
        Info("stl", {"train": 5_000, "unlabeled": 100_000, "test": 8_000}, image_size=64, eval_resize=70,
             pretrain=("train", "unlabeled")),
        Info("grey", {"train": 1_000, "test": 100}, channels=1, image_size=8, mean=(0.3,), std=(0.4,)),
        Info("folder", {}, classes=None),
    )
}  # fmt: skip
CATALOGUE = Catalogue(METHODS, all_probes(), DATASETS)


def sha(text: str) -> str:
    """Stands for the content that a text names."""
    return hashlib.sha256(text.encode()).hexdigest()


class FakeFacts:
    """Every dataset is here, and the content of each split is known, unless it is said otherwise."""

    def __init__(
        self,
        datasets: Mapping[str, DatasetLike] = DATASETS,
        *,
        contents: Mapping[str, str] | None = None,
        counts: Mapping[str, int] | None = None,
        absent: Collection[str] = (),
        unknown: Collection[str] = (),
        weights: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            contents: "cifar train images" -> what stands for it, where not these words themselves.
            counts: "cifar train" -> number of images, where not the catalogue's.
            absent: datasets that are not on this machine.
            unknown: datasets of which only the name is known.
            weights: path -> content of the file; others are missing.
            refused: name of a backbone -> why it cannot be built.
        """
        self._datasets, self._contents, self._counts = datasets, contents or {}, counts or {}
        self._absent, self._unknown = absent, unknown
        self._weights, self._refused = weights or {}, refused or {}
        self.asked: list[tuple[Backbone, Input]] = []
        """Backbones asked about."""

    def dataset(self, name: str) -> DatasetFacts:
        info = self._datasets[name]
        published: Mapping[str, int] = getattr(info, "splits", {})
        splits = {split: self._split(name, split, published) for split in published or ("train", "test")}
        return DatasetFacts(name not in self._absent, splits, getattr(info, "classes", None))

    def _split(self, name: str, split: str, published: Mapping[str, int]) -> SplitFacts:
        count = self._counts.get(f"{name} {split}", published.get(split))
        if name in self._unknown:
            return SplitFacts(count, None, None)
        images, labels = (f"{name} {split} {kind}" for kind in ("images", "labels"))
        return SplitFacts(count, sha(self._contents.get(images, images)), sha(self._contents.get(labels, labels)))

    def weights(self, path: str) -> str:
        if path not in self._weights:
            raise WeightsMissing(f"backbone.weights: {path} cannot be read: No such file or directory")
        return sha(self._weights[path])

    def backbone_problem(self, backbone: Backbone, fed: Input) -> str | None:
        self.asked.append((backbone, fed))
        return self._refused.get(backbone.name)
