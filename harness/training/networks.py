"""The networks of a pretraining, with the weights of its seed or file: two methods with one seed begin with the same
encoder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from harness.backbones import BackboneError, build_encoder, feature_size, forked_rng, load_weights
from harness.spec.models import Pretraining
from harness.streams import stream_seed
from methods.entry import MethodEntry
from methods.method import Method


def build_networks(
    pretraining: Pretraining, entry: MethodEntry, classes: int, weights: Path | None = None
) -> tuple[nn.Module, Method | None]:
    """What is evaluated before any training, and the method around it; no method where nothing is trained.

    Args:
        classes: labels that the method may learn to tell apart.
        weights: the file whose content `backbone.weights` names.

    Raises:
        BackboneError: the backbone cannot be built as asked, or takes no such images or weights.
    """
    if entry.represents == "pixels":
        return nn.Flatten(), None
    backbone, input, seed = pretraining.backbone, pretraining.input, pretraining.seed
    assert backbone is not None, f"{entry.name} evaluates an encoder, so it has a backbone"
    if seed is None:
        assert not entry.trains, f"{entry.name} draws the weights of its head, so it has a seed"
        assert backbone.weights is not None, f"{entry.name} draws its encoder's weights, so it has a seed"
        seed = 0  # every weight is replaced by the file's
    encoder = build_encoder(backbone, input.channels, input.size, seed)
    if backbone.weights is not None:
        load_weights(encoder, _checked(weights, backbone.weights))
    if not entry.trains:
        return encoder, None
    features = feature_size(encoder, input.channels, input.size)
    settings = entry.settings.model_validate(pretraining.settings)
    with forked_rng():
        torch.manual_seed(stream_seed(seed, "head"))
        return encoder, entry.builder()(settings, encoder, features, classes)


def _checked(weights: Path | None, sha256: str) -> Path:
    """The file, if it holds what it should."""
    if weights is None or not weights.is_file():
        where = "was named" if weights is None else f"at {weights}"
        raise BackboneError(f"backbone.weights: no file {where}; it must be the one with SHA-256 {sha256}")
    with weights.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise BackboneError(
            f"backbone.weights: {weights} has changed: its SHA-256 is {actual}, not {sha256}. Put the old file back, "
            "or plan anew with this one"
        )
    return weights
