"""Batches of images that are decoded in worker processes, views and clean ones alike.

Owns how the work is cut into pieces and brought back in order. Every image has its own stream of random numbers and is
augmented alone, on the full image as it is in the file, so that the number of workers and the pieces change nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.data.augment import augment, draw
from harness.data.datasets import DataError
from harness.data.images import StreamedImages
from harness.spec.models import Augmentation, Input
from harness.streams import stream

PIECE_IMAGES = 8  # a worker's task: at 224 pixels and two views 10 MB, of which a few a worker are in shared memory
Piece = tuple[int, int, int]
"""Step, first and last position in that step's batch."""


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Tasks(Dataset["Tensor | str"]):
    """What a worker does with a piece. A file that cannot be read is told as a text: torch would bury the error's own
    message in its worker's traceback."""

    def __init__(self, work: Callable[[Piece], Tensor]) -> None:
        self._work = work

    def __getitem__(self, piece: Piece) -> Tensor | str:
        try:
            return self._work(piece)
        except DataError as error:
            return str(error)


def pieces(steps: range, images: int) -> list[Piece]:
    """The pieces of batches of so many images, in order."""
    starts = range(0, images, PIECE_IMAGES)
    return [(step, first, min(first + PIECE_IMAGES, images)) for step in steps for first in starts]


def worked(work: Callable[[Piece], Tensor], tasks: list[Piece], workers: int | None, pinned: bool) -> Iterator[Tensor]:
    """The results of all tasks, in their order. `workers` 0: in this process; None: one a CPU. DataError as soon as a
    file cannot be read."""
    loader: DataLoader[Any] = DataLoader(
        _Tasks(work),
        batch_size=None,
        sampler=tasks,
        num_workers=cpus() if workers is None else workers,
        pin_memory=pinned,
        generator=torch.Generator(),  # its seeds are not used; without it, the process's own generator would move
    )
    for result in loader:
        if isinstance(result, str):
            raise DataError(result)
        yield result


class ViewWork:
    """Decodes and augments a piece of an epoch's batches."""

    def __init__(self, images: StreamedImages, input: Input, augmentation: Augmentation, views: int, seed: int) -> None:
        self._images, self._input, self._augmentation = images, input, augmentation
        self._views, self._seed = views, seed

    def views(
        self, epoch: int, steps: range, rows: Tensor, batch_size: int, device: torch.device, workers: int | None
    ) -> Iterator[Tensor]:
        """(d, N, C, S, S) of each step, on the device, in channels-last order; `rows` (n,) is the epoch's order."""
        import harness.data.fused  # noqa: F401  compiled or loaded once, here, not once in each worker

        size = self._input.size
        shape = (self._views, batch_size, size, size, self._images.channels)
        piece_work = _Epoch(self, epoch, rows, batch_size)
        results = worked(piece_work, pieces(steps, batch_size), workers, pinned=device.type == "cuda")
        for _ in steps:
            batch = torch.empty(shape, device=device)
            for first in range(0, batch_size, PIECE_IMAGES):
                piece = next(results)
                batch[:, first : first + piece.shape[1]].copy_(piece, non_blocking=True)
            yield batch.permute(0, 1, 4, 2, 3)

    def image(self, row: int, epoch: int, step: int, position: int) -> Tensor:
        """The d views (d, C, S, S) of one image."""
        pixels = torch.from_numpy(self._images.decode(row))[None]  # (1, H, W, C)
        same = torch.zeros(self._views, dtype=torch.int64)
        generator = stream(self._seed, "augment", epoch, step, position)
        drawn = draw(self._augmentation, self._views, pixels.shape[1], pixels.shape[2], generator)
        return augment(pixels, drawn, self._input.size, self._input.mean, self._input.std, same)


class _Epoch:
    """A piece of one epoch, as a function that can be sent to a worker."""

    def __init__(self, work: ViewWork, epoch: int, rows: Tensor, batch_size: int) -> None:
        self._work, self._epoch, self._rows, self._batch_size = work, epoch, rows, batch_size

    def __call__(self, piece: Piece) -> Tensor:
        step, first, last = piece
        rows = self._rows[step * self._batch_size + first : step * self._batch_size + last].tolist()
        images = [self._work.image(row, self._epoch, step, first + i) for i, row in enumerate(rows)]
        return torch.stack([image.permute(0, 2, 3, 1) for image in images], dim=1)  # (d, n, S, S, C)


class CleanWork:
    """Decodes a piece of the images in their order and cuts them for evaluation: (n, C, S, S) uint8."""

    def __init__(self, images: StreamedImages, cut: Callable[[Tensor], Tensor]) -> None:
        """`cut` takes (1, C, H, W) uint8 to (1, C, S, S) whole numbers 0..255."""
        self._images, self._cut = images, cut

    def __call__(self, piece: Piece) -> Tensor:
        _, first, last = piece
        images = [torch.from_numpy(self._images.decode(row)) for row in range(first, last)]
        return torch.cat([self._cut(image.permute(2, 0, 1)[None]).to(torch.uint8) for image in images])
