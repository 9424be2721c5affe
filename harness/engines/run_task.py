"""A task from its images to its answers, a stage at a time. Every engine runs tasks through here: where one runs
changes no number.

Owns the order of the stages and what a failure costs: training, then the description, then each evaluation. What fails
is recorded as that stage's failure and is all that the next run repeats; an interruption leaves a checkpoint; a missing
dataset leaves nothing. A finished pretraining that is trained again, for the sake of an encoder that is not kept, stays
finished whatever becomes of that.
"""

from __future__ import annotations

import gc
import tempfile
import time
import traceback
from dataclasses import replace as changed
from pathlib import Path

import torch

from harness.data.datasets import DataMissing
from harness.engines.context import Context
from harness.engines.describe import Diagnosis, Facts, diagnose_encoder, facts_of
from harness.engines.evaluate import Features, load_images
from harness.engines.pretrain import Networks, PretrainingRun, build, restore
from harness.engines.task import Outcome, Task
from harness.engines.warm_up import compile_ahead
from harness.evaluation.sample import principal_sample
from harness.evaluation.sample import sample_rows as shown_rows
from harness.own_backbones import register_with_timm
from harness.spec.models import Evaluation, Question
from harness.store.atomic import FULL, StoreError, explained
from harness.store.cell_result import read_cell, sample_name
from harness.store.progress import ProgressReporter
from harness.store.provenance import collect, utc_now
from harness.store.records import (
    Arrays,
    Description,
    EvaluationRecord,
    Failure,
    PretrainingRecord,
    Provenance,
    pack_hits,
)
from harness.store.stages import Stages, current, stages
from harness.store.store import ARRAYS, ENCODER, HEADS
from harness.training.trainer import Interrupted, Pruned
from methods.entry import MethodEntry

PASSED_ON = (Interrupted, DataMissing, StoreError, KeyboardInterrupt)
"""What is no stage's failure: it ends the task, and leaves everything that was stored."""


def run_task(task: Task, entry: MethodEntry, context: Context) -> Outcome:
    """Do what is left of one task, of which something is. Call it with the lock of its pretraining held.

    Raises:
        Interrupted: asked to stop; a checkpoint is on the disk if training had begun.
        DataMissing: a dataset is not on this machine.
        StoreError: a record or a checkpoint could not be written.
    """
    try:
        return _TaskRun(task, entry, context).to_the_end()
    finally:
        if context.execution.torch_device().type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def left_to_do(task: Task, context: Context) -> Stages:
    """What is left of a task, as stored now."""
    return stages(
        context.store,
        task.pretraining,
        task.evaluations,
        task.monitors.values(),
        replace=task.replace,
        for_curves=context.execution.curves_of_finished,
    )


def finished_before(task: Task, context: Context) -> PretrainingRecord | None:
    """The record of a pretraining that is done and stands; if it is trained again, then for what is asked besides."""
    sealed = context.store.read_pretraining(task.id)
    done = sealed.record is not None and sealed.record.status == "done" and sealed.seal not in task.replace
    return sealed.record if done else None


def unanswered(task: Task, context: Context, record: PretrainingRecord) -> list[Evaluation]:
    """The evaluations without an answer of the record's encoder."""
    answers = [(evaluation, current(context.store, record, evaluation.id)) for evaluation in task.evaluations]
    return [evaluation for evaluation, answer in answers if answer is None or answer.status == "failed"]


def settled(task: Task, context: Context) -> Outcome | None:
    """How a task has ended already, if nothing of it is left to do; None if something is."""
    return stored_outcome(task, context) if left_to_do(task, context).nothing else None


def stored_outcome(task: Task, context: Context) -> Outcome:
    """How a task stands of which nothing is left to do."""
    failures = {
        f"{stage}: {failure.kind}: {failure.message}": None
        for cell in task.cells
        if (result := read_cell(context.store, cell)) is not None
        for stage, failure in result.failures.items()
    }
    return Outcome("failed", "; ".join(failures)) if failures else Outcome("done")


class _TaskRun:
    def __init__(self, task: Task, entry: MethodEntry, context: Context) -> None:
        code = context.code.with_backbone(task.backbone)
        self.task, self.entry, self.context = task, entry, changed(context, code=code)
        self.left = left_to_do(task, context)
        self.networks: Networks | None = None
        self.features: Features | None = None
        self.device = context.execution.torch_device()
        self.reporter = ProgressReporter(context.store, task.id)

    def to_the_end(self) -> Outcome:
        store = self.context.store
        store.begin(self.task.pretraining)
        try:
            if not self.left.train and self._encoder_is_lost():
                self.left = Stages(True, True, self.task.evaluations, why="its encoder is damaged")
            record = self._trained() if self.left.train else store.pretraining(self.task.id)
            if isinstance(record, Outcome):
                return record
            assert record is not None
            assert record.status == "done"
            store.drop_checkpoint(record.id)
            if self.left.describe:
                self._stage("describing")
                self._describe(record)
            description = store.read_description(record.id).record
            if description is not None and description.status == "done":
                store.drop(record.id, HEADS)
            for evaluation in self.left.evaluations:
                self._stage(f"evaluating {self.task.name_of(evaluation)}")
                self._evaluate(record, evaluation)
        finally:
            store.drop_progress(self.task.id)
        outcome = stored_outcome(self.task, self.context)
        if outcome.state == "done" and not self.context.execution.keep_encoders:
            store.drop(record.id, ENCODER)
            store.drop(record.id, HEADS)
        return outcome

    def _stage(self, what: str) -> None:
        if self.context.should_stop():
            raise Interrupted
        self.context.watcher.stage(self.task.id, what)
        self.reporter.evaluating()

    def _encoder_is_lost(self) -> bool:
        """Whether the encoder's file is not what its record says. Whoever reads it says so in a warning."""
        record = self.context.store.pretraining(self.task.id)
        if record is None or record.encoder is None:
            return False
        return self.context.store.read_encoder(record) is None

    def _trained(self) -> PretrainingRecord | Outcome:
        """The pretraining's record, after training; how the task ends where that did not end well."""
        finished = finished_before(self.task, self.context)
        run = PretrainingRun(self.task, self.entry, self.context)
        try:
            register_with_timm(self.task.backbone)
            if self.device.type == "cpu" and not self.context.execution.plain:
                compile_ahead()
            record, self.networks = run.to_the_end()
        except PASSED_ON:
            raise
        except Pruned:
            if finished is None:
                run.pruned()
            self.context.store.drop_checkpoint(self.task.id)
            return Outcome("pruned")
        except Exception as error:
            failure = run.located(failure_of(error))
            if finished is None:
                run.failed(failure)
            else:
                self._not_trained_again(finished, failure)
            return Outcome("failed", f"training: {failure.kind}: {failure.message}")
        self._keep_what_is_of(record)
        return record

    def _keep_what_is_of(self, record: PretrainingRecord) -> None:
        """What stands although the pretraining was trained anew: the answers of an encoder that has come out the same.
        A sample of another one's features goes."""
        store = self.context.store
        left = stages(store, self.task.pretraining, self.task.evaluations, replace=self.task.replace)
        self.left = changed(self.left, describe=left.describe, evaluations=left.evaluations)
        if not any(current(store, record, id_) for id_ in store.evaluation_ids(record.id)):
            for evaluation in self.task.evaluations:
                store.drop(record.id, f"{ARRAYS}/{sample_name(evaluation)}.json")

    def _not_trained_again(self, finished: PretrainingRecord, failure: Failure) -> None:
        """Store the failure with the evaluations that needed the encoder; what is done stays so."""
        started = utc_now()
        for evaluation in unanswered(self.task, self.context, finished):
            provenance = self._provenance(self.context.code.of_evaluation(evaluation.probe), started)
            self.context.store.save_evaluation(
                failed_evaluation(evaluation, finished, of_retraining(failure), provenance)
            )

    def _restored(self, record: PretrainingRecord) -> Networks:
        """The networks, from memory or from the disk."""
        if self.networks is None:
            register_with_timm(self.task.backbone)
            self.networks = restore(record, self.entry, self.context)
        if self.networks is None:
            raise EncoderLost(f"the encoder of {record.id} was damaged meanwhile; the next run trains it again")
        return self.networks

    def _describe(self, record: PretrainingRecord) -> None:
        began, started = time.monotonic(), utc_now()
        facts, final, initial, spectra, failure = Facts(), Diagnosis(), Diagnosis(), None, None
        try:
            networks = self._restored(record)
            first = networks if record.spec.training is None else build(record.spec, self.entry, self.context)
            facts = facts_of(record.spec, first.encoder, first.method, record.cost.steps if record.cost else 0)
            final, initial = self._diagnosed(record, networks, first, facts)
            of_step_0 = {f"initial_{name}": values for name, values in initial.spectra.items()}
            spectra = Arrays(id=record.id, spectra={**final.spectra, **of_step_0})
        except PASSED_ON:
            raise
        except Exception as error:
            failure = failure_of(error)
        if spectra is not None:
            self.context.store.save_arrays(record.id, "spectra", spectra)
        description = Description(
            id=record.id,
            encoder=record.encoder.sha256 if record.encoder else None,
            status="failed" if failure else "done",
            encoder_flops_per_view=facts.encoder_flops_per_view,
            train_flops=facts.train_flops,
            parameters=facts.parameters,
            features=facts.features,
            diagnostics={} if failure else final.values,
            initial={} if failure else initial.values,
            seconds=time.monotonic() - began,
            unknown=facts.unknown,
            provenance=self._provenance(self.context.code.of_description(record.spec.method), started),
            failure=failure,
        )
        self.context.store.save_description(description)

    def _diagnosed(
        self, record: PretrainingRecord, networks: Networks, first: Networks, facts: Facts
    ) -> tuple[Diagnosis, Diagnosis]:
        """Diagnostics at the end and, of what was trained, at step 0, where the networks were `first`."""
        spec, question, device = record.spec, self.task.described_on, self.device
        if question is None:
            facts.unknown["diagnostics"] = "nothing is asked of it, so no images are known to look at"
            return Diagnosis(), Diagnosis()
        images = load_images(question.train, "train", self.context.execution.data_dir, spec.input.channels).images
        final = diagnose_encoder(spec, question, images, networks.encoder, networks.method, device, with_views=True)
        if spec.training is None:
            return final, Diagnosis()
        if networks.method is None:
            facts.unknown["v"] = "the heads are not kept"
        for network in (first.encoder, first.method):
            if network is not None:
                network.to(device)
        initial = diagnose_encoder(spec, question, images, first.encoder, first.method, device, with_views=False)
        return final, initial

    def _evaluate(self, record: PretrainingRecord, evaluation: Evaluation) -> None:
        began, started = time.monotonic(), utc_now()
        provenance, hits = self._provenance(self.context.code.of_evaluation(evaluation.probe), started), None
        try:
            features = self._features(record)
            scores = features.ask(evaluation)
            scored = features.scored(evaluation)
            hits = Arrays(
                id=evaluation.id,
                hits={name: pack_hits(correct) for name, correct in scores.hits.items()},
                recalls=tuple(zip(scored.classes, scores.recalls, strict=False)),
            )
            answer = EvaluationRecord(
                id=evaluation.id,
                spec=evaluation,
                encoder=record.encoder.sha256 if record.encoder else None,
                status="done",
                metrics=scores.metrics,
                titles={metric.name: metric.heading for metric in scores.values},
                units={metric.name: metric.unit for metric in scores.values},
                lower_is_better=tuple(metric.name for metric in scores.values if not metric.higher_is_better),
                images=len(scored),
                details={**scores.details, **self._sample(record, evaluation, features)},
                provenance=provenance,
            )
        except PASSED_ON:
            raise
        except Exception as error:
            answer = failed_evaluation(evaluation, record, failure_of(error), provenance)
        if answer.status == "done" and hits is not None:
            self.context.store.save_arrays(record.id, f"hits-{evaluation.id}", hits)
        ended = provenance.model_copy(update={"finished": utc_now()})
        answer = answer.model_copy(update={"seconds": time.monotonic() - began, "provenance": ended})
        self.context.store.save_evaluation(answer)

    def _features(self, record: PretrainingRecord) -> Features:
        if self.features is None:
            networks, execution = self._restored(record), self.context.execution
            self.features = Features(networks.encoder, record.spec.input, execution.data_dir, self.device)
        return self.features

    def _sample(self, record: PretrainingRecord, question: Question, features: Features) -> dict[str, str]:
        """Store a sample of the scored features for pictures, once; a reason where that fails."""
        store, name = self.context.store, sample_name(question)
        if store.read_arrays(record.id, name, record.id).record is not None:
            return {}
        try:
            scored = features.scored(question)
            h, rows = scored.features(), shown_rows(len(scored))
            sample = principal_sample(h[rows.to(h.device)], scored.labels[rows])
        except Exception as error:  # a decomposition may not converge, and costs no accuracy
            return {"sample": f"none: {type(error).__name__}: {error}"}
        store.save_arrays(record.id, name, Arrays(id=record.id, sample=sample))
        return {}

    def _provenance(self, parts: dict[str, str], started: str) -> Provenance:
        device = self.context.execution.device_name()
        return collect(self.context.code, parts, device=device, threads=torch.get_num_threads(), started=started)


class EncoderLost(RuntimeError):
    """An encoder that is not what its record says."""


def failed_evaluation(
    evaluation: Evaluation, record: PretrainingRecord, failure: Failure, provenance: Provenance
) -> EvaluationRecord:
    """What is stored of an evaluation that gave nothing."""
    return EvaluationRecord(
        id=evaluation.id,
        spec=evaluation,
        encoder=record.encoder.sha256 if record.encoder else None,
        status="failed",
        provenance=provenance,
        failure=failure,
    )


def of_retraining(failure: Failure) -> Failure:
    """A failure of training as one of an evaluation that needed the encoder."""
    said = f"its encoder is not there any more, and training it again failed: {failure.message}"
    return failure.model_copy(update={"message": said})


def failure_of(error: Exception) -> Failure:
    """An exception as records hold it.

    Raises:
        StoreError: in its place where a disk is full, whoever wrote there: that is no stage's failure.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        path = Path(error.filename or tempfile.gettempdir())
        raise explained(error, f"cannot write {path}", path) from error
    return Failure(
        kind=type(error).__name__,
        message=str(error) or type(error).__name__,
        traceback="".join(traceback.format_exception(error)),
    )
