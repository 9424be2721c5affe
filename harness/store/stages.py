"""What of a cell is left to do: training, description, each evaluation. Reads the store; runs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.spec.models import Evaluation, Monitor, Pretraining
from harness.store.provenance import Code, stale_reason
from harness.store.records import Description, EvaluationRecord, PretrainingRecord
from harness.store.sealed import Sealed
from harness.store.store import Store


@dataclass(frozen=True)
class Stages:
    """What is left to do. Training anew makes everything after it to do as well."""

    train: bool
    describe: bool
    evaluations: tuple[Evaluation, ...]
    lacking_curves: tuple[str, ...] = ()
    """Ids of monitors whose curve a finished pretraining lacks; it is trained again for them only when asked to."""
    why: str = ""
    """Why a pretraining that has ended is to be trained again."""

    @property
    def nothing(self) -> bool:
        """Whether all is done."""
        return not (self.train or self.describe or self.evaluations)


def stages(
    store: Store,
    pretraining: Pretraining,
    evaluations: Iterable[Evaluation],
    monitors: Iterable[Monitor] = (),
    *,
    replace: frozenset[str] = frozenset(),
    for_curves: bool = False,
) -> Stages:
    """What is left to do of a pretraining and its evaluations, as stored now.

    Args:
        replace: seals of records that do not stand: failures to be tried again, results of older code.
        for_curves: whether a lacking curve is a reason to train again.
    """
    asked = tuple(evaluations)
    sealed = store.read_pretraining(pretraining.id)
    record = sealed.record
    if record is None or record.status == "pruned" or sealed.seal in replace:
        return Stages(True, True, asked, why=_why_anew(sealed))
    if record.status == "failed":
        return Stages(False, False, ())
    lacking = tuple(monitor.id for monitor in monitors if monitor.id not in record.monitors)
    if lacking and for_curves:
        return Stages(True, True, asked, lacking, "its curve is asked for")
    to_do = tuple(e for e in asked if not _stands(store, record, e, replace))
    described = store.read_description(record.id)
    describe = described.record is None or described.seal in replace or described.record.encoder != _encoder(record)
    if not store.has_encoder(record):
        if to_do:
            return Stages(True, True, asked, lacking, "its encoder is not kept")
        describe = False
    return Stages(False, describe, to_do, lacking)


def current(store: Store, record: PretrainingRecord, evaluation: str) -> EvaluationRecord | None:
    """The believed answer of the pretraining's present encoder; None where there is none."""
    answer = store.read_evaluation(record.id, evaluation).record
    return answer if answer is not None and answer.encoder == _encoder(record) else None


def replaceable(
    store: Store, pretraining: Pretraining, evaluations: Iterable[Evaluation], code: Code, rerun_stale: bool
) -> frozenset[str]:
    """Seals of the records that do not stand in the way of another attempt: failures and, with `rerun_stale`, what was
    made by older code. To be asked once, when a command begins: what fails later stands."""
    records: list[Sealed[PretrainingRecord] | Sealed[Description] | Sealed[EvaluationRecord]] = [
        store.read_pretraining(pretraining.id),
        store.read_description(pretraining.id),
        *(store.read_evaluation(pretraining.id, evaluation.id) for evaluation in evaluations),
    ]
    seals = set()
    for sealed in records:
        record = sealed.record
        if record is None or sealed.seal is None:
            continue
        if record.status == "failed" or (rerun_stale and stale_reason(record, code)):
            seals.add(sealed.seal)
    return frozenset(seals)


def _why_anew(sealed: Sealed[PretrainingRecord]) -> str:
    if sealed.record is None:
        return sealed.reason or ""
    return {"failed": "it failed", "pruned": "it was stopped early", "done": "its code has changed since"}[
        sealed.record.status
    ]


def _stands(store: Store, record: PretrainingRecord, evaluation: Evaluation, replace: frozenset[str]) -> bool:
    sealed = store.read_evaluation(record.id, evaluation.id)
    return sealed.record is not None and sealed.record.encoder == _encoder(record) and sealed.seal not in replace


def _encoder(record: PretrainingRecord) -> str | None:
    return record.encoder.sha256 if record.encoder else None
