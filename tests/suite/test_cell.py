"""The id of a cell: every field of the science changes it, nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from harness.suite.cell import (
    ID_LENGTH,
    AugmentationSpec,
    BackboneSpec,
    Cell,
    DatasetSpec,
    EvaluationSpec,
    KnnSpec,
    LbfgsSpec,
    LinearSpec,
    OptimiserSpec,
    ScheduleSpec,
)

CELL = Cell(
    method="whiten",
    settings={"head": {"embedding": 64}, "eps": 0.0},
    views=2,
    dataset=DatasetSpec(name="cifar10", image_size=32, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),
    backbone=BackboneSpec(options={"patch_size": 4}),
    augmentation=AugmentationSpec(),
    optimiser=OptimiserSpec(),
    schedule=ScheduleSpec(),
    epochs=10,
    batch_size=256,
    precision="float32",
    seed=0,
    evaluation=EvaluationSpec(knn=KnnSpec(), linear=LinearSpec(), lbfgs=LbfgsSpec()),
)


def leaves(model: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of the cell, and of the models inside it."""
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
        return (another(value[0], None), *value[1:])
    if isinstance(value, dict):
        return {**value, "more": 1}
    return value + "x" if isinstance(value, str) else value + 1


def changed(model: BaseModel, path: tuple[str, ...]) -> BaseModel:
    """The model with one field changed; not validated, so that one change is possible at a time."""
    name, *rest = path
    value = getattr(model, name)
    new = changed(value, tuple(rest)) if rest else another(value, type(model).model_fields[name].annotation)
    return model.model_copy(update={name: new})


@pytest.mark.parametrize("path", list(leaves(CELL)), ids=".".join)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_every_field_changes_the_id(path: tuple[str, ...]) -> None:
    other = changed(CELL, path)
    assert isinstance(other, Cell)
    assert other.id != CELL.id


def test_the_walk_reaches_the_depths() -> None:
    found = set(leaves(CELL))
    assert {("seed",), ("dataset", "fingerprint"), ("evaluation", "linear", "final_lr"), ("optimiser", "eps")} <= found
    assert len(found) > 60


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
    assert CELL.model_copy(update={"settings": settings}).id != CELL.id


def test_equal_after_a_round_trip_through_json() -> None:
    again = Cell.model_validate_json(CELL.model_dump_json())
    assert again == CELL
    assert again.id == CELL.id


def shuffled(value: Any) -> Any:
    """The same mappings, keys in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def test_the_order_of_keys_does_not_matter() -> None:
    assert Cell.model_validate(shuffled(json.loads(CELL.model_dump_json()))).id == CELL.id


def test_the_id_is_the_beginning_of_a_sha256() -> None:
    assert len(CELL.id) == ID_LENGTH
    assert set(CELL.id) <= set("0123456789abcdef")


def test_integers_and_floats_that_are_equal_are_one_value() -> None:
    one, other = OptimiserSpec(lr=1), OptimiserSpec(lr=1.0)
    ids = {CELL.model_copy(update={"optimiser": spec}).id for spec in (one, other)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("field", "update", "message"),
    [
        ("dataset", {"mean": (0.5,)}, "mean has 1 values and std 3, but channels is 3"),
        ("dataset", {"channels": 1}, "mean has 3 values and std 3, but channels is 1"),
        ("dataset", {"eval_resize": 31}, "eval_resize 31 is smaller than the crop, image_size 32"),
        ("augmentation", {"crop_scale": (0.5, 0.2)}, "crop_scale is a range, from 0.5 to 0.2"),
        ("augmentation", {"blur_sigma": (2.0, 0.1)}, "blur_sigma is a range, from 2 to 0.1"),
        ("evaluation", {"split": "validation"}, "nothing is held out: set dataset.validation_fraction"),
    ],
)
def test_contradictions_are_refused(field: str, update: dict[str, Any], message: str) -> None:
    values = CELL.model_dump()
    values[field] |= update
    with pytest.raises(ValueError, match=message):
        Cell.model_validate(values)
