"""The unit of work: one training run and its evaluation, fully resolved and frozen.

Owns the models of a cell and its identity. Only science is in a cell: what can change the numbers. Where, when and
under which label it runs is never part of it. This module knows nothing of torch, files or suites.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

SCHEMA_VERSION = 1
ID_LENGTH = 20  # hexadecimal digits kept of the SHA-256: 80 bits

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class Frozen(BaseModel):
    """Base of everything that is passed around: immutable, no unknown keys, no NaN, fields documented in place."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class DatasetSpec(Frozen):
    """Which images, in which size, normalised how."""

    name: str
    """A dataset of `harness list datasets`."""
    fingerprint: str | None = None
    """SHA-256 of the packed pixels and labels; filled in from the local copy, None where there is none."""
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
    def _consistent(self) -> DatasetSpec:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"mean has {len(self.mean)} values and std {len(self.std)}, but channels is {self.channels}: "
                "give one of each per channel"
            )
        if self.eval_resize is not None and self.eval_resize < self.image_size:
            raise ValueError(
                f"eval_resize {self.eval_resize} is smaller than the crop, image_size {self.image_size}: "
                "make it at least as large, or null"
            )
        return self


class BackboneSpec(Frozen):
    """The encoder E: a timm model, trained from scratch."""

    name: str = "resnet18"
    """A timm model name."""
    stem: Literal["small", "small_max_pool", "standard"] = "standard"
    """ResNets: 3x3 stride-1 first convolution without max-pool (CIFAR) or with it (STL-10, Tiny ImageNet), or the
    model's own stem. Other families take `standard`."""
    width: PositiveInt | None = None
    """ResNets: channels of the first stage; the next three have 2, 4 and 8 times as many. None keeps the model's."""
    zero_init_last: bool = False
    """ResNets: initialise the last BN scale of each residual block to zero. torchvision and the W-MSE paper do not."""
    options: dict[str, bool | int | float | str] = {}
    """Further keyword arguments of `timm.create_model`, such as `patch_size`."""


class AugmentationSpec(Frozen):
    """The random pipeline each view is drawn from, in this order: colour jitter, greyscale, random resized crop
    (bicubic), horizontal flip, Gaussian blur, solarise. Colour jitter acts on the full image, before the crop (W-MSE,
    released code)."""

    brightness: NonNegative = 0.4
    """Jitter factor drawn from U(max(0, 1 - x), 1 + x)."""
    contrast: NonNegative = 0.4
    """Jitter factor drawn from U(max(0, 1 - x), 1 + x)."""
    saturation: NonNegative = 0.4
    """Jitter factor drawn from U(max(0, 1 - x), 1 + x)."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    """Hue shift drawn from U(-x, x), in turns of the colour circle."""
    jitter_probability: Probability = 0.8
    greyscale_probability: Probability = 0.1
    crop_scale: tuple[Probability, Probability] = (0.2, 1.0)
    """Range of the crop's share of the image area."""
    crop_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    """Range of the crop's width over height, drawn log-uniformly."""
    flip_probability: Probability = 0.5
    blur_probability: Probability = 0.0
    blur_sigma: tuple[PositiveFloat, PositiveFloat] = (0.1, 2.0)
    """Standard deviation of the Gaussian blur in pixels, drawn uniformly."""
    solarise_probability: Probability = 0.0
    solarise_threshold: Probability = 0.5
    """Pixels at or above this value are inverted."""

    @model_validator(mode="after")
    def _ordered(self) -> AugmentationSpec:
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is a range, from {low:g} to {high:g}: write the smaller one first")
        return self


class OptimiserSpec(Frozen):
    """How weights are updated. The learning rate is used as written: never scaled by batch or device count."""

    name: Literal["adam", "adamw", "sgd", "lars"] = "adam"
    """Adam's weight decay is coupled (L2), AdamW's decoupled."""
    lr: PositiveFloat = 3e-3
    weight_decay: NonNegative = 1e-6
    decay_bias_and_norm: bool = True
    """Whether weight decay (and the layer-wise rate of LARS) also applies to biases and normalisation parameters."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """SGD and LARS."""
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    """Adam and AdamW."""
    eps: PositiveFloat = 1e-8
    """Adam and AdamW."""
    trust_coefficient: PositiveFloat = 1e-3
    """LARS."""


class ScheduleSpec(Frozen):
    """Learning rate over training: linear warm-up ((i + 1) / warmup_steps of the rate at step i), then one of three
    shapes."""

    name: Literal["step", "cosine", "constant"] = "step"
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    """Optimiser steps."""
    drops: tuple[PositiveInt, ...] = (50, 25)
    """`step`: the rate is multiplied by `drop_factor` so many epochs before the end. Drops that a run is too short for
    do not happen."""
    drop_factor: PositiveFloat = 0.2
    final_fraction: Probability = 0.0
    """`cosine`: the rate at the end, as a fraction of the peak."""


class KnnSpec(Frozen):
    """k nearest neighbours, Euclidean on raw features, unweighted majority, a tie goes to the smallest label."""

    k: PositiveInt = 5
    every_epochs: Annotated[int, Field(ge=0)] = 0
    """During training, evaluate after every so many epochs (a curve, on the evaluation split); 0 only at the end."""


class LinearSpec(Frozen):
    """Linear probe: one layer, cross-entropy, Adam, exponential decay per epoch, the last epoch's accuracy."""

    epochs: PositiveInt = 500
    batch_size: PositiveInt = 1000
    lr: PositiveFloat = 1e-2
    final_lr: PositiveFloat = 1e-6
    weight_decay: NonNegative = 5e-6


class LbfgsSpec(Frozen):
    """Multinomial logistic regression by L-BFGS (scikit-learn), a second linear probe."""

    c: PositiveFloat = 1.0
    """Inverse strength of the L2 penalty."""
    max_iterations: PositiveInt = 1000


class CollapseSpec(Frozen):
    """Diagnostics on a fixed clean sample of the train split, and the rule that flags a run as collapsed."""

    sample_images: PositiveInt = 2048
    min_std: NonNegative = 0.1
    """Collapsed if the mean per-dimension std of the L2-normalised features, times sqrt(D), is below this."""
    min_rank_fraction: Probability = 0.05
    """Collapsed if RankMe is below this fraction of D."""
    consecutive: PositiveInt = 3
    """So many evaluations in a row, or all of them if a run has fewer."""


class EvaluationSpec(Frozen):
    """What is measured, on frozen encoder features h: eval mode, no augmentation, not normalised, extracted once."""

    split: Literal["test", "validation"] = "test"
    knn: KnnSpec | None = KnnSpec()
    linear: LinearSpec | None = LinearSpec()
    lbfgs: LbfgsSpec | None = None
    collapse: CollapseSpec = CollapseSpec()


class Cell(Frozen):
    """One training run and its evaluation. Fields that the method does not use are None (an untrained encoder has no
    optimiser), so that no run is done twice under two names."""

    schema_version: Literal[1] = 1
    method: str
    """A method of `harness list methods`."""
    settings: dict[str, Any]
    """The method's own settings, every default written out; validated by the method's model."""
    views: PositiveInt | None
    """Number of positives d: augmented views of each image in a batch."""
    dataset: DatasetSpec
    backbone: BackboneSpec | None
    augmentation: AugmentationSpec | None
    optimiser: OptimiserSpec | None
    schedule: ScheduleSpec | None
    epochs: PositiveInt | None
    batch_size: PositiveInt | None
    """Images in a batch; the encoder sees `views` times as many."""
    data_parallel_width: Literal[1] = 1
    """Devices one batch is spread over; BN statistics and sub-batches depend on it, so it is part of the science."""
    precision: Literal["float32", "bfloat16", "float16"]
    """Autocast type of encoder and head; whitening and losses are float32 whatever it is."""
    seed: Annotated[int, Field(ge=0)]
    evaluation: EvaluationSpec

    @model_validator(mode="after")
    def _has_its_split(self) -> Cell:
        if self.evaluation.split == "validation" and self.dataset.validation_fraction == 0.0:
            raise ValueError(
                "evaluation.split is `validation`, but nothing is held out: set dataset.validation_fraction to 0.1, say"
            )
        return self

    def canonical(self) -> str:
        """The cell as JSON with sorted keys and no spaces: equal cells give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def id(self) -> str:
        """First digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:ID_LENGTH]
