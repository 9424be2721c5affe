"""Ranges and choices, what samplers draw, and which points can be run."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from harness.sweep.space import Condition, Setting, feasible_points

RATE = Setting("lr", ("optimiser", "lr"), FloatDistribution(1e-4, 1e-1, log=True), points=4)
SUB = Setting("sub", ("settings", "sub"), CategoricalDistribution([8, 16, 32]))
SIZE = Setting("size", ("settings", "size"), CategoricalDistribution([4, 16]))
STEM = Setting("stem", ("x",), CategoricalDistribution(["small", "standard"]))


def setting(distribution):
    return Setting("s", ("s",), distribution)


def space_of(*settings, conditions=(), refusal=lambda values: None):
    return feasible_points(settings, conditions, lambda name: {"batch": 48}.get(name), refusal)


def test_values_have_few_digits_and_stay_in_their_range():
    assert RATE.from_proposed(0.0123456) == 0.01235
    assert setting(FloatDistribution(0.00123456, 0.1)).from_proposed(0.00123401) == 0.00123456


def test_samplers_draw_numbers_by_their_position_and_words_by_name():
    assert SUB.proposed == IntDistribution(0, 2)
    assert [SUB.from_proposed(position) for position in (0, 1, 2)] == [8, 16, 32]
    assert STEM.proposed == STEM.distribution
    for each, value in ((SUB, 32), (STEM, "standard"), (RATE, 0.01)):
        assert each.from_proposed(each.to_proposed(value)) == value
    asked = optuna.create_study().ask({s.name: s.proposed for s in (SUB, STEM, RATE)})
    assert SUB.from_proposed(asked.params["sub"]) in SUB.choices


def test_choices_that_depend_on_each_other_are_enumerated():
    space, reasons = space_of(SIZE, SUB, conditions=[Condition("above", "sub", "size")])
    assert [tuple(c.values()) for c in space.combinations] == [(4, 8), (4, 16), (4, 32), (16, 32)]
    assert space.allows({"size": 16, "sub": 32})
    assert not space.allows({"size": 16, "sub": 16})
    assert reasons == ["sub 8: is not above size", "sub 16: is not above size"]


def test_divides_and_below_and_fields_that_a_method_lacks():
    space, _ = space_of(SUB, conditions=[Condition("divides", "sub", "batch")])
    assert [c["sub"] for c in space.combinations] == [8, 16]
    assert Condition("below", "sub", "batch").holds(47, 48)
    assert not Condition("below", "sub", "batch").holds(48, 48)
    assert Condition("below", "sub", "batch").holds(99, None)


def test_refused_points_are_left_out_with_their_reason():
    space, reasons = space_of(SUB, refusal=lambda values: "too large" if values["sub"] > 16 else None)
    assert space.settings[0].choices == (8, 16)
    assert reasons == ["too large"]


def test_a_grid_is_every_point():
    space, _ = space_of(RATE, setting(CategoricalDistribution([8, 16])))
    rates = [1e-4, 1e-3, 1e-2, 1e-1]
    assert sorted((p["lr"], p["s"]) for p in space.grid()) == [(r, s) for r in rates for s in (8, 16)]
    assert Setting("s", ("s",), IntDistribution(1, 3), points=5).grid() == [1, 2, 3]


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (FloatDistribution(1e-4, 1e-1, log=True), 1.2e-4, "at the low end of 0.0001 to 0.1"),
        (FloatDistribution(1e-4, 1e-1, log=True), 3e-3, None),
        (FloatDistribution(1e-4, 1e-1, log=True), 9e-2, "at the high end of 0.0001 to 0.1"),
        (FloatDistribution(0, 1), 0.94, None),
        (CategoricalDistribution([8, 16, 32]), 8, "the smallest of 8, 16, 32"),
        (CategoricalDistribution([8, 16, 32]), 32, "the largest of 8, 16, 32"),
        (CategoricalDistribution([8, 16, 32]), 16, None),
        (CategoricalDistribution([8, 16]), 16, None),
        (CategoricalDistribution(["a", "b", "c"]), "a", None),
    ],
)
def test_the_edge_of_a_range(distribution, value, expected):
    assert setting(distribution).edge(value) == expected
