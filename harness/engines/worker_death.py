"""A worker's death as a record: the failure of the stage that it was in, so that this alone is repeated. Runs
nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from harness.engines.context import Context
from harness.engines.pretrain import store_curves
from harness.engines.run_task import failed_evaluation, finished_before, left_to_do, of_retraining, unanswered
from harness.engines.task import Task
from harness.store.records import CurvePoint, Description, Failure, PretrainingRecord, Provenance


class DeadWorker(Protocol):
    """What is known of the process."""

    def failure(self) -> Failure: ...
    def provenance(self, context: Context, parts: Mapping[str, str]) -> Provenance: ...
    def curve(self) -> tuple[CurvePoint, ...]: ...


def record_death(task: Task, replace: frozenset[str], context: Context, worker: DeadWorker) -> None:
    """Store the death as the failure of the first stage that is left to do. Call it with the lock held."""
    left, store, spec = left_to_do(task, context, replace), context.store, task.pretraining
    code = context.code.with_backbone(task.backbone)
    failure = worker.failure()
    finished = finished_before(task, context, replace)
    if finished is None:
        store_curves(store, task, worker.curve())
        provenance = worker.provenance(context, code.of_training(spec.method, context.execution.device_name()))
        store.save_pretraining(
            PretrainingRecord(id=spec.id, spec=spec, status="failed", provenance=provenance, failure=failure)
        )
        return
    asked = left.evaluations[:1]
    if left.train:  # again, since the encoder is not kept
        failure, asked = of_retraining(failure), tuple(unanswered(task, context, finished))
    else:
        failure = failure.model_copy(update={"epoch": None, "step": None})
    if left.describe and not left.train:
        provenance = worker.provenance(context, code.of_description(spec.method))
        encoder = finished.encoder.sha256 if finished.encoder else None
        store.save_description(
            Description(id=spec.id, encoder=encoder, status="failed", provenance=provenance, failure=failure)
        )
        return
    for evaluation in asked:
        provenance = worker.provenance(context, code.of_evaluation(evaluation.probe))
        store.save_evaluation(failed_evaluation(evaluation, finished, failure, provenance))
