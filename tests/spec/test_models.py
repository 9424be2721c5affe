"""The ids of pretrainings, evaluations, monitors and cells: all science changes them, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from harness.spec.models import (
    Augmentation,
    Backbone,
    Cell,
    Evaluation,
    Input,
    Monitor,
    Optimiser,
    Pretraining,
    Question,
    Schedule,
    Source,
    TrainingSpec,
    Transform,
    Views,
    WeightDecaySchedule,
)

M = TypeVar("M", bound=BaseModel)
A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)  # fingerprints

KNOWN = Source(name="cifar10", splits=("train",), images=(A,), labels=(B,))
UNKNOWN = Source(name="cifar10", splits=("train",))
SCORED = Source(name="cifar10", splits=("test",), images=(C,), labels=(D,))
PRETRAINING = Pretraining(
    method="w_mse",
    settings={"head": {"embedding": 64}, "eps": 0.0},
    input=Input(size=32, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),
    source=KNOWN,
    backbone=Backbone(options={"patch_size": 4}, weights=D),
    training=TrainingSpec(
        views=2,
        augmentation=Augmentation(),
        optimiser=Optimiser(),
        schedule=Schedule(),
        epochs=10,
        batch_size=256,
        precision="float32",
    ),
    seed=0,
)
ASKED: dict[str, Any] = {
    "probe": "linear",
    "settings": {"epochs": 500},
    "train": KNOWN,
    "scored": SCORED,
    "split": "test",
    "transform": Transform(),
    "precision": "float32",
    "seed": 0,
}
EVALUATION = Evaluation(pretraining=PRETRAINING.id, **ASKED)
MONITOR = Monitor(every_epochs=5, **ASKED)
SPECS: dict[str, Pretraining | Question] = {"pretraining": PRETRAINING, "evaluation": EVALUATION, "monitor": MONITOR}


def leaves(model: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of a model, and of the models inside it."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        yield (*path, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))


def literals(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, UnionType):
        return tuple(value for part in get_args(annotation) for value in literals(part))
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def another(value: Any, annotation: Any) -> Any:
    """Another value of the same type."""
    others = [choice for choice in literals(annotation) if choice != value]
    if others:
        return others[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, BaseModel | None):
        return 7 if value is None else None
    if isinstance(value, tuple):
        return (another(value[0], None), *value[1:]) if value else (7,)
    if isinstance(value, dict):
        return {**value, "more": 1}
    return value + "x" if isinstance(value, str) else value + 1


def changed(model: M, path: tuple[str, ...]) -> M:
    """The model with one field changed; not validated, so that one change is possible at a time."""
    name, *rest = path
    value = getattr(model, name)
    new = changed(value, tuple(rest)) if rest else another(value, type(model).model_fields[name].annotation)
    return model.model_copy(update={name: new})


def is_a_name(path: tuple[str, ...]) -> bool:
    """Whether a field of these specs says under which name content is found."""
    return path[-2:-1] in {("source",), ("train",), ("scored",)} and path[-1] in ("name", "splits")


CASES = [(kind, path) for kind, spec in SPECS.items() for path in leaves(spec)]


@pytest.mark.parametrize(("kind", "path"), CASES, ids=lambda case: case if isinstance(case, str) else ".".join(case))
def test_every_field_changes_the_id_but_names_of_known_content(kind: str, path: tuple[str, ...]) -> None:
    spec = SPECS[kind]
    assert (changed(spec, path).id == spec.id) == is_a_name(path)


@pytest.mark.parametrize("word", ["more_views", "weight_decay_schedule", "clip", "order"])
def test_options_that_came_later_are_not_in_the_canonical_json_of_what_does_not_use_them(word: str) -> None:
    assert f'"{word}"' not in PRETRAINING.canonical
    assert PRETRAINING.training is not None
    pair = (Views(count=1, augmentation=Augmentation(order="crop_jitter")),)
    used = {"more_views": pair, "weight_decay_schedule": WeightDecaySchedule(final=0.4), "clip": 3.0}
    training = PRETRAINING.training.model_copy(update=used)
    assert f'"{word}"' in PRETRAINING.model_copy(update={"training": training}).canonical


def test_all_views_are_those_of_every_group() -> None:
    assert PRETRAINING.training is not None
    small = Views(count=6, size=16, augmentation=Augmentation())
    training = PRETRAINING.training.model_copy(update={"more_views": (small,)})
    assert (PRETRAINING.training.all_views, training.all_views) == (2, 8)
    assert training.view_groups == (Views(count=2, augmentation=training.augmentation), small)


def test_the_walk_reaches_the_depths() -> None:
    found = set(CASES)
    assert {
        ("pretraining", ("seed",)),
        ("pretraining", ("source", "images")),
        ("pretraining", ("training", "optimiser", "eps")),
        ("evaluation", ("pretraining",)),
        ("evaluation", ("scored", "validation_fraction")),
        ("evaluation", ("transform", "resize")),
        ("monitor", ("every_epochs",)),
    } <= found
    assert len(found) > 100
    assert sum(is_a_name(path) for _, path in found) == 10  # two of each source


@pytest.mark.parametrize("field", ["name", "splits"])
def test_of_unknown_content_the_name_counts(field: str) -> None:
    spec = PRETRAINING.model_copy(update={"source": UNKNOWN})
    assert changed(spec, ("source", field)).id != spec.id
    assert not UNKNOWN.known
    assert KNOWN.known


def test_known_and_unknown_content_are_two_things() -> None:
    assert PRETRAINING.model_copy(update={"source": UNKNOWN}).id != PRETRAINING.id


def test_the_order_of_splits_counts() -> None:
    one, other = (
        PRETRAINING.model_copy(update={"source": Source(name="x", splits=("1", "2"), images=images)})
        for images in ((A, B), (B, A))
    )
    assert one.id != other.id


@pytest.mark.parametrize(
    "settings",
    [
        {"head": {"embedding": 65}, "eps": 0.0},
        {"head": {"embedding": 64}, "eps": 1e-9},
        {"head": {"embedding": 64}},
        {"head": {"embedding": 64, "new": None}, "eps": 0.0},
    ],
)
def test_every_setting_changes_the_id(settings: dict[str, Any]) -> None:
    assert PRETRAINING.model_copy(update={"settings": settings}).id != PRETRAINING.id


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_equal_after_a_round_trip_through_json(spec: Pretraining | Question) -> None:
    again = type(spec).model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.id == spec.id


def shuffled(value: Any) -> Any:
    """The same mappings, keys in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_order_of_keys_does_not_matter(spec: Pretraining | Question) -> None:
    assert type(spec).model_validate(shuffled(json.loads(spec.model_dump_json()))).id == spec.id


def test_integers_and_floats_that_are_equal_are_one_value() -> None:
    ids = {changed_rate(lr).id for lr in (1, 1.0)}
    assert len(ids) == 1


def changed_rate(lr: float) -> Pretraining:
    assert PRETRAINING.training is not None
    training = PRETRAINING.training.model_copy(update={"optimiser": Optimiser(lr=lr)})
    return PRETRAINING.model_copy(update={"training": training})


def test_an_evaluation_is_no_monitor() -> None:
    alike = Monitor(every_epochs=5, **ASKED), Evaluation(pretraining="5", **ASKED)
    assert alike[0].id != alike[1].id
    assert [json.loads(question.canonical)["kind"] for question in alike] == ["monitor", "evaluation"]
    assert json.loads(PRETRAINING.canonical)["kind"] == "pretraining"


def cell(**update: Any) -> Cell:
    parts: dict[str, Any] = {
        "seed": 0,
        "dataset": "cifar10",
        "pretraining": PRETRAINING,
        "evaluations": {"linear": EVALUATION},
        "monitors": {"curve": MONITOR},
    }
    return Cell(**parts | update)


def test_the_id_of_a_cell_is_of_its_parts_whatever_they_are_called() -> None:
    assert cell().id == cell(dataset="ten", evaluations={"a": EVALUATION}, monitors={"b": MONITOR}).id
    second = EVALUATION.model_copy(update={"probe": "lbfgs"})
    other = PRETRAINING.model_copy(update={"seed": 1})
    different = [
        cell(),
        cell(seed=1),  # of pixels, seeds share everything but this
        cell(pretraining=other),
        cell(evaluations={}),
        cell(evaluations={"linear": second}),
        cell(evaluations={"linear": EVALUATION, "lbfgs": second}),
        cell(monitors={}),
    ]
    assert len({here.id for here in different}) == len(different)
    one, two = {"a": EVALUATION, "b": second}, {"b": second, "a": EVALUATION}
    assert cell(evaluations=one).id == cell(evaluations=two).id


def test_a_copy_of_a_cell_has_an_id_of_its_own() -> None:
    here = cell()
    assert here.id == cell().id
    assert here.model_copy(update={"seed": 1}).id == cell(seed=1).id


@pytest.mark.parametrize(
    ("model", "update", "message"),
    [
        (Input, {"mean": (0.5,)}, "mean has 1 values and std 3, but channels is 3: give one of each per channel"),
        (Input, {"channels": 1}, "mean has 3 values and std 3, but channels is 1"),
        (Input, {"std": (0.2, 0.3, 0.0)}, "greater than 0"),
        (Augmentation, {"crop_scale": (0.5, 0.2)}, "crop_scale is a range, from 0.5 to 0.2"),
        (Augmentation, {"blur_sigma": (2.0, 0.1)}, "blur_sigma is a range, from 2 to 0.1"),
        (Source, {"images": ("abc",)}, "String should match pattern"),
        (Source, {"validation_fraction": 1.0}, "less than 1"),
        (Backbone, {"weights": "encoder.safetensors"}, "String should match pattern"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(model: type[BaseModel], update: dict[str, Any], message: str) -> None:
    examples: dict[type[BaseModel], BaseModel] = {Input: PRETRAINING.input, Source: KNOWN}
    example = examples.get(model)
    values = example.model_dump() if example else {}
    with pytest.raises(ValueError, match=message):
        model.model_validate(values | update)
