"""The words of a suite become specs: a row's fields, with the content of what they name, as one cell. Owns which parts
of a row belong to the pretraining and which to its evaluations, and why a cell could not run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from pydantic import BaseModel

from harness.data.facts import DatasetFacts, training_count
from harness.spec.identity import identity_of
from harness.spec.models import (
    Backbone,
    Cell,
    Evaluation,
    Monitor,
    Pretraining,
    Source,
    TrainingSpec,
    Transform,
)
from harness.suite.facts import Catalogue, Facts, MethodLike, SettingsLike, WeightsMissing
from harness.suite.row import TRAINING_FIELDS, EvaluationFields, RowFields


def fields_without_use(entry: MethodLike) -> frozenset[str]:
    """Fields of a row that mean nothing to a method: what is not trained has no optimiser, pixels have no backbone."""
    fields = set() if entry.trains else {*TRAINING_FIELDS, "monitors"}
    return frozenset(fields | ({"backbone"} if entry.represents == "pixels" else set()))


def assemble(fields: RowFields, catalogue: Catalogue, facts: Facts) -> Cell:
    """The cell that a row's fields stand for, by the content of what they name.

    Raises:
        ValidationError: settings that the method's or a probe's own model refuses.
    """
    entry, name = catalogue.methods[fields.method], fields.dataset.name
    pretraining = _pretraining(fields, entry, catalogue.datasets[name].pretrain, facts)
    evaluations, monitors = {}, {}
    for label, asked in fields.evaluations.items():
        if asked is not None:
            question = _question(asked, fields, catalogue, facts)
            evaluations[question_name(label, question["settings"])] = Evaluation(pretraining=pretraining.id, **question)
    for label, watched in fields.monitors.items():
        if watched is not None and entry.trains:
            question = _question(watched, fields, catalogue, facts)
            monitors[question_name(label, question["settings"])] = Monitor(
                every_epochs=watched.every_epochs, **question
            )
    return Cell(seed=fields.seed, dataset=name, pretraining=pretraining, evaluations=evaluations, monitors=monitors)


def question_name(label: str, settings: Mapping[str, Any]) -> str:
    """What a question is called: its label, but `knn5` with another k is called after that k."""
    k = settings.get("k")
    return f"knn{k}" if k is not None and re.fullmatch(r"knn[0-9]+", label) else label


def _pretraining(fields: RowFields, entry: MethodLike, splits: tuple[str, ...], facts: Facts) -> Pretraining:
    data, backbone = fields.dataset, _backbone(fields, facts)
    training = None
    if entry.trains:
        training = TrainingSpec.model_validate(
            {name: getattr(fields, name) for name in (*TRAINING_FIELDS, "precision")}
        )
    source = None
    if training is not None:
        draws_by_label = data.train_images is not None or data.validation_fraction > 0
        source = _source(
            data.name,
            splits,
            facts.dataset(data.name),
            entry.reads_labels or draws_by_label,
            train_images=data.train_images,
            validation_fraction=data.validation_fraction,
        )
    drawn = training is not None or (backbone is not None and backbone.weights is None)
    return Pretraining(
        method=entry.name,
        settings=_reduced(entry.settings, fields.settings),
        input=data.input(),
        source=source,
        backbone=backbone,
        training=training,
        seed=fields.seed if drawn else None,
    )


def _backbone(fields: RowFields, facts: Facts) -> Backbone | None:
    if fields.backbone is None:
        return None
    written = fields.backbone.model_dump(exclude={"weights"})
    weights = None
    if fields.backbone.weights is not None:
        try:
            weights = facts.weights(fields.backbone.weights)
        except WeightsMissing:  # the cell cannot run, which `cannot_run` says; its id stands for nothing
            weights = "0" * 64
    return Backbone(**written, weights=weights)


def _question(asked: EvaluationFields, fields: RowFields, catalogue: Catalogue, facts: Facts) -> dict[str, Any]:
    """What evaluations and monitors have in common."""
    probe, data = catalogue.probes[asked.probe], fields.dataset
    name = asked.dataset or data.name
    known = facts.dataset(name)
    everything = _source(name, ("train",), known, True, validation_fraction=data.validation_fraction)
    count = training_count(everything, _counts(known))
    fewer = data.train_images if asked.dataset is None else None
    all_of_them = fewer is None or (count is not None and fewer >= count)
    train = everything if all_of_them else everything.model_copy(update={"train_images": fewer})
    scored = everything if fields.split == "validation" else _source(name, ("test",), known, True)
    drawn = probe.draws or asked.label_fraction is not None
    return {
        "probe": asked.probe,
        "settings": _reduced(probe.settings, asked.model_extra or {}),
        "train": train,
        "scored": scored,
        "split": fields.split,
        "label_fraction": asked.label_fraction,
        "transform": Transform(resize=data.eval_resize),
        "precision": "float32" if fields.backbone is None else fields.precision,  # there is no encoder to cast
        "seed": fields.seed if drawn else None,
    }


def _source(name: str, splits: tuple[str, ...], facts: DatasetFacts, labels_read: bool, **subset: Any) -> Source:
    known_splits = [facts.splits[split] for split in splits if split in facts.splits]
    images = tuple(split.images for split in known_splits if split.images)
    labels = tuple(split.labels for split in known_splits if split.labels)
    known = len(images) == len(splits) and (not labels_read or len(labels) == len(splits))
    return Source(
        name=name,
        splits=splits,
        images=images if known else None,
        labels=labels if known and labels_read else None,
        **subset,
    )


def _reduced(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Validated settings with every default written out, but for fields that have their neutral value."""
    return cast(dict[str, Any], json.loads(_reduced_text(model, json.dumps(dict(values)))))


@lru_cache(maxsize=1024)  # cells of one suite differ little
def _reduced_text(model: type[BaseModel], text: str) -> str:
    return json.dumps(identity_of(model.model_validate_json(text)))


def _counts(facts: DatasetFacts) -> dict[str, int | None]:
    return {name: split.count for name, split in facts.splits.items()}


def cannot_run(fields: RowFields, cell: Cell, catalogue: Catalogue, facts: Facts) -> str | None:
    """Why a cell would fail if it were run; None if nothing is known against it."""
    entry = catalogue.methods[fields.method]
    return (
        _method_problem(fields, entry)
        or _too_few_images(fields, cell, facts)
        or _probe_problem(cell, catalogue, facts)
        or _weights_problem(fields, entry, facts)
        or _backbone_problem(cell, facts)
    )


def _method_problem(fields: RowFields, entry: MethodLike) -> str | None:
    if fields.views is None or fields.batch_size is None:
        return None
    views = fields.views + sum(group.count for group in fields.more_views or ())
    if views < entry.min_views:
        return f"{fields.method} needs at least {entry.min_views} views, not {views}"
    settings = cast(SettingsLike, entry.settings.model_validate(fields.settings))
    return settings.problem(views, fields.batch_size)


def _too_few_images(fields: RowFields, cell: Cell, facts: Facts) -> str | None:
    name, requested = fields.dataset.name, fields.dataset.train_images
    source = cell.pretraining.source
    if source is None:
        return None
    counts = _counts(facts.dataset(name))
    images = training_count(source.model_copy(update={"train_images": None}), counts)
    if images is not None and requested is not None and requested > images:
        return f"train_images is {requested}, but {name} has only {images} to train on"
    images = requested if requested is not None else images
    if images is not None and fields.batch_size is not None and fields.batch_size > images:
        return f"a batch of {fields.batch_size} images is larger than the {images} that {name} is trained on"
    return None


def _probe_problem(cell: Cell, catalogue: Catalogue, facts: Facts) -> str | None:
    for label, question in (*cell.evaluations.items(), *cell.monitors.items()):
        probe = catalogue.probes[question.probe]
        needed = probe.needed_images(probe.settings.model_validate(question.settings))
        images = training_count(question.train, _counts(facts.dataset(question.train.name)))
        if images is not None and question.label_fraction is not None:
            images = max(1, round(images * question.label_fraction))  # as `evaluate` draws them
        if images is not None and needed > images:
            return f"{label} needs at least {needed} training images, and there are {images}"
        channels = catalogue.datasets[question.train.name].channels
        if channels != cell.pretraining.input.channels and question.train.name != cell.dataset:
            return (
                f"{label}: {question.train.name} has {channels} channels, the encoder takes "
                f"{cell.pretraining.input.channels}"
            )
    return None


def _weights_problem(fields: RowFields, entry: MethodLike, facts: Facts) -> str | None:
    path = fields.backbone.weights if fields.backbone else None
    if path is None:
        return f"{entry.name} needs `backbone.weights`, a file" if entry.needs_weights else None
    if not entry.trains and not entry.needs_weights:
        return f"{entry.name} begins with random weights: take `backbone.weights` out, or use the method given_weights"
    try:
        facts.weights(path)
    except WeightsMissing as error:
        return str(error)
    return None


def _backbone_problem(cell: Cell, facts: Facts) -> str | None:
    backbone, input = cell.pretraining.backbone, cell.pretraining.input
    if backbone is None:
        return None
    groups = cell.training.more_views if cell.training else ()
    for size in dict.fromkeys((input.size, *(group.size or input.size for group in groups))):
        reason = facts.backbone_problem(backbone, input.model_copy(update={"size": size}))
        if reason is not None:
            return reason if size == input.size else f"more_views of {size} pixels: {reason}"
    return None
