"""What one cell leaves behind. Owns the schema of `result.json`; never reads or writes it."""

from __future__ import annotations

import base64
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from harness.suite.cell import Cell, Frozen

RESULT_VERSION: Final = 1


class Cost(Frozen):
    """What the numbers cost, on the hardware named in the provenance."""

    train_seconds: float
    """Wall seconds in training, summed over interruptions, without evaluation."""
    evaluation_seconds: float
    """Wall seconds in feature extraction, probes, neighbours and diagnostics."""
    steps: int
    """Optimiser steps."""
    views_seen: int
    """Augmented images through the encoder that is trained."""
    views_per_second: float | None
    """views_seen / train_seconds."""
    peak_memory_bytes: int | None
    """CUDA: most memory allocated on the device during the cell. CPU: the process's largest resident set during it,
    libraries included; None where the system does not say."""
    encoder_flops_per_view: int | None
    """Floating-point operations of one forward pass of one view through the encoder (a multiply-add is two), by torch's
    counter."""
    train_flops: int | None = None
    """Of all optimiser steps: forward and backward passes of encoders, heads and loss, by torch's counter, which counts
    convolutions and matrix products; None where they could not be counted."""
    energy_joules: float | None = None
    """That the device (NVML) or the processor package (RAPL) took during training, whatever else ran on it; None where
    it does not tell, or where training was interrupted."""
    parameters: int
    """Trainable parameters of encoder, heads and predictor."""


class Provenance(Frozen):
    """Which code, libraries and machine made the numbers."""

    method_digest: str
    """Of the method's file, comments and docstrings left out."""
    shared_digest: str
    """Of the rooms every method shares (data, backbones, training, evaluation, the methods' parts), likewise."""
    commit: str | None
    dirty: bool | None
    """Whether the tracked files of the harness and the methods differed from the commit; None outside a checkout."""
    versions: dict[str, str]
    """python, torch, torchvision, timm, numpy, scikit-learn."""
    device: str
    threads: int
    host: str
    platform: str
    started: str
    """UTC, ISO 8601."""
    finished: str
    resumed: int
    """How often training was resumed from a checkpoint."""


class Failure(Frozen):
    """Why a cell has no metrics."""

    kind: str
    """Name of the exception."""
    message: str
    traceback: str
    epoch: int | None
    step: int | None
    """Last optimiser step begun."""


class CurvePoint(Frozen):
    """One reading during training."""

    epoch: int
    """Epochs completed."""
    step: int
    values: dict[str, float]
    """loss, lr, and at the evaluation's cadence knn5_top1 and the collapse diagnostics."""
    seconds: float | None = None
    """Wall seconds of training so far, without evaluation."""


class Sample(Frozen):
    """Features of some images of the evaluation split, for pictures: their leading principal components."""

    images: int
    dimensions: int
    components: str
    """(images, dimensions): base64 of little-endian float16, row by row, each component divided by the first one's
    standard deviation."""
    labels: tuple[int, ...]
    explained: float
    """Share of the features' variance that the components hold."""


class Result(Frozen):
    """One cell's outcome. Accuracies are per cent; larger is better for every name in `metrics`."""

    version: Literal[1] = RESULT_VERSION
    id: str
    cell: Cell
    status: Literal["done", "failed", "pruned"]
    """pruned: a sweep stopped it early; only curves and provenance are there, and a run starts it over."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """linear_top1, linear_top5, knn5_top1, lbfgs_top1: last epoch, on the cell's evaluation split."""
    hits: dict[str, str] = Field(default_factory=dict)
    """Per metric, a bit an image of the evaluation split in its order: base64 of numpy.packbits."""
    evaluation_images: int = 0
    diagnostics: dict[str, Any] = Field(default_factory=dict)
    """Collapse diagnostics at the end of training, `collapsed` (bool) among them; null where a value is not finite."""
    sample: Sample | None = None
    curves: tuple[CurvePoint, ...] = ()
    cost: Cost | None = None
    provenance: Provenance
    failure: Failure | None = None


def pack_hits(hits: npt.NDArray[np.bool_]) -> str:
    """One bit an image, as text."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode()


def unpack_hits(text: str, images: int) -> npt.NDArray[np.bool_]:
    """The inverse of `pack_hits`, for so many images."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=images).astype(bool)


def pack_components(components: npt.NDArray[np.floating[Any]]) -> str:
    """(n, D) as text, as `Sample` holds it."""
    return base64.b64encode(components.astype("<f2").tobytes()).decode()


def unpack_components(sample: Sample) -> npt.NDArray[np.float32]:
    """(n, D) of a stored sample."""
    flat = np.frombuffer(base64.b64decode(sample.components), dtype="<f2").astype(np.float32)
    return flat.reshape(sample.images, sample.dimensions)
