"""Splits of features alone, and the score of a probe on them."""

from __future__ import annotations

import torch

from harness.evaluation.evaluate import score
from harness.evaluation.split import Split


def split(features, labels, classes, role="training"):
    """Features (N, F) with their labels (N,), of so many classes."""
    names = tuple(f"class {label}" for label in range(classes))
    return Split(role, torch.as_tensor(labels), names, lambda: features)


def no_encoder():
    raise AssertionError("a probe on features asks for no encoder")


def score_features(probe, settings, train, scored, seed=0):
    return score(probe, settings, no_encoder, train, scored, seed)
