import math

import pytest

from harness.analysis.entries import Entry, Published, headings_in, title_of
from tests.analysis.conftest import EVALUATIONS, code


def _entry(bench, measure="linear_top1", now=None, **changes):
    return Entry(measure, tuple(bench.records(now)), **changes)


def test_mean_and_sample_standard_deviation(bench):
    for seed, value in enumerate([90.0, 92.0, 94.0]):
        bench.done({"linear_top1": value}, seed=seed)
    entry = _entry(bench)
    assert entry.mean == 92.0
    assert entry.spread == pytest.approx(2.0)  # sqrt((4 + 0 + 4) / 2)
    assert entry.text == "92.00 ± 2.00"


def test_a_single_run_has_no_spread(bench):
    bench.done({"linear_top1": 91.234})
    assert _entry(bench).spread is None
    assert _entry(bench).text == "91.23"


def test_a_mean_never_skips_a_missing_cell(bench):
    bench.done({"linear_top1": 90.0}, seed=0)
    bench.plan(seed=1)
    entry = _entry(bench)
    assert (entry.mean, entry.spread, entry.difference) == (None, None, None)
    assert entry.text == "1 done of 2 planned"


def test_a_partial_mean_is_shown_only_if_asked_for_and_says_of_how_many(bench):
    bench.done({"linear_top1": 90.0}, seed=0)
    bench.done({"linear_top1": 91.0}, seed=1)
    bench.plan(seed=2)
    entry = _entry(bench, partial=True, published=Published(80.0, "paper", False, True))
    assert entry.text == "90.50 ± 0.71, 2 done of 3 planned"
    assert entry.difference is None
    assert entry.published_text == "80.00"


def test_failures_and_skips_are_counted(bench):
    bench.done({"linear_top1": 90.0}, seed=0)
    bench.failed("RuntimeError", "no", seed=1)
    bench.skip("cannot", seed=2)
    assert _entry(bench).text == "1 done of 3 planned, 1 failed, 1 skipped"


@pytest.mark.parametrize("kind", ["failed", "skipped", "no data"])
def test_an_entry_that_has_but_one_fate_says_so(bench, kind):
    for seed in (0, 1):
        if kind == "failed":
            bench.failed("RuntimeError", "no", seed=seed)
        elif kind == "skipped":
            bench.skip("cannot", seed=seed)
        else:
            bench.plan(seed=seed, missing="fetch it")
    assert _entry(bench).text == ("failed 2 of 2" if kind == "failed" else kind)


def test_what_the_suite_does_not_plan_is_a_dash():
    assert Entry("linear_top1", ()).text == "–"
    assert Entry("linear_top1", ()).mean is None


def test_a_metric_that_was_not_measured_says_so(bench):
    bench.done({"linear_top1": 90.0})
    assert _entry(bench, "linear_top5").text == "not measured"
    assert _entry(bench, "linear_top5").mean is None


def test_collapsed_runs_are_flagged(bench):
    bench.done({"linear_top1": 10.0}, seed=0, collapsed=True)
    assert _entry(bench).text == "10.00, collapsed"
    bench.done({"linear_top1": 50.0}, seed=1)
    assert _entry(bench).text == "30.00 ± 28.28, collapsed 1 of 2"


def test_stale_runs_are_flagged(bench):
    bench.done({"linear_top1": 10.0}, seed=0)
    bench.done({"linear_top1": 10.0}, seed=1, provenance={"code": {"method w_mse": "old"}})
    assert _entry(bench, now=code()).text == "10.00 ± 0.00, stale 1 of 2"
    assert _entry(bench, now=code(method_w_mse="new")).text == "10.00 ± 0.00, stale"


def test_an_older_probe_makes_its_own_column_stale(bench):
    bench.done({"linear_top1": 10.0, "knn5_top1": 20.0})
    now = code(probe_knn="new")
    assert _entry(bench, "knn5_top1", now).text == "20.00, stale"
    assert _entry(bench, "linear_top1", now).text == "10.00"


def test_what_is_to_do_and_what_failed_stand_in_their_own_column(bench):
    for seed in (0, 1):
        bench.done({"linear_top1": 90.0, "knn5_top1": 80.0}, seed=seed)
    bench.done({"linear_top1": 93.0}, seed=2, to_do=["knn5"])
    assert _entry(bench).text == "91.00 ± 1.73"
    assert _entry(bench, "knn5_top1").text == "2 done of 3 planned"
    assert _entry(bench, "train_seconds").text == "10.0"
    assert _entry(bench, "evaluation_seconds").text == "–"  # not priced before all of it is done
    bench.done({"linear_top1": 91.0}, seed=3, failing={"knn5": "k exceeds the training images"})
    assert _entry(bench).text == "91.00 ± 1.41"
    assert _entry(bench, "knn5_top1").text == "2 done of 4 planned, 1 failed"


def test_an_evaluation_that_always_failed_is_failed_in_its_column_only(bench):
    bench.done({"linear_top1": 93.0}, failing={"knn5": "k exceeds the training images"})
    assert [_entry(bench, name).text for name in ("linear_top1", "knn5_top1")] == ["93.00", "failed 1 of 1"]


@pytest.mark.parametrize(
    ("published", "text"),
    [
        (Published(91.55, "p", recalled=False, same_recipe=True), "91.55 (-0.30)"),
        (Published(90.0, "p", recalled=True, same_recipe=True), "90.00 (recalled; +1.25)"),
        (Published(90.0, "p", recalled=False, same_recipe=False), "90.00 (other recipe)"),
        (Published(90.0, "p", recalled=True, same_recipe=False), "90.00 (recalled; other recipe)"),
        (Published(None, "p", recalled=False, same_recipe=True), "collapse"),
        (Published(None, "p", recalled=True, same_recipe=True), "collapse (recalled)"),
        (None, "–"),
    ],
)
def test_published_numbers_say_how_sure_they_are_and_what_differs(bench, published, text):
    bench.done({"linear_top1": 91.25})
    assert _entry(bench, published=published).published_text == text


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        ("views_seen", "51,200"),
        ("steps", "100"),
        ("train_seconds", "15.0"),
        ("evaluation_seconds", "2.0"),
        ("peak_memory_bytes", "3"),
        ("encoder_flops_per_view", "1.00"),
        ("train_flops", "0.154"),  # 1.536e11
        ("parameters", "11"),
        ("views_per_second", "3,840"),  # mean of 5,120 and 2,560
    ],
)
def test_costs_are_means_over_all_cells(bench, measure, text):
    bench.done({}, seed=0, seconds=10.0)
    bench.done({}, seed=1, seconds=20.0)
    assert _entry(bench, measure).text == text
    bench.plan(seed=2)
    assert _entry(bench, measure).text == "–"
    assert _entry(bench, measure, partial=True).text == text


def test_headings():
    assert [title_of(name) for name in ("train_seconds", "near_top1")] == ["train s", "near_top1"]
    assert title_of("near_top1", {"near_top1": "7-NN %"}) == "7-NN %"


def test_headings_are_the_probes_and_the_second_of_two_alike_names_its_evaluation(bench):
    near = {"probe": "knn", "k": 7}
    few = {"probe": "linear", "label_fraction": 0.1}
    bench.plan(evaluations={**EVALUATIONS, "near": near, "few": few})
    assert headings_in(bench.records()) == {
        "linear_top1": "linear top-1 %",
        "knn5_top1": "5-NN %",
        "near_top1": "7-NN %",
        "few_top1": "linear top-1 (few) %",
        "linear_top5": "linear top-5 %",
        "linear_balanced": "linear top-1, balanced %",
        "knn5_balanced": "5-NN, balanced %",
        "near_balanced": "7-NN, balanced %",
        "few_top5": "linear top-5 (few) %",
        "few_balanced": "linear top-1, balanced (few) %",
    }


def test_means_are_of_the_values_not_of_the_rounded_ones(bench):
    for seed, value in enumerate([0.004, 0.004, 0.007]):
        bench.done({"linear_top1": value}, seed=seed)
    assert math.isclose(_entry(bench).mean, 0.005)
