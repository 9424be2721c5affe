"""What a probe works with: the images of a split, and a copy of the encoder. Owns how both are handed out; extracts and
decodes nothing before it is asked for, and never touches the encoder that is evaluated.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from harness.data.images import AnyImages
from harness.data.views import ViewStream, clean
from harness.spec.models import Augmentation, Input, Precision, Transform
from harness.strided_convolutions import guard_strided_convolutions


@dataclass(frozen=True)
class Shown:
    """How an encoder is shown images, whatever dataset they are of."""

    input: Input
    """The encoder's own."""
    transform: Transform
    device: torch.device


class Split:
    """Labelled images as a probe sees them."""

    def __init__(
        self,
        role: str,
        labels: Tensor,
        classes: tuple[str, ...],
        extract: Callable[[], Tensor],
        images: AnyImages | None = None,
        shown: Shown | None = None,
    ) -> None:
        """
        Args:
            role: `training` or `scored`, for messages.
            labels: (N,) int64, on the CPU.
            classes: names in the order of the labels; of the dataset, not of the images.
            extract: gives the frozen features (N, F); called once at most.
            images, shown: None where only features are at hand.
        """
        self.role, self.labels, self.classes = role, labels, classes
        self._extract, self._images, self._shown = extract, images, shown
        self._views: tuple[tuple[Augmentation, int, int], ViewStream] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Split:
        """Some of the images, by their sorted positions (n,)."""

        def extract() -> Tensor:
            features = self._extract()
            return features[rows.to(features.device)]

        images = None if self._images is None else self._images.take(rows.numpy())
        return Split(self.role, self.labels[rows], self.classes, extract, images, self._shown)

    def features(self) -> Tensor:
        """Frozen features h (N, F), float32 on the device: eval mode, no augmentation, not normalised. Extracted once,
        for all probes that ask.

        Raises:
            ValueError: one is not finite, or there is not one row a label.
        """
        return self._features

    @cached_property
    def _features(self) -> Tensor:
        features = self._extract()
        if len(features) != len(self.labels):
            raise ValueError(f"the {self.role} split has {len(features)} feature rows for {len(self.labels)} labels")
        broken = int((~features.isfinite().all(1)).sum())
        if broken:
            raise ValueError(
                f"features of {broken} of {len(features)} images of the {self.role} split are not finite: "
                "the encoder has diverged; lower the learning rate or use float32"
            )
        return features

    def steps(self, batch_size: int) -> int:
        """Batches of augmented images in an epoch."""
        return len(self) // min(batch_size, len(self))

    def images(
        self, augmentation: Augmentation | None = None, epoch: int = 0, *, batch_size: int = 256, seed: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (n, C, S, S) in the encoder's own size, normalised as it was trained, with their labels (n,); both on
        the device.

        Args:
            augmentation: None shows every image once, in order, as it is scored. Else one random view of each, in an
                order drawn for the epoch; the last, incomplete batch is dropped, and fewer images are one batch.
            seed: of order and views.
        """
        assert self._images is not None, "this split has features only"
        assert self._shown is not None, "this split has features only"
        input, transform, device = self._shown.input, self._shown.transform, self._shown.device
        if augmentation is None:
            first = 0
            for batch in clean(self._images, input, transform, device, batch_size):
                yield batch, self.labels[first : first + len(batch)].to(device)
                first += len(batch)
            return
        key = (augmentation, min(batch_size, len(self)), seed)
        if self._views is None or self._views[0] != key:  # the pixels may lie on the device: not once an epoch
            self._views = key, ViewStream(self._images, input, augmentation, 1, key[1], seed, device)
        for views in self._views[1].epoch(epoch):
            yield views.views[0][0], views.labels


class PrivateEncoder(nn.Module):
    """A copy of a frozen encoder that is a probe's own: trainable, in eval mode until it is told otherwise. Computes in
    the question's precision and returns float32."""

    def __init__(self, encoder: nn.Module, precision: Precision, shown: Shown) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_().eval()
        self.device, self.precision = shown.device, precision
        if shown.device.type == "cpu" and precision != "float32":
            guard_strided_convolutions(self.encoder)
        input = shown.input
        with torch.inference_mode():
            self.width = self(torch.zeros(1, input.channels, input.size, input.size, device=shown.device)).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """(n, C, S, S) -> h (n, F)."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, getattr(torch, self.precision), enabled=self.precision != "float32"):
            features: Tensor = self.encoder(images)
        return features.float()
