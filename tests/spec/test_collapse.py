"""When a run counts as collapsed."""

import pytest
from pydantic import ValidationError

from harness.spec.collapse import CollapseRule, is_collapsed

RULE = CollapseRule()  # std < 0.1 or RankMe < 5 % of D, three in a row


def reading(std=1.0, rank=50.0, prefix="v", dimensions=100.0):
    return {f"{prefix}_std": std, f"{prefix}_rankme": rank, f"{prefix}_dimensions": dimensions}


GOOD, LOW_STD, LOW_RANK = reading(), reading(std=0.09), reading(rank=4.9)


@pytest.mark.parametrize(
    ("history", "collapsed"),
    [
        ([], False),
        ([GOOD], False),
        ([LOW_STD], True),
        ([LOW_STD, LOW_RANK], True),
        ([GOOD, LOW_STD, LOW_RANK, LOW_STD], True),
        ([LOW_STD, LOW_STD, GOOD], False),
        ([LOW_STD, GOOD, LOW_STD, LOW_STD], False),
        ([LOW_STD] * 5 + [GOOD], False),
        ([reading(std=0.1, rank=5.0)] * 3, False),
    ],
)
def test_the_last_three_readings_decide_or_all_where_there_are_fewer(history, collapsed):
    assert is_collapsed(history, RULE) is collapsed


def test_the_rule_is_the_suites():
    history = [GOOD, LOW_STD]
    assert not is_collapsed(history, RULE)
    assert is_collapsed(history, CollapseRule(consecutive=1))
    assert not is_collapsed(history, CollapseRule(consecutive=1, min_std=0.05))
    assert is_collapsed([GOOD], CollapseRule(min_rank_fraction=0.6))


def test_the_head_is_read_and_without_one_the_encoder():
    dead = reading(std=0.0, rank=1.0, prefix="h")
    assert is_collapsed([dead], RULE)
    assert not is_collapsed([dead | reading()], RULE)
    assert is_collapsed([reading(prefix="h") | reading(std=0.0)], RULE)


def test_values_that_are_not_known_are_no_sign_of_collapse():
    unknown = dict.fromkeys(reading())
    assert not is_collapsed([unknown], RULE)
    assert is_collapsed([unknown | reading(std=0.0, prefix="h")], RULE)
    assert not is_collapsed([{}], RULE)
    assert not is_collapsed([reading(std=0.0, dimensions=0.0)], RULE)


def test_a_fraction_is_at_most_one():
    with pytest.raises(ValidationError, match="min_rank_fraction"):
        CollapseRule(min_rank_fraction=5)
