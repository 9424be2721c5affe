"""What is left on disk of a pretraining, of its description and of each evaluation. Owns these schemas; reads and
writes nothing.

Every record is sealed with a checksum when it is written (`sealed.py`); accuracies are per cent, other metrics in the
unit that stands beside them.
"""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field

from harness.spec import identity
from harness.spec.identity import Frozen
from harness.spec.metric import PER_CENT, Metric
from harness.spec.models import Evaluation, Monitor, Pretraining

Status = Literal["done", "failed"]


def _writable(value: Any) -> Any:
    """A text that UTF-8 can hold: a file name in it need not be."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """As JSON holds it, whatever a probe says: a number that is not finite as None, an unknown object as its text."""
    return json.loads(json.dumps(value, default=str, skipkeys=True), parse_constant=lambda _: None)


Text = Annotated[str, BeforeValidator(_writable)]


class Provenance(Frozen):
    """Which code, libraries and machine made a result."""

    code: dict[str, str]
    """Digest of each part of the code that could change it, comments and docstrings left out: the files of its
    extensions (`method w_mse`), the shared rooms that it passed through (`training on cpu`)."""
    commit: str | None
    dirty: bool | None
    """Whether the tracked files of the harness and the methods differed from the commit; None outside a checkout."""
    versions: dict[str, str]
    """python, torch, torchvision, timm, numpy, scikit-learn."""
    device: str
    """"cpu", or "cuda: NVIDIA H100 80GB HBM3"."""
    threads: int
    host: str
    platform: str
    started: str
    """UTC, ISO 8601."""
    finished: str
    resumed: int = 0
    """How often training was resumed from a checkpoint."""


class Failure(Frozen):
    """Why a stage left nothing."""

    kind: Text
    """Name of the exception."""
    message: Text
    traceback: Text
    epoch: int | None = None
    step: int | None = None
    """Last optimiser step begun; None where training had not begun."""


class CurvePoint(Frozen):
    """One reading during training."""

    epoch: int
    """Epochs completed."""
    step: int
    values: dict[str, float]
    """The training curve: loss, lr and the method's own readings. A monitor's: its metrics and the collapse diagnostics
    of that moment."""
    seconds: float | None = None
    """Wall seconds of training so far, without evaluation."""


class TrainingCost(Frozen):
    """What a training cost, on the hardware named in the provenance."""

    train_seconds: float
    """Wall seconds in training, summed over interruptions, without evaluation."""
    monitor_seconds: float
    """Wall seconds in monitors."""
    steps: int
    """Optimiser steps."""
    views_seen: int
    """Augmented images through the encoder that is trained."""
    peak_memory_bytes: int | None
    """CUDA: most memory allocated on the device. CPU: the process's largest resident set, libraries included; None
    where the system does not say."""
    energy_joules: float | None
    """That the device (NVML) or the processor package (RAPL) took during training, whatever else ran on it."""
    unknown: dict[str, str] = Field(default_factory=dict)
    """Why a field is None, by its name."""


class EncoderFile(Frozen):
    """The encoder that a pretraining left."""

    sha256: str
    size_bytes: int


class PretrainingRecord(Frozen):
    """How a pretraining ended: `pretraining.json`."""

    version: int = Field(default_factory=lambda: identity.SCHEMA_VERSION)
    id: str
    spec: Pretraining
    status: Literal["done", "failed", "pruned"]
    """pruned: a sweep stopped it early; only curves and provenance are there, and a run starts it over."""
    encoder: EncoderFile | None = None
    """None where nothing has weights (pixels), or it did not end well."""
    monitors: tuple[str, ...] = ()
    """Ids of the monitors whose whole curve is stored."""
    cost: TrainingCost | None = None
    provenance: Provenance
    failure: Failure | None = None


class Description(Frozen):
    """What an encoder is like, beside its worth: `description.json`. Numbers that cannot be had are None, with the
    reason in `unknown`; diagnostics that failed can be repeated."""

    version: int = Field(default_factory=lambda: identity.SCHEMA_VERSION)
    id: str
    """Of the pretraining."""
    encoder: str | None
    """SHA-256 of the encoder that was looked at."""
    status: Status
    encoder_flops_per_view: int | None = None
    """Floating-point operations of one forward pass of one view through the encoder (a multiply-add is two), by torch's
    counter."""
    train_flops: int | None = None
    """Of all optimiser steps: forward and backward passes of encoders, heads and loss, by torch's counter, which counts
    convolutions and matrix products."""
    parameters: int | None = None
    """Trainable parameters of encoder, heads and predictor."""
    features: int | None = None
    """Width F of the encoder's output."""
    diagnostics: dict[str, float | None] = Field(default_factory=dict)
    """Collapse diagnostics of h and, with a head, of v at the end of training; None where a value is not finite."""
    initial: dict[str, float | None] = Field(default_factory=dict)
    """The same at step 0."""
    seconds: float = 0.0
    unknown: dict[str, str] = Field(default_factory=dict)
    provenance: Provenance
    failure: Failure | None = None


class EvaluationRecord(Frozen):
    """What one question gave: `evaluations/ID.json`."""

    version: int = Field(default_factory=lambda: identity.SCHEMA_VERSION)
    id: str
    spec: Evaluation
    encoder: str | None
    """SHA-256 of the encoder that was asked. Of another one than the pretraining's, the evaluation counts as to do."""
    status: Status
    metrics: dict[str, float] = Field(default_factory=dict)
    """By the probe's own names, such as `top1`."""
    titles: dict[str, str] = Field(default_factory=dict)
    """How tables head them, the unit included."""
    units: dict[str, str] = Field(default_factory=dict)
    """Of each; per cent where none is said."""
    lower_is_better: tuple[str, ...] = ()
    """Those of which less is better."""
    images: int = 0
    """That were scored."""
    details: Annotated[dict[str, Any], BeforeValidator(_plain)] = Field(default_factory=dict)
    """What else the probe says, such as whether its solver converged."""
    seconds: float = 0.0
    """Wall seconds, the extraction of features included where this evaluation was the first to need them."""
    provenance: Provenance
    failure: Failure | None = None

    def metric(self, name: str) -> Metric:
        """Title, unit and direction of one of its metrics."""
        unit = self.units.get(name, PER_CENT)
        title = self.titles.get(name, name).removesuffix(f" {unit}")
        return Metric(name, title, unit, name not in self.lower_is_better)


class Curve(Frozen):
    """Readings during training: `curves/training.json`, `curves/MONITOR_ID.json`."""

    version: int = Field(default_factory=lambda: identity.SCHEMA_VERSION)
    id: str
    """Of the pretraining."""
    monitor: Monitor | None = None
    """None: the training's own readings."""
    points: tuple[CurvePoint, ...]


class Sample(Frozen):
    """Features of some scored images, for pictures: their leading principal components."""

    images: int
    dimensions: int
    components: str
    """(images, dimensions): base64 of little-endian float16, row by row, each component divided by the first one's
    standard deviation."""
    labels: tuple[int, ...]
    explained: float
    """Share of the features' variance that the components hold."""


class Arrays(Frozen):
    """What only pictures need: `arrays/spectra.json`, `arrays/hits-EVALUATION_ID.json`, `arrays/sample-SCORED.json`."""

    version: int = Field(default_factory=lambda: identity.SCHEMA_VERSION)
    id: str
    """Of what they belong to."""
    spectra: dict[str, list[float]] = Field(default_factory=dict)
    """Leading eigenvalues of the covariance of h and v, at step 0 and at the end."""
    hits: dict[str, str] = Field(default_factory=dict)
    """Per accuracy, a bit a scored image in their order: base64 of numpy.packbits."""
    recalls: tuple[tuple[str, float | None], ...] = ()
    """Name of each class, and the share of its images that `top1` has right, in per cent; None where it has none."""
    sample: Sample | None = None


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
