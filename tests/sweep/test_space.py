"""Ranges and choices, and what samplers are asked."""

import pytest

from harness.sweep.possible import Condition, possible
from harness.sweep.space import Options, Range, Setting


class Asked:
    """Answers as told, and keeps the questions."""

    def __init__(self, *answers):
        self.answers, self.questions = list(answers), []

    def suggest_float(self, name, low, high, *, log=False):
        self.questions.append((name, low, high, log))
        return self.answers.pop(0)

    def suggest_int(self, name, low, high, *, log=False):
        self.questions.append((name, low, high, log))
        return self.answers.pop(0)

    def suggest_categorical(self, name, choices):
        self.questions.append((name, *choices))
        return self.answers.pop(0)


RATE = Setting("lr", ("optimiser", "lr"), Range(1e-4, 1e-1, True, False, points=4))
SUB = Setting("sub", ("settings", "sub"), Options((8, 16, 32)))
SIZE = Setting("size", ("settings", "size"), Options((4, 16)))


def space_of(*settings, conditions=(), refused=lambda values: None):
    return possible(settings, conditions, lambda name: {"batch": 48}.get(name), refused)


def test_values_have_few_digits_and_stay_in_their_range():
    space, _ = space_of(RATE)
    assert space.suggest(Asked(0.0123456)) == {"lr": 0.01235}
    assert Range(0.00123456, 0.1, False, False).readable(0.00123401) == 0.00123456


def test_numbers_are_asked_for_by_their_place_and_words_by_name():
    space, _ = space_of(SUB, Setting("stem", ("x",), Options(("small", "standard"))))
    asked = Asked(2, "standard")
    assert space.suggest(asked) == {"sub": 32, "stem": "standard"}
    assert asked.questions == [("sub (index)", 0, 2, False), ("stem", "small", "standard")]


def test_a_choice_that_depends_on_another_is_asked_for_among_what_is_left():
    space, reasons = space_of(SIZE, SUB, conditions=[Condition("above", "sub", "size")])
    assert [tuple(c.values()) for c in space.combinations] == [(4, 8), (4, 16), (4, 32), (16, 32)]
    asked = Asked(1)
    assert space.suggest(asked) == {"size": 16, "sub": 32}  # nothing left to ask
    asked = Asked(0, 1)
    assert space.suggest(asked) == {"size": 4, "sub": 16}
    assert reasons == ["sub 8: is not above size", "sub 16: is not above size"]


def test_divides_and_below_and_fields_that_a_method_lacks():
    assert [c["sub"] for c in space_of(SUB, conditions=[Condition("divides", "sub", "batch")])[0].combinations] == [
        8,
        16,
    ]
    assert Condition("below", "sub", "batch").holds(47, 48)
    assert not Condition("below", "sub", "batch").holds(48, 48)
    assert Condition("below", "sub", "batch").holds(99, None)


def test_refused_points_are_left_out_with_their_reason():
    space, reasons = space_of(SUB, refused=lambda values: "too large" if values["sub"] > 16 else None)
    assert space.settings[0].domain.values == (8, 16)
    assert reasons == ["too large"]


def test_a_grid_is_every_point():
    space, _ = space_of(RATE, Setting("sub", ("s",), Options((8, 16))))
    rates = [1e-4, 1e-3, 1e-2, 1e-1]
    assert sorted((p["lr"], p["sub"]) for p in space.grid()) == [(r, s) for r in rates for s in (8, 16)]
    assert space.size == 8
    assert space_of(Setting("lr", ("x",), Range(0, 1, False, False)))[0].size is None
    assert Range(1, 3, False, True, points=5).grid() == [1, 2, 3]


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (Range(1e-4, 1e-1, True, False), 1.2e-4, "at the low end of 0.0001 to 0.1"),
        (Range(1e-4, 1e-1, True, False), 3e-3, None),
        (Range(1e-4, 1e-1, True, False), 9e-2, "at the high end of 0.0001 to 0.1"),
        (Range(0, 1, False, False), 0.94, None),
        (Options((8, 16, 32)), 8, "the smallest of 8, 16, 32"),
        (Options((8, 16, 32)), 32, "the largest of 8, 16, 32"),
        (Options((8, 16, 32)), 16, None),
        (Options((8, 16)), 16, None),
        (Options(("a", "b", "c")), "a", None),
    ],
)
def test_the_edge_of_a_range(domain, value, expected):
    assert domain.edge(value) == expected
