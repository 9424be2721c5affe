"""What a suite may say of its cells, as one flat model: the words of the YAML, with every default.

The specs (`harness.spec`) are made of it by `assemble.py`. Fields that a method does not use are None here: an encoder
that is not trained has no optimiser.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from harness.spec.identity import Frozen
from harness.spec.models import (
    Augmentation,
    Backbone,
    Input,
    Optimiser,
    Precision,
    Schedule,
    ScoredSplit,
    Views,
    WeightDecaySchedule,
    check_channels,
)

NEEDED_TRAINING_FIELDS = ("views", "augmentation", "optimiser", "schedule", "epochs", "batch_size")
"""What is trained must have them."""
TRAINING_FIELDS = (*NEEDED_TRAINING_FIELDS, "more_views", "weight_decay_schedule", "clip")
"""Of no use to what is not trained."""


class DatasetFields(Frozen):
    """Which images, in which size, normalised how."""

    name: str
    """A dataset of `harness list datasets`."""
    image_size: PositiveInt
    """Side in pixels of every training view and evaluation image."""
    channels: Literal[1, 3]
    """Colour channels of the images, and of the encoder's first convolution."""
    mean: tuple[float, ...]
    """Per-channel mean subtracted from pixels in [0, 1]."""
    std: tuple[PositiveFloat, ...]
    """Per-channel standard deviation pixels are divided by."""
    eval_resize: PositiveInt | None = None
    """Side in pixels to which the shorter edge is resized (bicubic) for evaluation, before the centre crop to
    `image_size`; None resizes straight to `image_size` where the size differs."""
    train_images: PositiveInt | None = None
    """Use only this many training images, drawn once (stratified by label, the same for every seed); None uses all."""
    validation_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Fraction of the training images held out of pretraining and probes, drawn once, to tune on."""

    @model_validator(mode="after")
    def _consistent(self) -> DatasetFields:
        check_channels(self.channels, self.mean, self.std)
        if self.eval_resize is not None and self.eval_resize < self.image_size:
            raise ValueError(
                f"eval_resize {self.eval_resize} is smaller than the crop, image_size {self.image_size}: "
                "make it at least as large, or null"
            )
        return self

    def input(self) -> Input:
        """What an encoder of these images eats."""
        return Input(size=self.image_size, channels=self.channels, mean=self.mean, std=self.std)


class BackboneFields(Backbone):
    """The encoder, with its weights by their file."""

    weights: str | None = None  # a path, of which the spec has the checksum
    """A file of weights to begin with (safetensors, or a torch state dict); None: random ones."""


class EvaluationFields(Frozen):
    """One question asked of the encoder: a probe by name, with the probe's own settings beside these keys."""

    model_config = ConfigDict(extra="allow")

    probe: str
    """One of `harness list probes`."""
    dataset: str | None = None
    """Another dataset to fit and score the probe on (transfer); None: the cell's own."""
    label_fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Fit the probe on this fraction of the training labels; None: on all."""


class MonitorFields(EvaluationFields):
    """A question asked during training, for the curve."""

    every_epochs: PositiveInt = 20
    """After every so many epochs."""


class RowFields(Frozen):
    """Everything that a suite says of one cell."""

    method: str
    """A method of `harness list methods`."""
    settings: dict[str, Any]
    """The method's own settings."""
    views: PositiveInt | None
    """Number of positives d: augmented views of each image in a batch."""
    more_views: tuple[Views, ...] | None = ()
    """Further groups of views, each `{count: 6, size: 96, augmentation: {...}}`: what a group does not say of its
    augmentation is as in `augmentation`."""
    dataset: DatasetFields
    backbone: BackboneFields | None
    augmentation: Augmentation | None
    optimiser: Optimiser | None
    schedule: Schedule | None
    weight_decay_schedule: WeightDecaySchedule | None = None
    """Null: `optimiser.weight_decay` throughout."""
    clip: PositiveFloat | None = None
    """The largest norm of a step's whole gradient, to which a larger one is scaled down; null: as it comes."""
    epochs: PositiveInt | None
    batch_size: PositiveInt | None
    """Images in a batch; the encoder sees `views` times as many."""
    precision: Precision
    """Autocast type of encoder and head; whitening and losses are float32 whatever it is."""
    seed: Annotated[int, Field(ge=0)]
    split: ScoredSplit
    """What evaluations and monitors are scored on: the test split, or the validation part of the training images."""
    evaluations: dict[str, EvaluationFields | None]
    """Name -> question asked of the trained encoder; its metrics are called NAME_METRIC. Null takes one out. `knn5`
    with another k is called after that k."""
    monitors: dict[str, MonitorFields | None]
    """Name -> question asked during training, for the curve."""

    @model_validator(mode="after")
    def _has_its_split(self) -> RowFields:
        if self.split == "validation" and self.dataset.validation_fraction == 0.0:
            raise ValueError(
                "split is `validation`, but nothing is held out: set dataset.validation_fraction to 0.1, say"
            )
        return self
