"""Two sets of results: the same cells found, changed ones matched with what they were, differences as by hand."""

import pytest

from harness.analysis.compare import changed_fields, changes, compare, provenance_changes
from harness.analysis.compare_tables import tables
from harness.analysis.markdown import document
from tests.analysis.conftest import Bench


@pytest.fixture
def b(tmp_path):
    """The other side."""
    return Bench(tmp_path / "b")


@pytest.fixture
def a(bench):
    return bench


def both(a, b, **choices):
    return compare(a.store.results(), b.store.results(), **choices)


def text(found, *metrics):
    return document("T", tables(found, metrics or found.metrics, "the first", "the second"))


def test_the_same_cells_and_students_interval_of_the_paired_difference(a, b):
    for seed, (before, after) in enumerate([(90.0, 91.0), (80.0, 83.0), (70.0, 72.0)]):
        a.done({"linear_top1": before}, seed=seed)
        b.done({"linear_top1": after}, seed=seed)
    found = both(a, b)
    (row,) = found.rows
    interval = row.difference("linear_top1").interval
    half = 4.302652729749464 * 1.0 / 3**0.5  # t(0.975, 2) x sd of (1, 3, 2) / sqrt(3)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((2.0, 2 - half, 2 + half))
    shown = text(found)
    assert shown.count("| w_mse ") == 1 + 3  # its row, and its cells
    assert f"+2.00 [{2 - half:+.2f}, {2 + half:+.2f}]" in shown
    assert "3 pairs of cells: 3 the same cell, 0 changed; 0 have exactly the same metrics" in shown


def test_cells_that_were_changed_are_matched_by_what_was_not(a, b):
    for seed in range(2):
        for d in (2, 4):
            a.done({"linear_top1": 50.0 + d}, seed=seed, views=d, epochs=10)
            b.done({"linear_top1": 60.0 + d}, seed=seed, views=d, epochs=20)
    found = both(a, b)
    assert [(row.name, len(row.pairs)) for row in found.rows] == [("w_mse d=2", 2), ("w_mse d=4", 2)]
    assert all(pair.a.cell.views == pair.b.cell.views for pair in found.pairs)
    assert changes(found.pairs) == {("epochs", "10", "20"): 4}
    assert "epochs: 10 in A, 20 in B" in text(found)
    assert (found.only_a, found.only_b) == ((), ())


def test_what_varies_and_was_changed_is_named_with_both_values(a, b):
    a.done({"linear_top1": 1.0}, views=2)
    a.done({"linear_top1": 1.0}, views=4, epochs=5)
    b.done({"linear_top1": 1.0}, views=3)
    b.done({"linear_top1": 1.0}, views=4, epochs=5)
    assert sorted(row.name for row in both(a, b).rows) == ["w_mse d=2→3 epochs=1000", "w_mse d=4 epochs=5"]


def test_ties_are_not_guessed_and_other_methods_and_seeds_never_matched(a, b):
    a.done({"linear_top1": 1.0}, views=3)
    b.done({"linear_top1": 1.0}, views=2)
    b.done({"linear_top1": 1.0}, views=4)  # as near as the other
    a.done({"linear_top1": 1.0}, method="byol", settings={})
    b.done({"linear_top1": 1.0}, method="vicreg", settings={}, seed=7)
    found = both(a, b)
    assert found.rows == ()
    assert len(found.only_a) == 2
    assert len(found.only_b) == 3
    shown = text(found)
    assert "No cell is in both" in shown
    assert "w_mse d=3 on cifar10, seed 0" in shown


def test_the_suites_names_are_used(a, b):
    result = a.done({"linear_top1": 1.0})
    b.done({"linear_top1": 1.0})
    assert both(a, b, names={result.id: "W-MSE, ours"}).rows[0].name == "W-MSE, ours"


@pytest.mark.parametrize(
    ("after", "points", "expected"),
    [
        ((84.0, 86.0, 85.0), 1.0, True),  # -5 with an interval of +- 2.5: wholly below -1
        ((84.0, 86.0, 85.0), 3.0, False),  # reaches -2.5
        ((85.0, 85.0, 85.0), 4.9, True),  # falls that agree have no interval and no doubt
        ((95.0, 95.0, 95.0), 0.0, False),
        ((85.0,), 1.0, None),  # one seed cannot tell
    ],
)
def test_a_fall_counts_with_its_whole_interval(a, b, after, points, expected):
    for seed, value in enumerate(after):
        a.done({"linear_top1": 90.0}, seed=seed)
        b.done({"linear_top1": value}, seed=seed)
    assert both(a, b).rows[0].fell("linear_top1", points) is expected


def test_speed_is_compared_on_the_same_hardware_only_and_the_page_says_which(a, b):
    a.done({"linear_top1": 1.0}, seconds=10.0)
    b.done({"linear_top1": 1.0}, seconds=5.0)
    a.done({"linear_top1": 1.0}, method="byol", settings={})
    b.done({"linear_top1": 1.0}, method="byol", settings={}, provenance={"device": "cuda: H100"})
    found = both(a, b)
    assert {row.name: row.speed_ratio for row in found.rows} == {"w_mse": 2.0, "byol": None}
    assert {row.views_ratio for row in found.rows} == {1.0}
    shown = text(found)
    assert "compared on cpu, 2 threads, host here (1 pair)" in shown
    assert "not compared: A on cpu, 2 threads, host here, B on cuda: H100, 2 threads, host here (1 pair)" in shown


def test_code_libraries_and_outcomes_that_differ_are_said(a, b):
    a.done({"linear_top1": 1.0}, collapsed=True)
    b.done({"linear_top1": 1.0}, provenance={"shared_digest": "t", "versions": {"torch": "2.10.0"}, "dirty": True})
    a.done({"linear_top1": 1.0}, method="byol", settings={})
    b.failed("MemoryError", "no room\nat all", method="byol", settings={})
    found = both(a, b)
    facts = {name: (before, after) for name, before, after in provenance_changes(found.pairs)}
    assert facts["code of all methods"] == (["s"], ["s", "t"])
    assert facts["torch"] == (["2.9.0"], ["2.10.0", "2.9.0"])
    assert facts["commit"] == (["c" * 12], ["c" * 12, f"{'c' * 12} with changes"])
    assert "device" not in facts
    shown = text(found)
    assert "done and collapsed in A; done in B" in shown
    assert "done in A; failed in B, MemoryError: no room" in shown
    assert "identical" in shown


def test_fields_that_one_cell_has_not_differ_from_none(a):
    x, y = a.cell(), a.cell(optimiser=None)
    assert changed_fields(x, x) == {}
    found = changed_fields(x, y)
    assert found["optimiser.lr"] == (3e-3, None)
    assert all(path.startswith("optimiser") for path in found)
