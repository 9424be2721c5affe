"""The long table: what stands in its entries, by what they are sorted, and datasets kept apart."""

import pytest

from harness.analysis.entries import headings_in
from harness.analysis.report.table_view import laid_across, view
from harness.analysis.tables import build
from harness.suite.models import TableSpec
from tests.analysis.conftest import Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def fill(bench, label, values, dataset="cifar10", **fields):
    for seed, value in enumerate(values):
        own = {"settings": {"k": label}, "axes": {"seed": seed}, "dataset": {"name": dataset}} | fields
        bench.done({"linear_top1": value, "knn5_top1": value}, label=label, seed=seed, **own)


def shown(bench, **spec):
    wanted = TableSpec(**({"metrics": ("linear_top1",), "cost": ("views_seen",)} | spec))
    records = bench.records()
    return view("Title", build("Title", [laid_across(wanted)], records, controls={"untrained"}), headings_in(records))


def column(table, title):
    at = [column.title for column in table.columns].index(title)
    return [line.items[at] for line in table.lines]


def test_a_mean_with_its_interval_and_its_difference_to_the_baseline(bench):
    fill(bench, "a", [80.0, 82.0])
    fill(bench, "b", [70.0, 71.0])
    table = shown(bench, baseline="b")
    (item, base) = column(table, "linear top-1 %")
    # Student's t with one degree of freedom is 12.706: 81 -+ 12.706 * 1.4142 / 1.4142
    assert (item.text, item.below, item.sort) == ("81.00 ± 1.41", "[68.29, 93.71]", "81")
    assert base.text == "70.50 ± 0.71"
    (difference, own) = column(table, "minus b")  # 10 and 11: 10.5 -+ 12.706 * 0.7071 / 1.4142
    assert (difference.text, difference.below) == ("+10.50", "[+4.15, +16.85]")
    assert (own.text, own.sort) == ("–", "")


def test_datasets_are_lines_and_the_best_of_each_is_bold(bench):
    for dataset, better, worse in (("cifar10", "a", "b"), ("stl10", "b", "a")):
        fill(bench, better, [80.0, 81.0, 82.0], dataset)
        fill(bench, worse, [70.0, 71.1, 72.0], dataset)
    table = shown(bench)
    bold = [item.bold for item in column(table, "linear top-1 %")]
    assert [(line.method, line.dataset) for line, best in zip(table.lines, bold, strict=True) if best] == [
        ("a", "cifar10"),
        ("b", "stl10"),
    ]
    assert [item.text for item in column(table, "dataset")] == ["cifar10", "cifar10", "stl10", "stl10"]
    assert [item.text for item in column(table, "views seen")] == ["51,200"] * 4


def test_a_suite_s_own_columns_become_lines(bench):
    for d in (2, 4):
        fill(bench, "a", [80.0, 81.0], views=d, axes={"views": d})
    assert [line.items[1].text for line in shown(bench, columns=("views",)).lines] == ["2", "4"]


def test_what_is_missing_failed_or_collapsed_is_marked_and_has_no_mean(bench):
    fill(bench, "a", [80.0])
    bench.failed("ValueError", "no", label="a", seed=1, settings={"k": "a"}, axes={"seed": 1})
    bench.plan(label="a", seed=2, settings={"k": "a"}, axes={"seed": 2})
    fill(bench, "flat", [10.0, 11.0], collapsed=True)
    table = shown(bench)
    (first, flat) = column(table, "runs")
    assert (first.text, first.marks) == ("1 of 3", (("failed", "1 failed"), ("missing", "1 pending")))
    assert (flat.text, flat.marks) == ("2 of 2", (("collapsed", "collapsed"),))
    assert [item.text for item in column(table, "linear top-1 %")] == ["–", "10.50 ± 0.71"]


def test_without_metrics_of_its_own_it_shows_the_first_of_each_evaluation(bench):
    fill(bench, "a", [80.0])
    table = shown(bench, metrics=())
    assert table.metrics == ("linear_top1", "knn5_top1")
    assert [column.title for column in table.columns] == ["method", "runs", "linear top-1 %", "5-NN %", "views seen"]


def test_an_accuracy_is_there_before_the_other_evaluations_are(bench):
    bench.done({"linear_top1": 80.0}, label="a", to_do=["knn5"])
    table = shown(bench)
    assert [item.text for item in column(table, "linear top-1 %")] == ["80.00"]
    assert [(item.text, item.marks) for item in column(table, "runs")] == [("0 of 1", (("missing", "1 pending"),))]
