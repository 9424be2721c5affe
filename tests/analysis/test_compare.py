"""Two sets of results: the same cells found, changed ones matched with what they were, differences as by hand."""

import pytest

from harness.analysis.compare import changes, compare, provenance_changes
from harness.analysis.compare_tables import tables
from harness.analysis.markdown import document
from harness.analysis.stored import stored_runs, suite_runs
from harness.spec.collapse import CollapseRule
from tests.analysis.conftest import EVALUATIONS, KNN5, LINEAR, Bench


@pytest.fixture
def b(tmp_path):
    """The other side."""
    return Bench(tmp_path / "b")


@pytest.fixture
def a(bench):
    return bench


def both(a, b):
    return compare(stored_runs(a.store), stored_runs(b.store))


def text(found, *metrics, **choices):
    return document("T", tables(found, metrics or found.metrics, "the first", "the second", **choices))


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
    assert all(pair.a.cell.training.views == pair.b.cell.training.views for pair in found.pairs)
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
    for bench, value in ((a, 1.0), (b, 3.0)):
        bench.done({"linear_top1": value, "knn5_top1": 2.0})
        bench.done({"linear_top1": value}, method="byol", settings={})
    planned = Bench(a.store.root).plan(label="W-MSE, ours", evaluations={"fitted": LINEAR})
    found = compare(suite_runs(a.store, [planned]), suite_runs(b.store, [planned]))
    (row,) = found.rows
    assert (row.name, found.only_a, found.only_b) == ("W-MSE, ours", (), ())
    assert found.metrics == ["fitted_top1"]  # what the suite does not ask is not compared
    assert row.pairs[0].value("fitted_top1") == (1.0, 3.0)


def test_rows_of_a_suite_that_share_an_encoder_are_compared_each_by_its_own_questions(a, b):
    questions = [{"linear": {**LINEAR, "epochs": epochs}} for epochs in (5, 50)]
    planned = [a.plan(axes={"epochs": asked["linear"]["epochs"]}, evaluations=asked) for asked in questions]
    for bench, more in ((a, 0.0), (b, 1.0)):
        for placed, value in zip(planned, (50.0, 60.0), strict=True):
            bench.keep(placed.cell, {"linear_top1": value + more})
    found = compare(suite_runs(a.store, planned), suite_runs(b.store, planned))
    assert {row.name: row.values("linear_top1") for row in found.rows} == {
        "W-MSE epochs=5": [(50.0, 51.0)],
        "W-MSE epochs=50": [(60.0, 61.0)],
    }


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
    changed = {"code": {"training on cpu": "u"}, "versions": {"torch": "2.10.0"}, "dirty": True}
    b.done({"linear_top1": 1.0}, provenance=changed)
    a.done({"linear_top1": 1.0}, method="byol", settings={})
    b.failed("MemoryError", "no room\nat all", method="byol", settings={})
    found = both(a, b)
    facts = {name: (before, after) for name, before, after in provenance_changes(found.pairs)}
    assert facts["code of training on cpu"] == (["t"], ["t", "u"])
    assert not any(name in facts for name in ("code of method w_mse", "code of probe linear", "code of evaluation"))
    assert facts["torch"] == (["2.9.0"], ["2.10.0", "2.9.0"])
    assert facts["commit"] == (["c" * 12], ["c" * 12, f"{'c' * 12} with changes"])
    assert "device" not in facts
    shown = text(found)
    assert "done and collapsed in A; done in B" in shown
    assert "collapsed" not in text(found, rule=CollapseRule(min_std=0.0, min_rank_fraction=0.0))
    assert "done in A; failed in B, MemoryError: no room" in shown
    assert "identical" in shown


def test_evaluations_are_compared_by_their_probes_whatever_a_suite_called_them(a, b):
    a.done({"near_top1": 50.0, "fit_top1": 60.0}, evaluations={"near": KNN5, "fit": LINEAR})
    b.done({"knn5_top1": 51.0, "linear_top1": 63.0})
    found = both(a, b)
    assert found.metrics == ["linear_top1", "knn5_top1"]
    assert [found.pairs[0].value(name) for name in found.metrics] == [(60.0, 63.0), (50.0, 51.0)]
    assert found.pairs[0].changed == {}


def test_a_question_that_was_changed_is_compared_and_the_change_is_said(a, b):
    a.done({"linear_top1": 50.0}, evaluations={"linear": LINEAR})
    b.done({"linear_top1": 52.0}, evaluations={"linear": {**LINEAR, "epochs": 5}})
    found = both(a, b)
    assert found.pairs[0].value("linear_top1") == (50.0, 52.0)
    assert found.pairs[0].changed == {"evaluations.linear.epochs": (500, 5)}
    assert "1 pairs of cells: 0 the same cell, 1 changed" in text(found)


def test_several_questions_to_one_probe_are_told_apart_and_matched(a, b):
    few = {**LINEAR, "label_fraction": 0.1}
    a.done({"few_top1": 40.0, "linear_top1": 50.0}, evaluations={"few": few, "linear": LINEAR})
    b.done({"linear_top1": 52.0}, evaluations={"linear": LINEAR})
    found = both(a, b)
    assert found.pairs[0].value("linear_top1") == (50.0, 52.0)
    assert found.pairs[0].changed == {}
    shown = text(found)
    assert "1 pairs of cells: 1 the same cell, 0 changed; 0 have exactly the same metrics" in shown
    assert "evaluated in A alone: linear label_fraction=0.1 (1 pair)" in shown
    both_few = compare(stored_runs(a.store), stored_runs(a.store))
    assert both_few.metrics == ["linear_top1", "linear label_fraction=0.1_top1"]
    assert "linear top-1 (linear label_fraction=0.1) %, A" in text(both_few)
    b.done({"linear_top1": 50.0}, evaluations={"linear": LINEAR})
    assert "1 have exactly the same metrics" in text(both(a, b))  # of those that both have


def test_a_failed_evaluation_counts_in_its_own_metric(a, b):
    a.done({"linear_top1": 50.0, "knn5_top1": 40.0})
    b.done({"linear_top1": 52.0}, failing={"knn5": "k exceeds\nthe images"})
    found = both(a, b)
    assert found.pairs[0].value("linear_top1") == (50.0, 52.0)
    shown = text(found, "linear_top1", "knn5_top1")
    assert "| 40.00 | failed |" in " ".join(shown.split())
    assert "done in A; failed in B, knn5: RuntimeError: k exceeds" in shown


def test_one_pretraining_for_all_seeds_is_compared_seed_by_seed(a, b):
    for seed, value in enumerate((40.0, 41.0, 43.0)):
        a.done({"linear_top1": value, "knn5_top1": 30.0}, method="pixels", settings={}, seed=seed)
        b.done({"linear_top1": value + 1, "knn5_top1": 30.0}, method="pixels", settings={}, seed=seed)
    (row,) = both(a, b).rows
    difference = row.difference("linear_top1")
    assert (difference.seeds, difference.values) == ((0, 1, 2), (1.0, 1.0, 1.0))
    assert row.values("knn5_top1") == [(30.0, 30.0)] * 3


def test_what_an_older_encoder_answered_is_not_compared(a, b):
    a.done({"linear_top1": 1.0, "knn5_top1": 2.0})
    result = b.done({"linear_top1": 1.0, "knn5_top1": 2.0})
    b.store.save_evaluation(result.evaluations["knn5"].model_copy(update={"encoder": "e" * 64}))
    assert both(a, b).metrics == ["linear_top1"]


def test_another_copy_of_the_images_is_a_change(a, b):
    a.done({"linear_top1": 1.0})
    b.facts.copies["cifar10"] = "another"
    b.done({"linear_top1": 1.0})
    assert {path.rpartition("_")[2] for path in both(a, b).pairs[0].changed} == {"images", "labels"}


def test_a_suites_words_name_what_was_changed(a, b):
    a.done({"linear_top1": 1.0}, evaluations=EVALUATIONS)
    b.done({"linear_top1": 1.0}, dataset={"image_size": 64, "eval_resize": 72}, optimiser={"lr": 0.1},
           backbone={"options": {"drop_rate": 0.5}}, evaluations=EVALUATIONS)  # fmt: skip
    assert changes(both(a, b).pairs) == {
        ("dataset.eval_resize", "–", "72"): 1,
        ("dataset.image_size", "32", "64"): 1,
        ("backbone.options.drop_rate", "–", "0.5"): 1,
        ("optimiser.lr", "0.003", "0.1"): 1,
    }
