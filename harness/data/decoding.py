"""Batches of images that are decoded in worker processes, views and clean ones alike.

Owns how the work is cut into pieces and brought back in order. Every image has its own stream of random numbers and is
augmented alone, on the full image as it is in the file, so that the number of workers and the pieces change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.data.augment import augment, draw
from harness.data.datasets import DataError
from harness.data.images import StreamedImages
from harness.spec.models import Input, Views
from harness.streams import stream

PIECE_IMAGES = 8  # a worker's task: at 224 pixels and two views 10 MB, of which a few a worker are in shared memory
R = TypeVar("R")
Piece = tuple[int, int, int]
"""Step, first and last position in that step's batch."""


class _Tasks(Dataset[Any]):
    """What a worker does with a piece. A file that cannot be read is told as a text: torch would bury the error's own
    message in its worker's traceback."""

    def __init__(self, work: Callable[[Piece], Any]) -> None:
        self._work = work

    def __getitem__(self, piece: Piece) -> Any:
        try:
            return self._work(piece)
        except DataError as error:
            return str(error)


def pieces(steps: range, images: int) -> list[Piece]:
    """The pieces of batches of so many images, in order."""
    starts = range(0, images, PIECE_IMAGES)
    return [(step, first, min(first + PIECE_IMAGES, images)) for step in steps for first in starts]


def worked(work: Callable[[Piece], R], tasks: list[Piece], workers: int | None, pinned: bool) -> Iterator[R]:
    """The results of all tasks, in their order. `workers` 0: in this process; None: as many as torch has
    threads, of which every worker of an engine has its share. DataError as soon as a file cannot be read."""
    loader: DataLoader[Any] = DataLoader(
        _Tasks(work),
        batch_size=None,
        sampler=tasks,
        num_workers=torch.get_num_threads() if workers is None else workers,
        pin_memory=pinned,
        generator=torch.Generator(),  # its seeds are not used; without it, the process's own generator would move
    )
    for result in loader:
        if isinstance(result, str):
            raise DataError(result)
        yield result


def augment_stream(seed: int, group: int, *place: int) -> torch.Generator:
    """What a group's views at a place (epoch, step and, of images decoded one by one, position) are drawn from. The
    first group's are those of a run that has no other."""
    return stream(seed, "augment", *place) if group == 0 else stream(seed, "augment", group, *place)


class ViewWork:
    """Decodes and augments a piece of an epoch's batches."""

    def __init__(self, images: StreamedImages, input: Input, groups: Sequence[Views], seed: int) -> None:
        self._images, self._input, self._groups, self._seed = images, input, tuple(groups), seed

    def views(
        self, epoch: int, steps: range, rows: Tensor, batch_size: int, device: torch.device, workers: int | None
    ) -> Iterator[tuple[Tensor, ...]]:
        """(d, N, C, S, S) of each group, for each step, on the device, in channels-last order; `rows` (n,) is the
        epoch's order."""
        import harness.data.fused  # noqa: F401  compiled or loaded once, here, not once in each worker

        sizes = [(group.count, group.size or self._input.size) for group in self._groups]
        shapes = [(count, batch_size, size, size, self._images.channels) for count, size in sizes]
        piece_work = _Epoch(self, epoch, rows, batch_size)
        results = worked(piece_work, pieces(steps, batch_size), workers, pinned=device.type == "cuda")
        for _ in steps:
            groups = [torch.empty(shape, device=device) for shape in shapes]
            for first in range(0, batch_size, PIECE_IMAGES):
                for group, piece in zip(groups, next(results), strict=True):
                    group[:, first : first + piece.shape[1]].copy_(piece, non_blocking=True)
            yield tuple(group.permute(0, 1, 4, 2, 3) for group in groups)

    def image(self, row: int, epoch: int, step: int, position: int) -> list[Tensor]:
        """The views (d, C, S, S) of one image, for each group."""
        pixels = torch.from_numpy(self._images.decode(row))[None]  # (1, H, W, C)
        views = []
        for place, group in enumerate(self._groups):
            same = torch.zeros(group.count, dtype=torch.int64)
            generator = augment_stream(self._seed, place, epoch, step, position)
            drawn = draw(group.augmentation, group.count, pixels.shape[1], pixels.shape[2], generator)
            size = group.size or self._input.size
            views.append(augment(pixels, drawn, size, self._input.mean, self._input.std, same))
        return views


class _Epoch:
    """A piece of one epoch, as a function that can be sent to a worker."""

    def __init__(self, work: ViewWork, epoch: int, rows: Tensor, batch_size: int) -> None:
        self._work, self._epoch, self._rows, self._batch_size = work, epoch, rows, batch_size

    def __call__(self, piece: Piece) -> list[Tensor]:  # (d, n, S, S, C) of each group
        step, first, last = piece
        rows = self._rows[step * self._batch_size + first : step * self._batch_size + last].tolist()
        images = [self._work.image(row, self._epoch, step, first + i) for i, row in enumerate(rows)]
        by_group = zip(*images, strict=True)
        return [torch.stack([views.permute(0, 2, 3, 1) for views in group], dim=1) for group in by_group]


class CleanWork:
    """Decodes a piece of the images in their order and cuts them for evaluation: (n, C, S, S) uint8."""

    def __init__(self, images: StreamedImages, cut: Callable[[Tensor], Tensor]) -> None:
        """`cut` takes (1, C, H, W) uint8 to (1, C, S, S) whole numbers 0..255."""
        self._images, self._cut = images, cut

    def __call__(self, piece: Piece) -> Tensor:
        _, first, last = piece
        images = [torch.from_numpy(self._images.decode(row)) for row in range(first, last)]
        return torch.cat([self._cut(image.permute(2, 0, 1)[None]).to(torch.uint8) for image in images])
