"""A worker's end in the middle of a task: what it is called, and how it becomes the failure of the stage that it was
in, so that this alone is repeated. Runs nothing."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.engines.context import Context
from harness.engines.pretrain import store_curves
from harness.engines.run_task import failed_evaluation, finished_before, left_to_do, of_retraining, settled, unanswered
from harness.engines.task import Outcome, Task
from harness.store.provenance import collect
from harness.store.records import CurvePoint, Description, Failure, PretrainingRecord, Provenance

CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP}
KEPT = "the same command goes on from its last checkpoint, if it had one"


@dataclass
class Attempt:
    """A task that a worker has, and what is known of it."""

    task: Task
    started: str
    """UTC."""
    device: str
    """As provenance names it."""
    threads: int
    epoch: int | None = None
    step: int | None = None
    curve: list[CurvePoint] = field(default_factory=list)

    def failure(self, kind: str, message: str, stacks: str) -> Failure:
        """Why it has no result."""
        return Failure(kind=kind, message=message, traceback=stacks, epoch=self.epoch, step=self.step)


def record_death(attempt: Attempt, context: Context, failure: Failure) -> Outcome | None:
    """Store the end of an attempt's worker as the failure of the first stage that is left to do, unless that has been
    stored; its checkpoint stays. None: other stages are left, which another worker can do.

    Raises:
        Busy: the lock is held, perhaps by processes that the worker had started and that are about to end.
        StoreError: the store could not be written.
    """
    with context.store.lock(attempt.task.id):
        if settled(attempt.task, context) is None:
            _record(attempt, context, failure)
            context.store.drop_progress(attempt.task.id)
        return settled(attempt.task, context)


def _record(attempt: Attempt, context: Context, failure: Failure) -> None:
    task, spec, store = attempt.task, attempt.task.pretraining, context.store
    code = context.code.with_backbone(task.backbone)
    left, finished = left_to_do(task, context), finished_before(task, context)

    def provenance(parts: Mapping[str, str]) -> Provenance:
        return collect(code, parts, device=attempt.device, threads=attempt.threads, started=attempt.started)

    if finished is None:
        store_curves(store, task, attempt.curve)
        made = provenance(code.of_training(spec.method, attempt.device))
        store.save_pretraining(
            PretrainingRecord(id=spec.id, spec=spec, status="failed", provenance=made, failure=failure)
        )
        return
    asked = left.evaluations[:1]
    if left.train:  # again, since the encoder is not kept
        failure, asked = of_retraining(failure), tuple(unanswered(task, context, finished))
    else:
        failure = failure.model_copy(update={"epoch": None, "step": None})
    if left.describe and not left.train:
        made, encoder = provenance(code.of_description(spec.method)), finished.encoder
        sha = encoder.sha256 if encoder else None
        store.save_description(Description(id=spec.id, encoder=sha, status="failed", provenance=made, failure=failure))
        return
    for evaluation in asked:
        made = provenance(code.of_evaluation(evaluation.probe))
        store.save_evaluation(failed_evaluation(evaluation, finished, failure, made))


def cause_of_hanging(minutes: float) -> str:
    """What became of a worker that was killed because it said nothing, and what to do."""
    return (
        f"its worker process did nothing that shows for {minutes:g} min, no step and no stage, and was killed; the "
        f"traceback tells where it was; if that takes so long, give a larger --hung-after; {KEPT}"
    )


def cause_of_death(exit_code: int) -> str:
    """What became of a worker in the middle of a task, and what to do."""
    if exit_code >= 0:
        return (
            f"its worker process ended with exit code {exit_code}; what it printed is on the standard error of the "
            f"command; {KEPT}"
        )
    number = signal.Signals(-exit_code) if -exit_code in set(signal.Signals) else None
    name = number.name if number else f"signal {-exit_code}"
    if number == signal.SIGKILL:
        return (
            "its worker process was killed (SIGKILL), by somebody or, for want of memory, by the system: then use "
            f"fewer --workers or a smaller batch_size; {KEPT}"
        )
    if number in CRASHES:
        return (
            f"its worker process crashed in compiled code ({name}); the traceback tells where Python was; run it "
            f"without --workers to debug it; {KEPT}"
        )
    return f"its worker process was ended by {name}; {KEPT}"
