"""Where a running cell stands, as its process last said: for `harness watch` and `harness status`, on any machine that
sees the store. Owns what is said, how often and how much of it; never a number of a result."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

from harness.spec.identity import Frozen
from harness.store.atomic import StoreError
from harness.store.provenance import utc_now
from harness.store.records import CurvePoint

if TYPE_CHECKING:
    from harness.progress import Reading
    from harness.store.store import Store

EVERY_SECONDS = 2.0
REFUSED_SECONDS = 60.0
POINTS = 120  # a terminal has no more columns for a curve; keeps the file small however long the run


class RunProgress(Frozen):
    """One running cell. What does not train has no epochs and no steps."""

    stage: Literal["training", "evaluating"]
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    loss: float | None = None
    views_per_second: float = 0.0
    seconds_left: float | None = None
    """Of training."""
    curve: tuple[CurvePoint, ...] = ()
    """Loss and the monitors' metrics so far, at most `POINTS` readings, evenly spread, the last among them."""
    written: str
    """UTC, ISO 8601."""


class ProgressReporter:
    """Writes a running cell's progress beside it, now and then. A disk that refuses costs the reader the view and the
    run nothing: it is told about it by what it must write."""

    def __init__(
        self, store: Store, id_: str, every_seconds: float = EVERY_SECONDS, monitors: Collection[str] = ()
    ) -> None:
        """`monitors` are the names under which a curve has their metrics."""
        self.store, self.id_, self.every_seconds, self.monitors = store, id_, every_seconds, monitors
        self._next = 0.0
        self._last: RunProgress | None = None

    def training(self, reading: Reading, curve: Sequence[CurvePoint]) -> None:
        """Note a reading, unless one was noted a moment ago."""
        if time.monotonic() < self._next:
            return
        self._write(
            RunProgress(
                stage="training",
                epoch=reading.epoch,
                epochs=reading.epochs,
                step=reading.step,
                steps=reading.steps,
                loss=reading.loss,
                views_per_second=reading.views_per_second,
                seconds_left=reading.seconds_left,
                curve=thinned(curve, self.monitors),
                written=utc_now(),
            )
        )

    def evaluating(self) -> None:
        """Note that training, if there was any, has ended; what another reporter noted of it is kept."""
        before = self._last or self.store.read_progress(self.id_) or RunProgress(stage="evaluating", written=utc_now())
        ended = {"epoch": before.epochs, "step": before.steps, "seconds_left": None, "views_per_second": 0.0}
        self._write(before.model_copy(update=ended | {"stage": "evaluating", "written": utc_now()}))

    def _write(self, progress: RunProgress) -> None:
        self._last, pause = progress, self.every_seconds
        try:
            self.store.write_progress(self.id_, progress)
        except StoreError:
            pause = REFUSED_SECONDS
        self._next = time.monotonic() + pause


def thinned(curve: Sequence[CurvePoint], monitors: Collection[str]) -> tuple[CurvePoint, ...]:
    """Loss and the monitors' metrics of at most `POINTS` points; those with a metric come before others."""
    prefixes = tuple(f"{name}_" for name in monitors)
    measured = [point for point in curve if any(name.startswith(prefixes) for name in point.values)]
    shown = {id(point) for part in (_spread(curve, POINTS // 2), _spread(measured, POINTS // 2)) for point in part}
    return tuple(
        CurvePoint(
            epoch=point.epoch,
            step=point.step,
            values={name: v for name, v in point.values.items() if name == "loss" or name.startswith(prefixes)},
        )
        for point in curve
        if id(point) in shown
    )


def _spread(points: Sequence[CurvePoint], most: int) -> list[CurvePoint]:
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]
