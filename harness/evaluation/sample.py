"""A small picture of a representation: some images' features along their principal components. Owns how many, and the
choice of images; never a projection to the plane, which is the reader's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.store.records import Sample, pack_components
from harness.streams import stream

IMAGES = 500
COMPONENTS = 24  # beyond it neighbourhoods of a few hundred points hardly change


def sample_rows(images: int) -> Tensor:
    """Rows (n,) of a split to keep: the same for every method and seed."""
    return torch.randperm(images, generator=stream(0, "sample of features"))[:IMAGES]


@torch.no_grad()
def principal_sample(features: Tensor, labels: Tensor) -> Sample:
    """Of features (n, F) and labels (n,): centred, rotated to their principal components, in units of the first one's
    standard deviation. Each component's largest entry is positive, so that equal features give equal bytes."""
    x = features.double()
    x = x - x.mean(0)
    left, singular, _ = torch.linalg.svd(x, full_matrices=False)
    scores = (left * singular)[:, :COMPONENTS]  # (n, K)
    peak = scores.gather(0, scores.abs().argmax(0, keepdim=True))
    scores = scores * torch.where(peak < 0, -1.0, 1.0)
    total = float(singular.square().sum())
    unit = float(scores[:, 0].std(correction=0)) if total > 0 else 1.0
    projected = scores / unit
    return Sample(
        images=len(projected),
        dimensions=projected.shape[1],
        components=pack_components(projected.cpu().numpy()),
        labels=tuple(int(label) for label in labels),
        explained=float(singular[:COMPONENTS].square().sum()) / total if total > 0 else 0.0,
    )
