import numpy as np
import pytest
from scipy import stats

from harness.analysis.bootstrap import bootstrap_accuracy, bootstrap_difference
from harness.analysis.entries import Entry
from harness.analysis.lines import lines, mark_best

COLUMN, METRIC = ("cifar10",), "linear_top1"


def _entries(bench, *, measure=METRIC):
    records = bench.records()
    names = dict.fromkeys(record.placed.label for record in records)
    found = {name: tuple(record for record in records if record.placed.label == name) for name in names}
    return {((name,), COLUMN, measure): Entry(measure, own) for name, own in found.items()}


def _runs(bench, label, values, method="byol", **changes):
    for seed, value in enumerate(values):
        bench.done({METRIC: value}, seed=seed, label=label, method=method, settings={"of": label}, **changes)


def _best(bench, **choices):
    return [row[0] for (row, _, _), entry in mark_best(_entries(bench), **choices).items() if entry.best]


def test_the_best_and_what_is_not_told_apart_from_it_are_marked(bench):
    _runs(bench, "a", [92.0, 93.0, 94.0])
    _runs(bench, "b", [90.0, 93.5, 94.5])  # -2.0, +0.5, +0.5 to a
    _runs(bench, "c", [90.0, 91.1, 91.9])  # -2.0, -1.9, -2.1
    assert _best(bench) == ["a", "b"]


def test_nothing_is_marked_where_everything_would_be_or_the_best_is_a_single_run(bench):
    _runs(bench, "a", [92.0, 93.0])
    _runs(bench, "b", [91.0, 94.0])
    assert _best(bench) == []
    _runs(bench, "c", [99.0])
    assert _best(bench) == []


def test_controls_collapsed_and_incomplete_rows_are_left_out(bench):
    _runs(bench, "supervised", [99.0, 99.1, 99.2], method="supervised")
    _runs(bench, "flat", [98.0, 98.1, 98.2], collapsed=True)
    _runs(bench, "a", [92.0, 93.0, 94.0])
    _runs(bench, "b", [80.0, 81.1, 81.9])
    _runs(bench, "c", [97.0, 97.0])
    bench.plan(label="c", method="byol", settings={"of": "c"}, seed=2)
    assert _best(bench, controls={"supervised"}) == ["a"]
    assert _best(bench) == ["supervised"]


def test_costs_are_never_marked(bench):
    _runs(bench, "a", [92.0, 93.0])
    _runs(bench, "b", [80.0, 81.1], seconds=99.0)
    assert not any(entry.best for entry in mark_best(_entries(bench, measure="train_seconds")).values())


def test_each_row_is_compared_to_the_baseline_and_holm_is_over_all_of_them(bench):
    drawn = np.random.default_rng(0)
    values = {name: drawn.normal(mean, 1.0, 6) for name, mean in (("base", 90), ("a", 91), ("b", 92), ("c", 90.2))}
    for name, own in values.items():
        _runs(bench, name, own.tolist())
    base, *others = lines(_entries(bench), ("base", ("base",)))
    assert (base.baseline, base.difference, base.p) == ("base", None, None)
    raw = [float(stats.ttest_rel(values[name], values["base"]).pvalue) for name in "abc"]
    assert [line.difference.p for line in others] == pytest.approx(raw)
    largest = np.maximum.accumulate([p * (3 - rank) for rank, p in enumerate(sorted(raw))])
    expected = [min(1.0, largest[sorted(raw).index(p)]) for p in raw]
    assert [line.p for line in others] == pytest.approx(expected)


def test_nothing_is_compared_where_a_run_is_missing(bench):
    _runs(bench, "base", [90.0, 91.0])
    _runs(bench, "a", [92.0])
    bench.plan(label="a", method="byol", settings={"of": "a"}, seed=1)
    assert [line.difference for line in lines(_entries(bench), ("base", ("base",)))] == [None, None]


def _with_hits(bench, label, hits, **more):
    for seed, own in enumerate(hits):
        value = 100 * float(own.mean())
        settings = {"of": label}
        bench.done(
            {METRIC: value}, seed=seed, label=label, method="byol", settings=settings, hits={METRIC: own}, **more
        )


def test_stored_hits_are_resampled(bench):
    drawn = np.random.default_rng(0)
    first, second = drawn.random((3, 203)) < 0.8, drawn.random((3, 203)) < 0.7
    _with_hits(bench, "base", second)
    _with_hits(bench, "a", first)
    entries = _entries(bench)
    assert lines(entries, ("base", ("base",)))[1].resampled == bootstrap_difference(first, second)
    assert lines(entries, None)[1].resampled == bootstrap_accuracy(first)
    assert lines(entries, None)[1].difference is None


def test_two_single_runs_have_mcnemars_test(bench):
    _with_hits(bench, "base", np.array([[1, 0, 0, 0, 1]], dtype=bool))
    _with_hits(bench, "a", np.array([[1, 1, 1, 1, 0]], dtype=bool))
    line = lines(_entries(bench), ("base", ("base",)))[1]
    assert (line.single.only_first, line.single.only_second, line.resampled) == (3, 1, None)
    assert line.single.p == pytest.approx(2 * 5 / 16)  # of four coins at least three, or at most one


def test_hits_on_other_images_are_not_compared(bench):
    _with_hits(bench, "base", np.ones((2, 9), dtype=bool))
    _with_hits(bench, "a", np.zeros((2, 10), dtype=bool))
    line = lines(_entries(bench), ("base", ("base",)))[1]
    assert (line.difference.interval.mean, line.resampled, line.single) == (-100.0, None, None)


@pytest.mark.parametrize("other", [{"split": "validation"}, {"dataset": {"train_images": 100}}])
def test_rows_scored_on_other_images_of_as_many_are_not_compared_image_by_image(bench, other):
    half = {"validation_fraction": 0.5}
    changed = {"dataset": half, "split": "test"} | other
    changed["dataset"] = half | changed["dataset"]
    _with_hits(bench, "base", np.ones((2, 9), dtype=bool), dataset=half)
    _with_hits(bench, "a", np.zeros((2, 9), dtype=bool), **changed)
    line = lines(_entries(bench), ("base", ("base",)))[1]
    assert line.difference.interval.mean == -100.0
    same_images = "train_images" in changed["dataset"]  # fewer to train on, and the test split as it was
    assert (line.resampled is not None) == same_images
