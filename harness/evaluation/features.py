"""Frozen features h of a network. Owns how they are extracted; never trains, augments or normalises them.

The `pixels` control is `extract(nn.Flatten(), ...)`: the normalised image itself, channel by channel.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from harness.spec.models import Precision


def extract(encoder: nn.Module, batches: Iterable[Tensor], device: torch.device | str, precision: Precision) -> Tensor:
    """Features (N, F), float32 on `device`, of all images in order.

    The encoder runs in eval mode, without gradients, channels-last, under autocast of `precision`; afterwards each of
    its modules is in the mode it was in before.

    Args:
        encoder: (n, C, S, S) -> (n, F).
        batches: normalised images, (n, C, S, S) each; n may differ.

    Raises:
        ValueError: no images, or an encoder that does not return (n, F).
    """
    device = torch.device(device)
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    features: list[Tensor] = []
    try:
        for batch in batches:
            images = batch.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            with (
                torch.inference_mode(),
                torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32"),
            ):
                # past torch.compile, if the encoder went through it: other modes and shapes would compile it anew
                output: Tensor = encoder._call_impl(images)  # type: ignore[no-untyped-call]
                output = output.float()
            if output.ndim != 2:
                raise ValueError(
                    f"the encoder returns {tuple(output.shape)} for {images.shape[0]} images, not (images, features): "
                    "evaluate pooled features, one row an image"
                )
            features.append(output)
    finally:
        for module, training in modes:
            module.training = training
    if not features:
        raise ValueError("no images to extract features of: the split is empty")
    return torch.cat(features)  # outside inference mode: an ordinary tensor, of which autograd may make use
