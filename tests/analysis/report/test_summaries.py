"""The figures' numbers as tables."""

import pytest

from harness.analysis.report.summaries import class_table, cost_table, curve_tables, panel, time_to_accuracy_table
from harness.analysis.row_results import group_by_row
from harness.spec.collapse import CollapseRule
from harness.store.records import Arrays
from tests.analysis.conftest import Bench
from tests.analysis.report.conftest import CONTROLS, run


@pytest.fixture
def rows(tmp_path):
    bench = Bench(tmp_path)
    run(bench, "dear", 0, [40.0, 50.0, 60.0], settings={"k": 0}, flops=int(2e12), seconds=15.0)
    run(bench, "dear", 1, [42.0, 52.0, 66.0], settings={"k": 0}, flops=int(2e12), seconds=15.0)
    run(bench, "cheap", 0, [30.0, 35.0, 41.0], settings={"k": 1}, flops=int(1e12), seconds=15.0)
    run(bench, "random", 0, [20.0], method="untrained", settings={})
    return group_by_row(bench.records(), CONTROLS)


def test_curves_are_means_at_their_epochs(rows):
    knn, loss = curve_tables(rows)
    assert (knn["title"], knn["epochs"]) == ("5-NN %, cifar10, at epoch", [1, 2, 3])
    assert knn["lines"] == [("dear", ["41", "51", "63"]), ("cheap", ["30", "35", "41"])]
    assert loss["lines"][0] == ("dear", ["3", "1.5", "1"])


def test_costs_with_their_front_and_what_was_not_recorded(rows):
    table = cost_table(rows, "cifar10", "knn5_top1")
    found = {name: dict(zip(table["titles"], texts, strict=True)) for name, texts in table["lines"]}
    assert found["dear"]["train TFLOPs"] == "2 ◆"
    assert found["cheap"]["train TFLOPs"] == "1 ◆"
    assert found["cheap"]["views seen"] == "300"  # the same price as the better row
    assert found["random"]["train TFLOPs"] == "0"
    assert found["dear"]["energy kJ"] == "not recorded"


def test_the_wait_for_an_accuracy(rows):
    table = time_to_accuracy_table(rows, "cifar10")
    assert (table["metric"], table["machines"]) == ("5-NN", ["cpu, 2 threads, host here"])
    assert table["marks"] == ["40 %", "47 %", "53 %", "60 %"]  # the median first reading is 40, the median best 60
    assert table["lines"] == [
        ("dear", ["100 views, 5 s", "200 views, 10 s", "300 views, 15 s", "300 views, 15 s"]),
        ("cheap", ["300 views, 15 s", "not reached", "not reached", "not reached"]),
    ]


def test_classes_have_their_means_over_seeds_and_of_many_the_hardest_are_shown(tmp_path):
    bench = Bench(tmp_path)
    for label, seed, first in (("a", 0, 4.0), ("a", 1, 6.0), ("b", 0, 9.0)):
        result = bench.done({"linear_top1": 50.0}, label=label, seed=seed, settings={"k": label})
        answer = result.evaluations["linear"]
        recalls = (("cat", first), ("dog", None), *((f"c{i}", 50.0 + i) for i in range(20)))
        bench.store.save_arrays(result.id, f"hits-{answer.id}", Arrays(id=answer.id, recalls=recalls))
    bench.done({"linear_top1": 50.0}, label="old", settings={"k": "old"})  # of a record that has none
    table = class_table(group_by_row(bench.records(), CONTROLS), "cifar10", "linear_top1")
    assert table["title"] == "cifar10, linear: accuracy in % of the 20 hardest of 21 classes"
    assert [(name, values[:3]) for name, values in table["lines"]] == [
        ("a", ["5.0", "50.0", "51.0"]),
        ("b", ["9.0", "50.0", "51.0"]),
    ]
    assert (table["classes"][:3], len(table["classes"])) == (["cat", "c0", "c1"], 20)


def test_a_panel_of_diagnostics(rows):
    found = panel(rows[0], CollapseRule(min_std=0.2))
    lines = {title: texts for title, _, texts in found["lines"]}
    assert lines["std × √D"] == ["0.6", "–"]
    assert lines["dimensions D"] == ["4", "–"]
    assert lines["scale"] == ["1.5 → 0.25", "–"]  # at step 0, and at the end
    assert found["collapsed"] == ""
    assert found["rule"].startswith("std x sqrt(D) of the normalised features below 0.2, or RankMe below 5 % of D")


def test_what_is_not_trained_has_its_scale_at_the_end_alone(rows):
    lines = {title: texts for title, _, texts in panel(rows[2], CollapseRule())["lines"]}
    assert lines["scale"] == ["0.25", "–"]
