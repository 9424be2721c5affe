"""The one trainer: every method, every engine. Reads from top to bottom: restore, epochs, steps, checkpoints, curves.

Owns the loop and its state. Knows no file, no method by name, no test split: what is measured comes in as a hook.
A run stopped after any step and resumed goes on exactly: every random draw belongs to a (seed, purpose, epoch, step).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from harness.accelerate import CompileMode, prepare
from harness.accelerate.precision import autocast, check_precision, gradient_scaler
from harness.data.views import ViewStream
from harness.spec.models import TrainingSpec
from harness.store.records import CurvePoint
from harness.streams import stream, stream_seed
from harness.training.checkpoints import BackgroundWriter, CheckpointError, State
from harness.training.first_step import check_gradients, check_loss
from harness.training.optimisers import build_optimiser
from harness.training.schedules import set_lr, set_weight_decay, weight_decay_at
from methods.method import Batch, Loss, Method, Step


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite."""


class Interrupted(Exception):
    """Training was asked to stop and has written a checkpoint."""


class Pruned(Exception):
    """Training was given up at a point of its curve."""


class BatchTooLargeError(MemoryError):
    """One step does not fit the device's memory."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever watches."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    views_per_second: float
    seconds_left: float
    latest: dict[str, float]
    """Values of the last curve point."""


@dataclass(frozen=True)
class Hooks:
    """What the trainer asks of its surroundings."""

    measure: Callable[[int], dict[str, float]]
    """Called with the number of epochs done; values to put on the curve ({} where none is due)."""
    report: Callable[[Progress], None]
    should_stop: Callable[[], bool]
    save: Callable[[bytes], None]
    """Puts a checkpoint on the disk, whole or not at all."""
    give_up: Callable[[CurvePoint], bool] = lambda point: False
    """Asked at each new point of the curve, and on resuming at the old ones, whether to go on is worth it."""
    code: str = ""
    """Which code trains; noted in checkpoints, so that a resumed run never mixes versions."""
    checkpoint_seconds: float = 120.0
    report_seconds: float = 0.5


@dataclass
class Tally:
    """What a run has done so far; part of the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    measuring_seconds: float = 0.0
    resumed: int = 0
    curve: list[CurvePoint] = field(default_factory=list)


class Trainer:
    """Trains `method` as `spec` says, on batches of `views`."""

    def __init__(
        self,
        spec: TrainingSpec,
        seed: int,
        run_id: str,
        method: Method,
        views: ViewStream,
        device: torch.device,
        hooks: Hooks,
        *,
        silent: Sequence[str] = (),
        plain: bool = False,
        compile: CompileMode = "off",
    ) -> None:
        """
        Args:
            silent: patterns of the names of parameters that get no gradient at the first step.
            seed: of dropout and of the method's own draws; the views have theirs.
            run_id: of the pretraining, which its checkpoints name.
            plain, compile: as `prepare` has them.

        Raises:
            PrecisionError: the device lacks the precision.
        """
        check_precision(spec.precision, device)
        self.spec, self.seed, self.run_id = spec, seed, run_id
        self.views, self.device, self.hooks, self.silent = views, device, hooks, tuple(silent)
        prepared = prepare(method, spec, views.input, device, plain=plain, compile=compile)
        self.method, self.encode = prepared.method, prepared.encode
        self.optimiser = build_optimiser(method, spec.optimiser)
        self.trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.scaler = gradient_scaler(spec.precision, device)
        self.tally = Tally()
        self.checked = False  # whether a step of this process has been looked at closely
        self.loss_sum = torch.zeros((), device=device)  # over the steps of the current epoch
        self.term_sums: dict[str, Tensor] = {}  # likewise
        self.last_loss = torch.zeros((), device=device)
        self.bad_step = torch.full((), -1, device=device)  # first step with a non-finite loss

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.spec.epochs * self.views.steps_per_epoch

    @property
    def epoch(self) -> int:
        """Epoch of the next step."""
        return self.tally.step // self.views.steps_per_epoch

    def run(self) -> Tally:
        """Train to the end.

        Raises:
            WrongLossError: at the first step of this process, the loss or its gradients cannot be right.
            NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is from before.
            Interrupted: `should_stop` said so; the state after the last step is on the disk.
            Pruned: `give_up` said so.
            BatchTooLargeError: a step needs more memory than there is.
        """
        writer = BackgroundWriter(self.hooks.save)
        self._saved_at = self._reported_at = self._began = time.monotonic()
        self._seconds_before, self._step_before = self.tally.seconds, self.tally.step
        self.method.train()
        if any(self.hooks.give_up(point) for point in self.tally.curve):
            raise Pruned
        try:
            while self.tally.step < self.steps:
                self._train_epoch(writer)
        finally:
            writer.close()
        return self.tally

    def _train_epoch(self, writer: BackgroundWriter) -> None:
        epoch, first = divmod(self.tally.step, self.views.steps_per_epoch)
        for batch in self.views.epoch(epoch, first):
            with self._explaining_memory():
                self._train_step(batch, epoch)
            if self.tally.step % self.views.steps_per_epoch == 0:
                self._end_epoch(epoch + 1)
            self._between_steps(writer)

    def _train_step(self, batch: Batch, epoch: int) -> None:
        step, spec = self._step(epoch), self.spec
        set_lr(self.optimiser, spec.optimiser.lr, spec.schedule, step.index, self.views.steps_per_epoch, spec.epochs)
        if spec.weight_decay_schedule is not None:
            first = spec.optimiser.weight_decay
            set_weight_decay(self.optimiser, weight_decay_at(first, spec.weight_decay_schedule, step.index, step.steps))
        batch = replace(batch, views=tuple(channels_last(views) for views in batch.views))
        torch.manual_seed(stream_seed(self.seed, "dropout", step.index))
        with autocast(spec.precision, self.device):
            loss = Loss.of(self.method.loss(batch, step))
        self.optimiser.zero_grad()
        if not self.checked:
            check_loss(loss)
        torch.autograd.backward(self.scaler.scale(loss.total))
        self._note(loss)
        if not self.checked:
            self._check_finite()
            check_gradients(self.method, batch, self.silent)
            self.checked = True
        if spec.clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.trained, spec.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.method.after_step(step)
        self.tally.step += 1

    def _step(self, epoch: int) -> Step:
        index = self.tally.step
        return Step(
            index=index,
            steps=self.steps,
            epoch=epoch,
            epochs=self.spec.epochs,
            generator=stream(self.seed, "permutation", index),
            encode=self.encode,
        )

    def _note(self, loss: Loss) -> None:
        """Add a step's loss to the sums of its epoch."""
        self.last_loss = loss.total.detach()
        self.loss_sum += self.last_loss
        for name, term in loss.terms.items():
            so_far = self.term_sums.setdefault(name, torch.zeros((), device=self.device))
            so_far += term.detach()
        step = self.tally.step
        self.bad_step = torch.where((self.bad_step < 0) & ~torch.isfinite(self.last_loss), step, self.bad_step)

    @contextmanager
    def _explaining_memory(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch's OutOfMemoryError on CUDA, a plain one on the CPU
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise BatchTooLargeError(
                f"a step of {self.spec.batch_size} images in {self.spec.all_views} views does not fit the memory of "
                f"{self.device}: use a smaller `batch_size` or fewer `views`, a narrower backbone, `precision: "
                f"bfloat16`, or a larger device (torch says: {str(error).splitlines()[0]})"
            ) from error

    def _between_steps(self, writer: BackgroundWriter) -> None:
        """Report, save, stop. Waits on the device only when one of them is due (on a CPU a look costs nothing)."""
        now = time.monotonic()
        if self.device.type == "cpu":
            self._check_finite()
        if now - self._reported_at >= self.hooks.report_seconds:
            self._reported_at = now
            self._check_finite()
            self.hooks.report(self.progress())
        if self.hooks.should_stop() and self.tally.step < self.steps:
            self._save(writer, wait=True)
            raise Interrupted
        if now - self._saved_at >= self.hooks.checkpoint_seconds and not writer.busy:
            self._saved_at = now
            self._save(writer, wait=False)

    def _end_epoch(self, epochs_done: int) -> None:
        self._check_finite()
        self._count_seconds()
        steps = self.views.steps_per_epoch
        values = {
            "loss": (self.loss_sum / steps).item(),
            **{f"loss_{name}": (term / steps).item() for name, term in self.term_sums.items()},
            "lr": float(self.optimiser.param_groups[0]["lr"]),
            **self.method.readings(),
        }
        values |= self.hooks.measure(epochs_done)
        self.tally.measuring_seconds += time.monotonic() - self._began
        point = CurvePoint(epoch=epochs_done, step=self.tally.step, values=values, seconds=self.tally.seconds)
        self.tally.curve.append(point)
        self.loss_sum.zero_()
        self.term_sums.clear()
        self.method.train()
        self._began = time.monotonic()
        if self.hooks.give_up(point):
            raise Pruned

    def _count_seconds(self) -> None:
        """Add the time since the clock was last started; measuring on the way is not training."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.monotonic()
        self.tally.seconds += now - self._began
        self._began = now

    def _check_finite(self) -> None:
        bad = int(self.bad_step)
        if bad >= 0:
            reason = self.method.failure()
            raise NonFiniteLossError(
                f"the loss is not finite at step {bad} (epoch {bad // self.views.steps_per_epoch})"
                + (f": {reason}" if reason else "; a lower `optimiser.lr` or a longer `schedule.warmup_steps` may help")
            ) from reason

    def progress(self) -> Progress:
        """Where the run stands; waits on the device for the loss."""
        seconds = self.tally.seconds + time.monotonic() - self._began - self._seconds_before
        rate = (self.tally.step - self._step_before) / max(seconds, 1e-9)
        return Progress(
            epoch=self.epoch,
            epochs=self.spec.epochs,
            step=self.tally.step,
            steps=self.steps,
            loss=self.last_loss.item(),
            views_per_second=rate * self.spec.all_views * self.spec.batch_size,
            seconds_left=(self.steps - self.tally.step) / max(rate, 1e-9),
            latest=self.tally.curve[-1].values if self.tally.curve else {},
        )

    def _save(self, writer: BackgroundWriter, *, wait: bool) -> None:
        self._check_finite()
        self._count_seconds()
        writer.save(self.state(), wait=wait)

    def state(self) -> State:
        """Everything that `restore` needs."""
        return {
            "pretraining": self.run_id,
            "code": self.hooks.code,
            "method": self.method.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "loss_sum": self.loss_sum,
            "term_sums": self.term_sums,
            "step": self.tally.step,
            "seconds": self.tally.seconds,
            "measuring_seconds": self.tally.measuring_seconds,
            "resumed": self.tally.resumed,
            "curve": [point.model_dump() for point in self.tally.curve],
        }

    def restore(self, state: State) -> None:
        """Go on from a checkpoint of this pretraining.

        Raises:
            CheckpointError: it does not fit this code's method or optimiser.
        """
        try:
            self.method.load_state_dict(state["method"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
            self.loss_sum.copy_(state["loss_sum"])
            self.term_sums = {name: value.to(self.device) for name, value in state["term_sums"].items()}
            curve = [CurvePoint.model_validate(point) for point in state["curve"]]
            self.tally = Tally(state["step"], state["seconds"], state["measuring_seconds"], state["resumed"] + 1, curve)
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"pretraining {self.run_id}: its checkpoint does not fit the code as it is now ({error})"
            ) from error


def channels_last(views: Tensor) -> Tensor:
    """(d, N, C, H, W) with the memory of each view in channels-last order."""
    return views.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
