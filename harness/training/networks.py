"""The networks of a cell, with the weights its seed gives: two methods with one seed start from the same encoder."""

from __future__ import annotations

import torch
from torch import nn

from harness.backbones import build_encoder, feature_size
from harness.streams import stream_seed
from harness.suite.cell import Cell
from methods.method import Method, MethodEntry


def build_networks(cell: Cell, entry: MethodEntry, classes: int) -> tuple[nn.Module, Method | None]:
    """What is evaluated before any training, and the method around it; no method where nothing is trained.

    Raises:
        BackboneError: the backbone cannot be built as asked.
    """
    if entry.represents == "pixels":
        return nn.Flatten(), None
    assert cell.backbone is not None
    encoder = build_encoder(cell.backbone, cell.dataset.channels, cell.dataset.image_size, cell.seed)
    if entry.build is None:
        return encoder, None
    settings = entry.settings.model_validate(cell.settings)
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(cell.seed, "head"))
        return encoder, entry.build(settings, encoder, feature_size(encoder), classes)
