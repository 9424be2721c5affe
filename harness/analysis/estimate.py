"""How long what is to do will take, from stored runs of comparable ones. Owns what counts as comparable; never guesses.

Training is priced by the view, an evaluation by its probe and the images that it reads; what is done costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.analysis.frame import Record
from harness.data.facts import training_count
from harness.spec.models import Cell, Pretraining, Question, Source
from harness.store.store import Store
from harness.suite.facts import Facts

Key = tuple[Any, ...]
Table = dict[Key, list[float]]
Seconds = Mapping[Key, list[float]]


@dataclass(frozen=True)
class Estimator:
    """What stored stages took, at several degrees of likeness, on whatever device they ran."""

    train: Seconds
    """Seconds per view."""
    monitor: Seconds
    """Seconds of one monitor per epoch."""
    description: Seconds
    evaluation: Seconds

    @classmethod
    def of(cls, store: Store) -> Estimator:
        """From every stage that is done."""
        train: Table = {}
        monitor: Table = {}
        description: Table = {}
        evaluation: Table = {}
        for record in store.pretrainings():
            spec, cost = record.spec, record.cost
            if record.status != "done" or cost is None:
                continue
            if cost.views_seen:
                _add(train, _like_trainings(spec), cost.train_seconds / cost.views_seen)
            if record.monitors and spec.training:
                readings = len(record.monitors) * spec.training.epochs
                _add(monitor, _like_trainings(spec), cost.monitor_seconds / readings)
            if (described := store.read_description(record.id).record) is not None:
                _add(description, _like_trainings(spec), described.seconds)
            for id_ in store.evaluation_ids(record.id):
                answer = store.read_evaluation(record.id, id_).record
                if answer is not None and answer.status == "done":
                    _add(evaluation, _like_questions(answer.spec, spec), answer.seconds)
        return cls(train, monitor, description, evaluation)

    def seconds(self, record: Record, train_images: int | None, stages: Collection[str] | None = None) -> float | None:
        """Of what of a cell is to do; None where nothing comparable to one of the stages has run.

        Args:
            train_images: how many the encoder is trained on.
            stages: of `record.to_do`, those that are counted; None for all.
        """
        cell, to_do = record.cell, record.to_do if stages is None else stages
        asked = [question for name, question in cell.evaluations.items() if name in to_do]
        parts = [_median(self.evaluation, _like_questions(question, cell.pretraining)) for question in asked]
        if "description" in to_do:
            parts.append(_median(self.description, _like_trainings(cell.pretraining)))
        if "training" in to_do and cell.training is not None:
            parts.append(self._training(cell, train_images))
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def _training(self, cell: Cell, train_images: int | None) -> float | None:
        training, likeness = cell.training, _like_trainings(cell.pretraining)
        a_view = _median(self.train, likeness)
        if training is None or a_view is None or train_images is None:
            return None
        steps = train_images // training.batch_size * training.epochs
        monitored = (_median(self.monitor, likeness) or 0.0) * len(cell.monitors) * training.epochs
        return a_view * steps * training.batch_size * training.all_views + monitored


def estimated_seconds(records: Iterable[Record], store: Store, facts: Facts) -> dict[str, float | None]:
    """Seconds by id of the cells that have stages to do; None where nothing comparable has run.

    A stage that several cells share is counted once, with the first of them.

    Args:
        records: of the cells that would run.
    """
    estimator = Estimator.of(store)
    seconds: dict[str, float | None] = {}
    counted: set[str] = set()
    for record in records:
        if record.to_do and record.placed.id not in seconds:
            cell = record.cell
            left = {stage: _stage_id(cell, stage) for stage in record.to_do}
            fresh = [stage for stage, id_ in left.items() if id_ not in counted]
            counted |= set(left.values())
            seconds[record.placed.id] = estimator.seconds(record, training_images(cell, facts), fresh)
    return seconds


def training_images(cell: Cell, facts: Facts) -> int | None:
    """How many images the cell's encoder is trained on, as far as its dataset is known."""
    source = cell.pretraining.source
    if source is None:
        return None
    return training_count(source, {name: split.count for name, split in facts.dataset(source.name).splits.items()})


def _stage_id(cell: Cell, stage: str) -> str:
    question = cell.evaluations.get(stage)
    return f"{stage} {cell.pretraining.id}" if question is None else question.id


def _like_trainings(pretraining: Pretraining) -> tuple[Key, ...]:
    """From the most to the least alike: the same method in the same batches, the same encoder on the same images."""
    training = pretraining.training
    if training is None:
        encoder: Key = (None, *_encoder(pretraining))
        return ((*encoder, pretraining.method), encoder)
    encoder = (_name(pretraining.source), training.precision, *_encoder(pretraining))
    return ((*encoder, pretraining.method, training.all_views, training.batch_size), encoder)


def _like_questions(question: Question, pretraining: Pretraining) -> tuple[Key, ...]:
    """From the most to the least alike: the same question of such an encoder, the same probe on the same images."""
    images = (_name(question.train), _name(question.scored), question.split, question.train.train_images)
    probe = (question.probe, question.precision, *images, *_encoder(pretraining))
    settings = json.dumps([question.settings, question.label_fraction], sort_keys=True)
    return ((*probe, settings), probe)


def _encoder(pretraining: Pretraining) -> Key:
    """What of an encoder costs time: its architecture and what it is fed, whatever its weights are."""
    backbone = pretraining.backbone
    built = None if backbone is None else backbone.model_copy(update={"weights": None}).model_dump_json()
    return (built, pretraining.input.size, pretraining.input.channels)


def _name(source: Source | None) -> str | None:
    return None if source is None else source.name


def _add(table: Table, keys: Iterable[Key], value: float) -> None:
    for key in keys:
        table.setdefault(key, []).append(value)


def _median(table: Seconds, keys: Iterable[Key]) -> float | None:
    """Of the values at the first key that has any."""
    return next((median(table[key]) for key in keys if key in table), None)
