"""Partial models, keys, suggestions."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.suite.fields import cell_paths, keys_at, nearest, partial, suggestion
from harness.suite.row import RowFields


def test_a_partial_cell_takes_any_part_of_it() -> None:
    model = partial(RowFields)
    asked = {"evaluations": {"knn5": {"k": 20}, "linear": None}, "monitors": {"knn5": {"every_epochs": 3}}}
    for said in ({}, {"seed": 3}, {"optimiser": {"lr": 0.1}}, {"backbone": None}, asked):
        assert model.model_validate(said).model_dump(exclude_unset=True) == said


@pytest.mark.parametrize(
    "said",
    [
        {"method": "x"},
        {"schema_version": 1},
        {"dataset": {"fingerprint": "x"}},
        {"dataset": None},
        {"seed": -1},
        {"evaluations": {"knn5": 5}},
        {"monitors": {"knn5": {"every_epochs": 0}}},
    ],
)
def test_a_partial_cell_refuses_the_rest(said: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        partial(RowFields).model_validate(said)


def test_keys_at_a_path() -> None:
    model = partial(RowFields)
    assert keys_at(model, ["evaluations", "knn5"]) == ("probe", "dataset", "label_fraction")
    assert keys_at(model, ["monitors", "any"]) == ("probe", "dataset", "label_fraction", "every_epochs")
    assert keys_at(model, ["evaluations"]) == ()
    assert keys_at(model, ["backbone", "options"]) == ()


def test_cell_paths_reach_into_optional_parts() -> None:
    assert {("seed",), ("optimiser", "lr"), ("evaluations", "NAME", "label_fraction")} <= cell_paths()
    assert ("evaluations", "probe") not in cell_paths()
    assert ("dataset", "fingerprint") not in cell_paths()


def test_suggestions() -> None:
    assert nearest("optimizer", ["optimiser", "schedule"]) == "optimiser"
    assert nearest("byol", ["BYOL", "SimSiam"]) == "BYOL"
    assert nearest("zzz", ["BYOL"]) is None
    assert suggestion("zzz", ["a", "b"]) == "known: a, b"
    assert suggestion("zzz", []) == "known: none"
    assert suggestion("zzz", [str(n) for n in range(20)]).endswith("16 and 3 more")
