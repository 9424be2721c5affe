"""What an encoder is like, beside its worth: operations, parameters, collapse diagnostics at step 0 and at the end.

Owns which images are looked at. It comes after the encoder is on the disk, and nothing that fails here costs one:
numbers that cannot be had are None with a reason, diagnostics that failed are repeated by the next run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from harness.backbones import feature_size, flops_per_view
from harness.data.images import AnyImages
from harness.data.views import ViewStream, clean
from harness.engines.cost import step_flops
from harness.evaluation.collapse import Collapse, diagnose
from harness.evaluation.features import extract
from harness.spec.models import Pretraining, Question
from harness.streams import stream
from methods.method import Method

SAMPLE_IMAGES = 2048
T = TypeVar("T")


@dataclass
class Facts:
    """Numbers of an encoder that no image is needed for; what cannot be had is None, and `unknown` says why."""

    encoder_flops_per_view: int | None = None
    train_flops: int | None = None
    parameters: int | None = None
    features: int | None = None
    unknown: dict[str, str] = field(default_factory=dict)


@dataclass
class Diagnosis:
    """Collapse diagnostics of h and, with a head, of v."""

    values: dict[str, float | None] = field(default_factory=dict)
    spectra: dict[str, list[float]] = field(default_factory=dict)


def facts_of(pretraining: Pretraining, encoder: nn.Module, method: Method | None, steps: int) -> Facts:
    """Operations, parameters and width, of networks with whatever weights; never raises.

    Args:
        steps: of training, whose operations are counted.
    """
    facts, input, training = Facts(), pretraining.input, pretraining.training

    def attempt(name: str, compute: Callable[[], T]) -> T | None:
        try:
            return compute()
        except Exception as error:  # a counter on an odd model may raise anything, and costs nobody an encoder
            facts.unknown[name] = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            return None

    if method is not None and training is not None:
        of_step = attempt("train_flops", lambda: step_flops(method, training, input))
        facts.train_flops = None if of_step is None else of_step * steps
    else:
        facts.unknown["train_flops"] = "nothing is trained"
    trained = [p for p in method.parameters() if p.requires_grad] if method else []
    facts.parameters = attempt("parameters", lambda: sum(parameter.numel() for parameter in trained))
    facts.features = attempt("features", lambda: feature_size(encoder, input.channels, input.size))
    if next(encoder.parameters(), None) is not None:
        facts.encoder_flops_per_view = attempt(
            "encoder_flops_per_view", lambda: flops_per_view(encoder, input.channels, input.size)
        )
    else:
        facts.unknown["encoder_flops_per_view"] = "there is no encoder"
    return facts


def sample_rows(images: int) -> Tensor:
    """Rows of the training images that the diagnostics look at: drawn once, the same for every method and seed."""
    return torch.randperm(images, generator=stream(0, "collapse sample"))[: min(SAMPLE_IMAGES, images)]


def diagnose_encoder(
    pretraining: Pretraining,
    question: Question,
    images: AnyImages,
    encoder: nn.Module,
    method: Method | None,
    device: torch.device,
    *,
    with_views: bool,
) -> Diagnosis:
    """Of an encoder and its head on a fixed clean sample of the images that a question is fitted on.

    Args:
        images: those.
        with_views: whether alignment is measured too, on two augmented views of the sample.

    Raises:
        DataError: an image cannot be read.
    """
    sample = images.take(sample_rows(len(images)).numpy())
    h = extract(encoder, clean(sample, pretraining.input, question.transform, device), device, question.precision)
    views = _two_views(pretraining, sample, encoder, device) if with_views else None
    return diagnose_features(h, method, views)


def diagnose_features(h: Tensor, method: Method | None, views: tuple[Tensor, Tensor] | None = None) -> Diagnosis:
    """Of encoder outputs h (n, F) and, with a head, its outputs v; `views` are h of two augmented views."""
    diagnosis = Diagnosis()
    _add(diagnosis, "h", diagnose(h, views))
    v = _embed(method, h)
    if v is not None:
        pair = (_embed(method, views[0]), _embed(method, views[1])) if views else (None, None)
        _add(diagnosis, "v", diagnose(v, None if pair[0] is None or pair[1] is None else (pair[0], pair[1])))
    return diagnosis


def _add(diagnosis: Diagnosis, name: str, collapse: Collapse) -> None:
    diagnosis.values |= {key: value if math.isfinite(value) else None for key, value in collapse.values(name).items()}
    diagnosis.spectra[name] = list(collapse.spectrum)


def _two_views(
    pretraining: Pretraining, sample: AnyImages, encoder: nn.Module, device: torch.device
) -> tuple[Tensor, Tensor] | None:
    """h of two augmented views of the sampled images; None where nothing is augmented."""
    training = pretraining.training
    if training is None:
        return None
    size = min(256, len(sample))
    batches = ViewStream(sample, pretraining.input, training.augmentation, 2, size, pretraining.seed or 0, device)
    pairs = [batch.views[0] for batch in batches.epoch(0)]
    first, second = (extract(encoder, (pair[side] for pair in pairs), device, training.precision) for side in (0, 1))
    return first, second


def _embed(method: Method | None, features: Tensor) -> Tensor | None:
    """v of encoder outputs h, in eval mode; None where there is no head."""
    if method is None:
        return None
    training = method.training
    with torch.inference_mode():
        embedded = method.eval().embed(features)
    method.train(training)
    return embedded
