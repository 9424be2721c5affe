"""The two units of work and what they are made of: a pretraining makes one encoder, an evaluation asks it one question.

Only science is in these models: what can change the numbers. Where, when, from which path and under which label work is
done is never part of an identity; a name stands in it only where the content that it names is not known.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from harness.spec.identity import Frozen, canonical, digest, identity_fields

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["float32", "bfloat16", "float16"]
ScoredSplit = Literal["test", "validation"]


class Source(Frozen):
    """Which images, by content."""

    name: str
    """The dataset they are found under. Not part of the identity where the content is known."""
    splits: tuple[str, ...]
    """Its splits, one behind the other. Likewise."""
    images: tuple[Sha, ...] | None = None
    """A fingerprint a split: SHA-256 of the stored images in the order of their index. None where it is not known."""
    labels: tuple[Sha, ...] | None = None
    """The same of the labels; None where it is not known, or where nothing reads them."""
    train_images: PositiveInt | None = None
    """Only this many of the training images, drawn once (stratified by label, the same for every seed); None: all."""
    validation_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Fraction of the labelled training images that is held out, drawn once, to tune on."""

    @property
    def known(self) -> bool:
        """Whether it stands for content, not for a name."""
        return self.images is not None

    def identity(self) -> dict[str, Any]:
        """Its fields, without name and splits where the content is known."""
        fields = identity_fields(self)
        return {key: value for key, value in fields.items() if not (self.known and key in ("name", "splits"))}


def check_channels(channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """ValueError unless there is one mean and one standard deviation a channel."""
    if not len(mean) == len(std) == channels:
        raise ValueError(
            f"mean has {len(mean)} values and std {len(std)}, but channels is {channels}: give one of each per channel"
        )


class Input(Frozen):
    """What an encoder eats. Belongs to the encoder: whoever evaluates it, on whatever images, feeds it so."""

    size: PositiveInt
    """Side in pixels of every training view and evaluation image."""
    channels: Literal[1, 3]
    """Colour channels of the images, and of the encoder's first convolution."""
    mean: tuple[float, ...]
    """Per-channel mean subtracted from pixels in [0, 1]."""
    std: tuple[PositiveFloat, ...]
    """Per-channel standard deviation pixels are divided by."""

    @model_validator(mode="after")
    def _one_a_channel(self) -> Input:
        check_channels(self.channels, self.mean, self.std)
        return self


class Backbone(Frozen):
    """The encoder E: a timm model, or one of your own."""

    name: str = "resnet18"
    """A timm model name, or one of `harness list backbones`."""
    stem: Literal["small", "small_max_pool", "standard"] = "standard"
    """ResNets: 3x3 stride-1 first convolution without max-pool (CIFAR) or with it (STL-10, Tiny ImageNet), or the
    model's own stem. Other families take `standard`."""
    width: PositiveInt | None = None
    """ResNets: channels of the first stage; the next three have 2, 4 and 8 times as many. None keeps the model's."""
    zero_init_last: bool = False
    """ResNets: initialise the last BN scale of each residual block to zero. torchvision and the W-MSE paper do not."""
    options: dict[str, bool | int | float | str] = Field(default={})
    """Further keyword arguments of `timm.create_model`, such as `patch_size`, or of your own; no paths."""
    weights: Sha | None = None
    """SHA-256 of the file of weights that it begins with; None: random ones, drawn with the seed."""


class Augmentation(Frozen):
    """The random pipeline each view is drawn from: colour jitter, greyscale, random resized crop (bicubic), horizontal
    flip, Gaussian blur, solarise, in one of two orders."""

    order: Literal["jitter_crop", "crop_jitter"] = Field(
        default="jitter_crop", json_schema_extra={"neutral": "jitter_crop"}
    )
    """`jitter_crop`: jitter, greyscale, crop, flip, blur, solarise; jitter acts on the full image (W-MSE's released
    code). `crop_jitter`: crop, flip, jitter, greyscale, blur, solarise; jitter acts on the view, and its contrast is
    about the view's mean (SimCLR, BYOL, VICReg). What is drawn is the same in both."""

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
    def _ordered(self) -> Augmentation:
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is a range, from {low:g} to {high:g}: write the smaller one first")
        return self


class Optimiser(Frozen):
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


class Schedule(Frozen):
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


class WeightDecaySchedule(Frozen):
    """Weight decay over training, from `optimiser.weight_decay` at the first step to another value, in every group of
    parameters that has any."""

    name: Literal["cosine"] = "cosine"
    """Half a cosine over all steps (DINO)."""
    final: NonNegative
    """What it tends to at the end; above or below the first."""


class Views(Frozen):
    """A further group of views of each image, of a size and an augmentation of its own."""

    count: PositiveInt
    """Views of each image."""
    size: PositiveInt | None = None
    """Side in pixels; None: the input's size."""
    augmentation: Augmentation


class TrainingSpec(Frozen):
    """How an encoder is trained: on which views, with which optimiser, for how long."""

    views: PositiveInt
    """Number of positives d: augmented views of each image in a batch; the first group, of the input's size."""
    augmentation: Augmentation
    more_views: tuple[Views, ...] = Field(default=(), json_schema_extra={"neutral": []})
    """Further groups: BYOL's asymmetric pair is 1 + 1, SwAV's multi-crop 2 + 6."""
    optimiser: Optimiser
    schedule: Schedule
    weight_decay_schedule: WeightDecaySchedule | None = Field(default=None, json_schema_extra={"neutral": None})
    """None: `optimiser.weight_decay` throughout."""
    clip: PositiveFloat | None = Field(default=None, json_schema_extra={"neutral": None})
    """The largest norm of a step's whole gradient, over all parameters, to which a larger one is scaled down; None: as
    it comes."""
    epochs: PositiveInt
    batch_size: PositiveInt
    """Images in a batch; the encoder sees `views` times as many."""
    precision: Precision
    """Autocast type of encoder and head; whitening and losses are float32 whatever it is."""

    @property
    def view_groups(self) -> tuple[Views, ...]:
        """Every group of views, the first one included."""
        return (Views(count=self.views, augmentation=self.augmentation), *self.more_views)

    @property
    def all_views(self) -> int:
        """Views of each image in all groups."""
        return sum(group.count for group in self.view_groups)


class Pretraining(Frozen):
    """What makes one encoder."""

    method: str
    """A method of `harness list methods`."""
    settings: dict[str, Any]
    """The method's own settings, every default written out but neutral ones; validated by the method's model."""
    input: Input
    source: Source | None
    """The images it trains on; None where nothing is trained."""
    backbone: Backbone | None
    """None where the normalised image itself is what is evaluated."""
    training: TrainingSpec | None
    """None: untrained, given weights, pixels."""
    seed: Annotated[int, Field(ge=0)] | None
    """Of weights, order, views and everything else that is drawn; None where nothing is."""

    @property
    def canonical(self) -> str:
        """What its id is the hash of."""
        return canonical("pretraining", self)

    @cached_property
    def id(self) -> str:
        """The same for equal science, whatever names, paths and devices are."""
        return digest(self.canonical)


class Transform(Frozen):
    """How evaluation images become the encoder's input: resized, cropped at the centre, normalised as in training."""

    resize: PositiveInt | None = None
    """Side in pixels to which the shorter edge is resized (bicubic) before the centre crop to the input's size; None
    resizes straight to that size where it differs."""


class Question(Frozen):
    """A probe on frozen encoder features h: eval mode, no augmentation, not normalised, extracted once."""

    probe: str
    """One of `harness list probes`."""
    settings: dict[str, Any]
    """The probe's own settings, every default written out but neutral ones."""
    train: Source
    """The images that the probe is fitted on."""
    scored: Source
    """The images that it is scored on."""
    split: ScoredSplit
    """Whether those are a test split, or the validation part that `scored` holds out."""
    label_fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """The probe sees only this fraction of its training labels: one draw a seed, the same for all rows; None: all."""
    transform: Transform
    precision: Precision
    """Autocast type of the encoder while features are extracted."""
    seed: Annotated[int, Field(ge=0)] | None
    """Of the probe's weights, its order of images, the labels drawn; None where nothing is drawn."""

    @property
    def canonical(self) -> str:
        """What its id is the hash of."""
        return canonical(type(self).__name__.lower(), self)

    @cached_property
    def id(self) -> str:
        """The same for equal science, whatever it is called."""
        return digest(self.canonical)


class Evaluation(Question):
    """One question asked of one encoder."""

    pretraining: str
    """Id of the encoder's pretraining."""


class Monitor(Question):
    """A question asked during training, for the curve. It never changes the training, and is in no pretraining's id."""

    every_epochs: PositiveInt
    """After every so many epochs; the last epoch is the evaluations'."""


class Cell(Frozen):
    """A row of a suite at one seed: a pretraining with its evaluations and monitors."""

    seed: Annotated[int, Field(ge=0)]
    dataset: str
    """The name of the dataset that it stands under in tables."""
    pretraining: Pretraining
    evaluations: dict[str, Evaluation]
    """By the names that the suite gives them: a metric is called NAME_METRIC, such as `knn5_top1`."""
    monitors: dict[str, Monitor] = Field(default={})

    @cached_property
    def id(self) -> str:
        """Of its seed, pretraining, evaluations and monitors together, whatever they are called."""
        asked = sorted(question.id for question in (*self.evaluations.values(), *self.monitors.values()))
        return digest("\n".join(["cell", str(self.seed), self.pretraining.id, *asked]))

    @property
    def method(self) -> str:
        return self.pretraining.method

    @property
    def training(self) -> TrainingSpec | None:
        return self.pretraining.training
