"""How long cells will take, from stored runs of comparable ones. Owns what counts as comparable; never guesses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.store.result import Result
from harness.suite.cell import Cell

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Estimator:
    """Seconds per view and seconds of evaluation of the runs seen so far, at three degrees of likeness."""

    train: Mapping[Key, list[float]]
    evaluation: Mapping[Key, list[float]]

    @classmethod
    def of(cls, results: Iterable[Result]) -> Estimator:
        """From what is stored, on whatever device it ran."""
        train: dict[Key, list[float]] = {}
        evaluation: dict[Key, list[float]] = {}
        for result in results:
            if result.status != "done" or result.cost is None:
                continue
            for key in map(_with(result.cell), LIKENESS):
                evaluation.setdefault(key, []).append(result.cost.evaluation_seconds)
                if result.cost.views_seen:
                    train.setdefault(key, []).append(result.cost.train_seconds / result.cost.views_seen)
        return cls(train, evaluation)

    def seconds(self, cell: Cell, train_images: int | None) -> float | None:
        """Of a cell whose dataset has so many training images; None where nothing comparable has run."""
        for key in map(_with(cell), LIKENESS):
            if key not in self.evaluation:
                continue
            if cell.epochs is None:
                return median(self.evaluation[key])
            if key in self.train and train_images is not None and cell.batch_size and cell.views:
                views = train_images // cell.batch_size * cell.batch_size * cell.views * cell.epochs
                return median(self.train[key]) * views + median(self.evaluation[key])
        return None


def _same_method(cell: Cell) -> Key:
    return (*_same_encoder(cell), cell.method, cell.views, cell.batch_size)


def _same_encoder(cell: Cell) -> Key:
    backbone = cell.backbone.model_dump_json() if cell.backbone else None
    trained = cell.epochs is not None
    return (trained, backbone, cell.dataset.image_size, cell.dataset.name, cell.precision)


LIKENESS: tuple[Callable[[Cell], Key], ...] = (_same_method, _same_encoder)


def _with(cell: Cell) -> Callable[[Callable[[Cell], Key]], Key]:
    return lambda likeness: likeness(cell)
