"""The sentence at the top."""

import pytest

from harness.analysis.report.answer import counts, rank_rows, sentence, tally
from harness.analysis.row_results import group_by_row
from harness.analysis.statistics import paired_difference
from tests.analysis.conftest import Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def rows(bench):
    return group_by_row(bench.records(), {"untrained"})


def fill(bench, label, values, **fields):
    for seed, value in enumerate(values):
        own = {"settings": {"k": label}, "axes": {"seed": seed}} | fields
        bench.done({"linear_top1": value}, label=label, seed=seed, **own)


def test_a_clear_winner(bench):
    fill(bench, "a", [80.0, 81.0, 82.0])
    fill(bench, "b", [70.0, 71.1, 72.0])
    assert sentence(rows(bench), "cifar10", "linear_top1") == (
        "On cifar10, a has the highest linear top-1, 81.00 %, and with 3 seeds it is above every other method."
    )


def test_a_draw_says_how_many_seeds_would_decide(bench):
    fill(bench, "a", [80.0, 82.0])
    fill(bench, "b", [80.5, 80.5])
    needed = paired_difference({0: 80.0, 1: 82.0}, {0: 80.5, 1: 80.5}).seeds_needed
    assert sentence(rows(bench), "cifar10", "linear_top1") == (
        "On cifar10, a has the highest linear top-1, 81.00 %, but with 2 seeds is not to be told apart from b. "
        f"To tell it from b would need about {needed} seeds."
    )


def test_controls_and_collapsed_rows_do_not_compete_and_incomplete_rows_are_counted(bench):
    fill(bench, "a", [80.0, 81.0, 82.0])
    fill(bench, "b", [70.0, 71.1, 72.0])
    fill(bench, "random", [90.0, 90.0, 91.0], method="untrained", settings={})
    fill(bench, "flat", [95.0, 95.0, 95.0], collapsed=True)
    bench.failed("ValueError", "no", label="c", settings={"k": "c"}, axes={"seed": 0})
    text = sentence(rows(bench), "cifar10", "linear_top1")
    assert "a has the highest" in text
    assert "Controls that are higher: random." in text
    assert text.endswith("Not compared, with seeds missing: 1 row.")


def test_the_rows_beside_and_behind_the_leader(bench):
    fill(bench, "a", [80.0, 81.0, 82.0])
    fill(bench, "near", [79.0, 82.0, 81.0])
    fill(bench, "far", [60.0, 61.1, 62.0])
    found = rank_rows(rows(bench), "linear_top1")
    assert found.leader.name == "a"
    assert [row.name for row, _ in found.tied] == ["near"]
    assert [row.name for row in found.beaten] == ["far"]


def test_nothing_to_compare(bench):
    fill(bench, "alone", [80.0])
    assert sentence(rows(bench), "cifar10", "linear_top1").endswith("; there is no other row to compare it with.")
    assert sentence(rows(bench), "stl10", "linear_top1").startswith("On stl10 no row has all its seeds yet")


def test_counts():
    assert tally(["refuted", "supported", "supported"]) == "2 supported, 1 refuted"
    assert tally([]) == ""
    assert counts({"done": 3, "failed": 1, "pending": 2}) == "3 of 6 cells done, 1 failed, 2 pending"
    assert counts({"pending": 2}) == "0 of 2 cells done, 2 pending"
