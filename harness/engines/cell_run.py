"""One cell from its data to its stored result. Every engine runs cells through here: where one runs changes no number.

Owns the order of things: lock, resume, train, measure, save. A failure is stored as a result; an interruption leaves a
checkpoint; a missing dataset leaves nothing.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from harness.backbones import flops_per_view
from harness.data.datasets import DataMissing
from harness.data.loading import Dataset, load
from harness.data.views import ViewStream
from harness.engines.cost import energy_meter, step_flops
from harness.engines.execution import Execution
from harness.engines.measure import Measurer
from harness.memory import peak_bytes, reset_peak
from harness.progress import Watcher
from harness.store.atomic import StoreError
from harness.store.progress import ProgressReporter
from harness.store.provenance import Code, collect, utc_now
from harness.store.result import Cost, CurvePoint, Failure, Provenance, Result, pack_hits
from harness.store.store import Store
from harness.suite.cell import Cell, DatasetSpec
from harness.training.checkpoints import CheckpointError, from_bytes
from harness.training.compiled import compile_encoders
from harness.training.networks import build_networks
from harness.training.trainer import Hooks, Interrupted, Progress, Pruned, Tally, Trainer
from methods.method import Method, MethodEntry


@dataclass(frozen=True)
class Surroundings:
    """What all cells of one command share."""

    store: Store
    code: Code
    execution: Execution
    watcher: Watcher
    should_stop: Callable[[], bool]


def keep(point: CurvePoint) -> bool:
    """Whether to give up a run at this point of its curve: never."""
    return False


def run_cell(
    cell: Cell, entry: MethodEntry, around: Surroundings, give_up: Callable[[CurvePoint], bool] = keep
) -> Result:
    """Train and measure one cell, or go on with it, and store its result. Call it with the cell's lock held.

    Args:
        give_up: asked at each point of the curve, those of a resumed run's past included; once it says yes the result
            is `pruned`.

    Raises:
        Interrupted: asked to stop; a checkpoint is on the disk if training had begun.
        DataMissing: the dataset is not on this machine.
        StoreError: the result or a checkpoint could not be written.
    """
    run = _Run(cell, entry, around, give_up)
    around.store.begin(cell)
    try:
        result = run.to_the_end()
    except (Interrupted, DataMissing, StoreError, KeyboardInterrupt):
        raise
    except Pruned:
        result = run.pruned()
    except Exception as error:
        result = run.failed(error)
    around.store.save(result)
    around.store.drop_checkpoint(cell.id)
    around.store.drop_progress(cell.id)
    del run
    if around.execution.torch_device().type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
    return result


class _Run:
    def __init__(
        self, cell: Cell, entry: MethodEntry, around: Surroundings, give_up: Callable[[CurvePoint], bool]
    ) -> None:
        self.cell, self.entry, self.around, self.give_up = cell, entry, around, give_up
        self.device = around.execution.torch_device()
        self.started = utc_now()
        self.reporter = ProgressReporter(around.store, cell.id)
        self.tally = Tally()
        self.steps_per_epoch = 0
        self.joules: float | None = None

    def to_the_end(self) -> Result:
        cell = self.cell
        reset_peak(self.device)
        dataset = _load(cell, self.around.execution)
        encoder, method = build_networks(cell, self.entry, dataset.classes)
        evaluated = method.evaluated() if method else encoder
        measurer = Measurer(cell, dataset, evaluated.to(self.device), method, self.device)
        if method is not None:
            self._train(method, dataset, measurer)
        if self.around.should_stop():
            raise Interrupted
        self.around.watcher.stage(cell.id, "evaluating")
        self.reporter.evaluating(self.tally.curve)
        outcome = measurer.finish()
        return Result(
            id=cell.id,
            cell=cell,
            status="done",
            metrics=outcome.metrics,
            hits={name: pack_hits(hits) for name, hits in outcome.hits.items()},
            evaluation_images=len(measurer.scored),
            diagnostics=outcome.diagnostics,
            sample=measurer.sample,
            curves=tuple(self.tally.curve),
            cost=self._cost(evaluated, method, measurer),
            provenance=self._provenance(),
        )

    def _train(self, method: Method, dataset: Dataset, measurer: Measurer) -> None:
        cell, around = self.cell, self.around
        assert cell.views
        assert cell.batch_size
        assert cell.augmentation
        views = ViewStream(
            dataset.pretrain, cell.dataset, cell.augmentation, cell.views, cell.batch_size, cell.seed, self.device
        )
        self.steps_per_epoch = views.steps_per_epoch
        hooks = Hooks(
            measure=measurer.on_the_way,
            report=self._report,
            should_stop=around.should_stop,
            save=lambda data: around.store.write_checkpoint(cell.id, data),
            give_up=self.give_up,
            code=self._code(),
            checkpoint_seconds=around.execution.checkpoint_seconds,
        )
        trainer = Trainer(cell, method, views, self.device, hooks)
        self._resume(trainer)
        self.tally = trainer.tally
        measurer.history = [point.values for point in self.tally.curve if "h_rankme" in point.values]
        shape = (cell.batch_size, cell.dataset.channels, cell.dataset.image_size, cell.dataset.image_size)
        compile_encoders(method, shape, cell.precision, self.device, around.execution.compile)
        meter = None if self.tally.resumed else energy_meter(self.device)
        self.tally = trainer.run()
        self.joules = meter.joules() if meter else None

    def _report(self, progress: Progress) -> None:
        self.around.watcher.training(self.cell.id, progress)
        self.reporter.training(progress, self.tally.curve)

    def _resume(self, trainer: Trainer) -> None:
        data = self.around.store.load_checkpoint(self.cell.id)
        if data is None:
            return
        try:
            state = from_bytes(data, self.cell.id)
            if state.get("code") != self._code():
                raise CheckpointError(f"cell {self.cell.id}: the code has changed since its checkpoint was written")
            trainer.restore(state)
        except CheckpointError as error:
            self.around.watcher.note(f"{error}; training starts over")

    def _code(self) -> str:
        return f"{self.around.code.shared} {self.around.code.methods.get(self.cell.method)}"

    def pruned(self) -> Result:
        """What there is of a run that was given up."""
        return Result(
            id=self.cell.id,
            cell=self.cell,
            status="pruned",
            curves=tuple(self.tally.curve),
            provenance=self._provenance(),
        )

    def failed(self, error: Exception) -> Result:
        """The failure as a result."""
        step = self.tally.step if self.steps_per_epoch else None  # None: training had not begun
        return Result(
            id=self.cell.id,
            cell=self.cell,
            status="failed",
            curves=tuple(self.tally.curve),
            provenance=self._provenance(),
            failure=Failure(
                kind=type(error).__name__,
                message=str(error) or type(error).__name__,
                traceback="".join(traceback.format_exception(error)),
                epoch=None if step is None else step // self.steps_per_epoch,
                step=step,
            ),
        )

    def _cost(self, encoder: nn.Module, method: Method | None, measurer: Measurer) -> Cost:
        cell = self.cell
        seen = self.tally.step * (cell.views or 0) * (cell.batch_size or 0)
        seconds = self.tally.seconds
        trained = [p for p in method.parameters() if p.requires_grad] if method else []
        has_weights = next(encoder.parameters(), None) is not None
        flops = step_flops(method, cell) if method else None
        return Cost(
            train_seconds=seconds,
            evaluation_seconds=self.tally.measuring_seconds + measurer.finish_seconds,
            steps=self.tally.step,
            views_seen=seen,
            views_per_second=seen / seconds if seconds else None,
            peak_memory_bytes=peak_bytes(self.device),
            encoder_flops_per_view=(
                flops_per_view(encoder, cell.dataset.channels, cell.dataset.image_size) if has_weights else None
            ),
            train_flops=None if flops is None else flops * self.tally.step,
            energy_joules=self.joules,
            parameters=sum(p.numel() for p in trained),
        )

    def _provenance(self) -> Provenance:
        return collect(
            self.around.code,
            self.cell.method,
            device=self.around.execution.device_name(),
            threads=torch.get_num_threads(),
            started=self.started,
            resumed=self.tally.resumed,
        )


@lru_cache(maxsize=2)
def _load_cached(spec_json: str, execution: Execution) -> Dataset:
    return load(DatasetSpec.model_validate_json(spec_json), execution.data_dir)


def _load(cell: Cell, execution: Execution) -> Dataset:
    """The cell's dataset, read once for neighbouring cells that share it."""
    return _load_cached(cell.dataset.model_dump_json(), execution)
