import pytest

from harness.analysis.references import load
from harness.analysis.tables import build
from harness.spec.collapse import CollapseRule
from harness.spec.metric import Metric
from harness.suite.models import Reference, TableSpec
from tests.analysis.conftest import EVALUATIONS, KNN5, LINEAR

W4 = {"label": "W-MSE", "axes": {"d": 4}, "views": 4}
W2 = {"label": "W-MSE", "axes": {"d": 2}, "views": 2}
BYOL = {"label": "BYOL", "method": "byol", "settings": {}}


def _notes(table):
    return {note.heading: list(note.lines) for note in table.notes}


def test_rows_are_labels_and_what_varies_columns_metrics_and_cost(bench):
    for seed, value in ((0, 90.0), (1, 92.0)):
        bench.done({"linear_top1": value, "knn5_top1": value - 2}, seed=seed, **W2)
        bench.done({"linear_top1": value + 1, "knn5_top1": value}, seed=seed, seconds=20.0, **W4)
        bench.done({"linear_top1": 80.0, "knn5_top1": 70.0}, seed=seed, **BYOL)
    (table,) = build("Suite", [], bench.records())
    assert table.title == "Suite (cifar10)"
    assert table.header == ("method", "d", "linear top-1 %", "5-NN %", "views seen", "train s")
    assert table.labels == 2
    assert table.rows == (
        ("W-MSE", "2", "91.00 ± 1.41", "89.00 ± 1.41", "51,200", "10.0"),
        ("W-MSE", "4", "92.00 ± 1.41", "91.00 ± 1.41", "51,200", "20.0"),
        ("BYOL", "2", "80.00 ± 0.00", "70.00 ± 0.00", "51,200", "10.0"),
    )
    assert table.entries[("W-MSE", "4"), ("cifar10",), "linear_top1"].mean == 92.0


def test_a_method_without_the_axis_has_a_dash(bench):
    bench.done({"linear_top1": 90.0}, **W2)
    bench.done({"linear_top1": 91.0}, **W4)
    bench.done({"linear_top1": 50.0}, label="untrained", method="untrained", settings={}, views=None)
    (table,) = build("Suite", [], bench.records())
    assert [row[:2] for row in table.rows] == [("W-MSE", "2"), ("W-MSE", "4"), ("untrained", "–")]


def test_several_datasets_give_columns_and_a_table_of_cost(bench):
    for name, value in (("cifar10", 90.0), ("stl10", 80.0)):
        bench.done({"linear_top1": value}, dataset={"name": name})
    bench.done({"linear_top1": 70.0}, **BYOL)
    spec = TableSpec(metrics=("linear_top1",), cost=("train_seconds",))
    table, cost = build("Suite", [spec], bench.records())
    assert table.header == ("method", "cifar10 linear top-1 %", "stl10 linear top-1 %")
    assert table.rows == (("W-MSE", "90.00", "80.00"), ("BYOL", "70.00", "–"))
    assert cost.title == "Suite: cost"
    assert cost.rows == (("W-MSE", "10.0", "10.0"), ("BYOL", "10.0", "–"))
    assert cost.notes == ()


def test_what_varies_unsaid_goes_into_the_rows_and_is_never_averaged(bench):
    for lr, value in ((1e-3, 90.0), (3e-3, 70.0)):
        bench.done({"linear_top1": value}, axes={"lr": lr}, optimiser={"lr": lr})
    spec = TableSpec(rows=("method",), metrics=("linear_top1",), cost=())
    (table,) = build("Suite", [spec], bench.records())
    assert table.rows == (("W-MSE", "0.001", "90.00"), ("W-MSE", "0.003", "70.00"))


def test_a_cell_planned_under_two_names_of_an_axis_is_one_number(bench):
    bench.done({"linear_top1": 90.0})
    bench.plan()
    (table,) = build("Suite", [TableSpec(metrics=("linear_top1",), cost=())], bench.records())
    assert table.rows == (("W-MSE", "90.00"),)


def test_where_selects(bench):
    bench.done({"linear_top1": 90.0}, **W2)
    bench.done({"linear_top1": 91.0}, **W4)
    bench.done({"linear_top1": 80.0}, **BYOL)
    spec = TableSpec(where={"method": ["w_mse"], "d": 4}, metrics=("linear_top1",), cost=())
    (table,) = build("Suite", [spec], bench.records())
    assert table.rows == (("W-MSE", "91.00"),)


def _slicing(bench, label="W-MSE"):
    for views in (2, 4):
        for size in (64, 128):
            if (views, size) != (4, 128):
                axes = {"d": views, "sub_batch_size": size, "seed": 0}
                settings = {"transform": {"kind": "whitening", "sub_batch_size": size}}
                bench.done(
                    {"linear_top1": 10.0 * views + size / 64}, label=label, axes=axes, views=views, settings=settings
                )


def test_a_grid_has_one_axis_down_and_one_across(bench):
    _slicing(bench)
    spec = TableSpec(
        layout="grid", rows=("d",), columns=("sub_batch_size",), metrics=("linear_top1",), cost=("train_seconds",)
    )
    accuracy, cost = build("Slicing", [spec], bench.records())
    assert accuracy.title == "Slicing: linear top-1 %"
    assert accuracy.header == ("d", "sub_batch_size 64", "sub_batch_size 128")
    assert accuracy.rows == (("2", "21.00", "22.00"), ("4", "41.00", "–"))
    assert cost.title == "Slicing: train s"
    assert accuracy.notes == ()
    assert "What differs between rows besides the method" in _notes(cost)


def test_whatever_else_varies_gives_a_grid_each(bench):
    _slicing(bench)
    _slicing(bench, label="Euclidean")
    spec = TableSpec(layout="grid", rows=("d",), columns=("sub_batch_size",), metrics=("linear_top1",), cost=())
    tables = build("Slicing", [spec], bench.records())
    assert [table.title for table in tables] == ["Slicing: linear top-1 %, W-MSE", "Slicing: linear top-1 %, Euclidean"]


def test_published_numbers_of_the_same_recipe_stand_beside_ours(bench):
    for seed, value in ((0, 91.0), (1, 91.5)):
        bench.done({"linear_top1": value, "knn5_top1": 89.69}, seed=seed, **W2)
        bench.done({"linear_top1": value, "knn5_top1": 89.0}, seed=seed, epochs=100, label="short")
    spec = TableSpec(metrics=("linear_top1", "knn5_top1"), cost=())
    (table,) = build("Suite", [spec], bench.records(), load())
    assert table.header == (
        "method",
        "linear top-1 %",
        "linear top-1 %, published (ours minus it)",
        "5-NN %",
        "5-NN %, published (ours minus it)",
    )
    assert table.rows == (
        ("W-MSE", "91.25 ± 0.35", "91.55 (-0.30)", "89.69 ± 0.00", "89.69 (+0.00)"),
        ("short", "91.25 ± 0.35", "–", "89.00 ± 0.00", "–"),
    )
    assert _notes(table)["Published numbers"] == ["W-MSE, arXiv 2007.06346, table 1: 2 numbers"]
    (table,) = build("Suite", [spec], bench.records(), load(), any_recipe=True)
    assert table.rows[1][2] == "91.55 (other recipe)"


def test_a_recalled_number_is_printed_as_recalled(bench):
    bench.done({"linear_top1": 90.0}, dataset={"name": "stl10"}, epochs=2000)
    (table,) = build("Suite", [TableSpec(metrics=("linear_top1",), cost=())], bench.records(), load())
    assert table.rows == (("W-MSE", "90.00", "90.36 (recalled; -0.36)"),)
    assert _notes(table)["Published numbers"] == [
        "W-MSE, arXiv 2007.06346, table 1: 1 number, 1 recalled from memory and to be checked"
    ]


@pytest.mark.parametrize("row", ["W-MSE", "W-MSE d=4", "W-MSE 4"])
@pytest.mark.parametrize("column", ["cifar10"])
def test_a_suites_own_numbers_find_their_row_and_come_first(bench, row, column):
    bench.done({"linear_top1": 92.0}, **W4)
    bench.plan(**W2)
    own = Reference(source="Ours, 2020", confidence="recalled", metric="linear_top1", values={row: {column: 91.0}})
    spec = TableSpec(metrics=("linear_top1",), cost=(), references=(own,))
    (table,) = build("Suite", [spec], bench.records(), load())
    assert table.rows[0] == ("W-MSE", "4", "92.00", "91.00 (recalled; +1.00)")
    assert "Ours, 2020: " in _notes(table)["Published numbers"][0]


def test_a_published_collapse_stands_beside_ours(bench):
    bench.done({"linear_top1": 10.0}, **W4)
    own = Reference(
        source="Ours, 2020", confidence="verified", metric="linear_top1", values={"W-MSE": {"cifar10": "collapse"}}
    )
    (table,) = build("Suite", [TableSpec(metrics=("linear_top1",), cost=(), references=(own,))], bench.records())
    assert table.rows[0][-2:] == ("10.00", "collapse")


def test_the_difference_to_a_baseline(bench):
    bench.done({"linear_top1": 92.0}, **W4)
    bench.done({"linear_top1": 90.5}, **W2)
    bench.plan(**BYOL)
    spec = TableSpec(metrics=("linear_top1",), cost=("train_seconds",), baseline="W-MSE d=2")
    (table,) = build("Suite", [spec], bench.records())
    assert table.header == ("method", "d", "linear top-1 %", "train s")
    assert table.statistics.header == ("method", "d", "measure", "n", "minus W-MSE d=2")
    assert [row[-2:] for row in table.statistics.rows] == [("1 of 1", "+1.50"), ("1 of 1", "–"), ("0 of 1", "–")]


def test_bold_is_where_the_best_entries_stand(bench):
    for seed in range(3):
        bench.done({"linear_top1": 92.0 + seed, "knn5_top1": 80.0}, seed=seed, **W4)
        bench.done({"linear_top1": 90.0 + 1.1 * seed, "knn5_top1": 80.0}, seed=seed, **W2)
    (table,) = build("Suite", [], bench.records())
    assert {(row, table.header[column]) for row, column in table.bold} == {(0, "linear top-1 %")}
    assert table.entries[("W-MSE", "4"), ("cifar10",), "linear_top1"].best
    assert _notes(table)["What is bold"][0].startswith("Bold: the best of its column, and every row whose paired")


def test_what_the_suite_names_and_the_table_does_not_have_is_told(bench):
    bench.done({"linear_top1": 92.0})
    values = {"W-MSE": {"cifar10": 91.0, "cifar": 1.0}, "WMSE": {"cifar10": 2.0}}
    own = Reference(source="P", confidence="verified", metric="linear_top1", values=values)
    spec = TableSpec(metrics=("linear_top1",), cost=(), references=(own,), baseline="SimCLR")
    (table,) = build("Suite", [spec], bench.records())
    assert _notes(table)["Named in the suite and not found"] == [
        "W-MSE, cifar, linear_top1 (P): no such row, column or metric here",
        "WMSE, cifar10, linear_top1 (P): no such row, column or metric here",
        "baseline SimCLR: no such row here",
    ]


def test_incomplete_rows_have_no_mean_unless_asked_for(bench):
    bench.done({"linear_top1": 90.0}, seed=0)
    bench.plan(seed=1)
    spec = TableSpec(metrics=("linear_top1",), cost=("train_seconds",))
    assert build("S", [spec], bench.records())[0].rows == (("W-MSE", "1 done of 2 planned", "–"),)
    assert build("S", [spec], bench.records(), partial=True)[0].rows == (
        ("W-MSE", "90.00, 1 done of 2 planned", "10.0"),
    )


def test_an_empty_plan_is_an_empty_table(bench):
    (table,) = build("Suite", [], bench.records())
    assert (table.title, table.rows, table.notes) == ("Suite", (), ())


def test_without_metrics_the_columns_are_the_first_of_each_evaluation(bench):
    near = {"probe": "knn", "k": 7}
    metrics = {"linear_top1": 90.0, "linear_top5": 99.0, "near_top1": 80.0}
    bench.done(metrics, evaluations={"linear": LINEAR, "near": near})
    bench.done({"knn5_top1": 70.0}, label="BYOL", method="byol", settings={}, evaluations={"knn5": KNN5})
    (table,) = build("Suite", [TableSpec(cost=())], bench.records())
    assert table.header == ("method", "linear top-1 %", "7-NN %", "5-NN %")
    assert table.rows == (
        ("W-MSE", "90.00", "80.00", "not measured"),
        ("BYOL", "not measured", "not measured", "70.00"),
    )


def test_the_suites_metrics_give_order_and_headings(bench):
    bench.done({"linear_top1": 90.0, "knn5_top1": 80.0})
    metrics = {"knn5_top1": Metric("top1", "neighbours"), "linear_top1": Metric("top1", "probe")}
    (table,) = build("Suite", [TableSpec(cost=())], bench.records(), metrics=metrics)
    assert (table.header, table.rows) == (("method", "neighbours %", "probe %"), (("W-MSE", "80.00", "90.00"),))


def test_an_evaluation_that_the_command_line_renamed_is_shown_under_its_name(bench):
    bench.done({"knn20_top1": 80.0}, evaluations={"knn20": {"probe": "knn", "k": 20}})
    spec = TableSpec(metrics=("knn5_top1",), cost=())
    (table,) = build("Suite", [spec], bench.records(), renamed={"knn5": "knn20"})
    assert (table.header, table.rows) == (("method", "20-NN %"), (("W-MSE", "80.00"),))
    bench.done({"knn5_top1": 70.0}, label="B", evaluations={"knn5": KNN5})  # some row has it under this name
    (table,) = build("Suite", [spec], bench.records(), renamed={"knn5": "knn20"})
    assert table.rows == (("W-MSE", "not measured"), ("B", "70.00"))


def test_an_unfinished_evaluation_leaves_the_other_columns_their_numbers(bench):
    bench.done({"linear_top1": 90.0, "knn5_top1": 80.0}, seed=0)
    bench.done({"linear_top1": 92.0}, seed=1, to_do=["knn5"])
    bench.done({"linear_top1": 50.0}, failing={"knn5": "no"}, **BYOL)
    (table,) = build("Suite", [], bench.records())
    assert table.rows == (
        ("W-MSE", "91.00 ± 1.41", "1 done of 2 planned", "51,200", "10.0"),
        ("BYOL", "50.00", "failed 1 of 1", "51,200", "10.0"),
    )
    assert _notes(table)["Not done"] == ["1 pending", "1 of them trained, with knn5 to do"]


def test_two_evaluations_of_one_probe_have_columns_that_say_which(bench):
    few = {"probe": "linear", "label_fraction": 0.1}
    metrics = {"linear_top1": 90.0, "knn5_top1": 80.0, "few_top1": 70.0}
    for seed in (0, 1):
        bench.done(metrics, seed=seed, evaluations={**EVALUATIONS, "few": few})
    (table,) = build("Suite", [TableSpec(cost=())], bench.records())
    assert table.header == ("method", "linear top-1 %", "5-NN %", "linear top-1 (few) %")
    assert [row[1] for row in table.statistics.rows] == list(table.header[1:])


def test_the_rule_of_collapse_is_the_suites(bench):
    rule = CollapseRule(min_rank_fraction=0.95)
    bench.done({"linear_top1": 10.0})  # RankMe 60 of 64
    spec = TableSpec(metrics=("linear_top1",), cost=())
    (table,) = build("Suite", [spec], bench.records(rule=rule), rule=rule)
    assert table.rows == (("W-MSE", "10.00, collapsed"),)
    assert any("RankMe below 95 % of D" in line for line in _notes(table)["How to read it"])
