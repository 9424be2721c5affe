"""A user's own probe with a metric of another unit: from the suite to the table, the claims and the report."""

from pathlib import Path

import pytest

from harness.analysis.claims import test_claims as verdicts_of
from harness.analysis.entries import headings
from harness.analysis.frame import gather
from harness.analysis.markdown import grid
from harness.analysis.pareto import pareto_rows
from harness.analysis.report.answer import sentence
from harness.analysis.report.table_view import laid_across, view
from harness.analysis.row_results import group_by_row
from harness.analysis.tables import build
from harness.progress import result_text
from harness.registry import use
from harness.spec.collapse import CollapseRule
from harness.store.records import CurvePoint
from harness.suite.claims import read_claim
from harness.suite.models import TableSpec
from tests.analysis.conftest import Bench
from tests.conftest import write_suite
from tests.engines.toy import Command
from tests.evaluation.probes import own
from tests.evaluation.probes.own import PROBE

OWN = Path(own.__file__)
MORE = (
    f"extensions: [{OWN}]"
    + """
defaults:
  evaluations: {fit: {probe: log_loss, c: 0.5}, few: {probe: log_loss, label_fraction: 0.2}}
  monitors: {knn5: null, fit: {probe: log_loss, every_epochs: 1}}
tables: [{metrics: [fit_nll, linear_balanced]}]
claims: [w_mse > untrained on fit_nll, w_mse not worse than untrained by more than 0.5 on few_nll]
"""
)


@pytest.fixture(autouse=True)
def in_use():
    use([OWN])
    yield
    use([])


def test_a_suite_asks_it_and_its_table_claims_and_monitors_know_its_metric(tmp_path, data_dir):
    command = Command(write_suite(tmp_path, MORE, "own.yaml"), data_dir, tmp_path / "cells")
    command.run()
    task = command.task("w_mse")
    result = command.result(task)
    answer = result.evaluations["fit"]
    assert answer.metric("nll") == PROBE.metrics(None, None)[0]
    assert 0 < answer.metrics["nll"] < 3
    assert (result.hits("fit_nll"), result.recalls("fit")) == (None, ())
    assert result.curves[0].values["fit_nll"] > 0
    assert f"fit_nll {answer.metrics['nll']:.4g} nats" in result_text(result, CollapseRule())
    records = gather(command.expansion, command.store)
    assert headings(command.expansion.metrics)["few_nll"] == "log loss (few) nats"
    spec = TableSpec(metrics=("fit_nll", "linear_balanced"), cost=())
    (table,) = build("Own", [spec], records)
    assert table.header == ("method", "log loss nats", "linear top-1, balanced %")
    assert table.entries[("w_mse",), ("digits",), "linear_balanced"].mean > 10
    found = verdicts_of(
        [*map(read_claim, ("w_mse > untrained on fit_nll", "w_mse > untrained on few_nll, digits"))], records
    )
    assert [verdict.lines[0].partition(": ")[0] for verdict in found] == [
        "digits, w_mse minus untrained, log loss nats",
        "digits, w_mse minus untrained, log loss (few) nats",
    ]


# On stored numbers: what is better is lower


def losses(bench, **rows):
    for label, values in rows.items():
        for seed, value in enumerate(values):
            asked = {"fit": {"probe": "log_loss"}}
            bench.done({"fit_nll": value}, label=label, seed=seed, evaluations=asked, settings={"k": label})


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    losses(bench, good=[0.3012, 0.3021, 0.3034], bad=[0.5012, 0.5031, 0.5023])
    return bench


@pytest.mark.parametrize(
    ("claim", "answer"),
    [
        ("good > bad on fit_nll", "supported"),
        ("bad > good on fit_nll", "refuted"),
        ("bad < good on fit_nll", "supported"),
        ("good > bad by more than 0.1 on fit_nll", "supported"),
        ("good > bad by more than 0.3 on fit_nll", "refuted"),
        ("bad not better than good by more than 0.1 on fit_nll", "supported"),
        ("good not better than bad by more than 0.1 on fit_nll", "refuted"),
        ("good not worse than bad by more than 0.1 on fit_nll", "supported"),
        ("bad not worse than good by more than 0.1 on fit_nll", "refuted"),
        ("good equals bad within 0.3 on fit_nll", "supported"),
        ("good equals bad within 0.1 on fit_nll", "refuted"),
        ("good not worse than bad on fit_nll", "not testable"),
    ],
)
def test_better_is_lower_in_claims(bench, claim, answer):
    (found,) = verdicts_of([read_claim(claim)], bench.records())
    assert found.answer == answer
    if answer == "not testable":
        assert found.lines == ("missing: fit_nll is in nats: say how much counts, `by more than 0.1`",)
    elif claim.startswith("good"):  # -0.2, -0.201, -0.1989: -0.19997 +- 4.303 x 0.00105 / sqrt(3)
        assert found.lines == ("cifar10, good minus bad, log loss nats: -0.2 [-0.2026, -0.1974], 3 seeds",)


def test_the_lowest_is_bold_and_numbers_keep_the_digits_that_count(bench):
    (table,) = build("T", [TableSpec(cost=(), baseline="bad")], bench.records())
    shown = [line.split("|")[2].strip() for line in grid(table).split("\n")]
    assert (shown[0], *shown[2:]) == ("log loss nats", "**0.3022 ± 0.001106**", "0.5022 ± 0.0009539")
    first = table.statistics.rows[0]
    assert first[:5] == ("good", "log loss nats", "3 of 3", "[0.2995, 0.305]", "-0.2")


def test_the_report_leads_with_the_lowest(bench):
    records = bench.records()
    rows = group_by_row(records, ())
    assert sentence(rows, "cifar10", "fit_nll") == (
        "On cifar10, good has the lowest log loss, 0.3022 nats, and with 3 seeds it is below every other method."
    )
    assert [rows[i].name for i in pareto_rows(rows, "train_flops", "fit_nll")] == ["good"]  # both cost the same
    spec = TableSpec(cost=(), baseline="bad")
    shown = view("T", build("T", [laid_across(spec)], records), {"fit_nll": "log loss nats"})
    assert {column.first for column in shown.columns if "loss" in column.title} == {"ascending"}
    assert shown.lines[0].items[2].text == "0.3022 ± 0.001106"


def test_an_arrow_up_is_better(tmp_path):
    bench = Bench(tmp_path)
    noise = [0.001, 0.002, 0.003, 0.001, 0.002]
    losses(bench, good=[0.3 + x for x in noise], bad=[0.5 - x for x in noise])
    tables = build("T", [laid_across(TableSpec(cost=(), baseline="bad"))], bench.records())
    good = view("T", tables, {}).lines[0].items[-1]
    assert good.text == "-0.1964 ▲"


def test_a_share_of_a_last_loss_is_no_claim(bench):
    watched = {"fit": {"probe": "log_loss", "every_epochs": 1}}
    points = [CurvePoint(epoch=1, step=1, values={"fit_nll": 0.5})]
    for label in ("x", "y"):
        bench.done({"linear_top1": 1.0}, label=label, monitors=watched, curve=points, settings={"k": label})
    (found,) = verdicts_of([read_claim("x reaches 80 % of its final fit_nll earlier than y")], bench.records())
    assert found.lines == (
        "missing: cifar10, x, seed 0: less of fit_nll is better, so a share of its last reading says nothing",
    )
