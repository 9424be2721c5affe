"""A cell put together from what the store holds."""

import numpy as np
import pytest

from harness.spec.collapse import CollapseRule
from harness.store.cell_result import read_cell, sample_name
from harness.store.provenance import Code
from harness.store.records import CurvePoint, unpack_components
from tests.store.conftest import CODE, COST, FAILURE, TRAIN, evaluation, monitor, pretraining


@pytest.fixture
def record(shelf):
    return shelf.trained()


@pytest.fixture
def cell(make_cell):
    return make_cell()


def both(shelf, record, cell):
    """Answers to both questions of the cell."""
    shelf.evaluated(record, cell.evaluations["knn5"])
    return shelf.evaluated(
        record,
        cell.evaluations["linear"],
        metrics={"top1": 80.0, "top5": 99.0},
        titles={"top1": "linear top-1 %", "top5": "linear top-5 %"},
        seconds=2.0,
    )


def test_a_cell_is_unfinished_until_all_is_answered(shelf, store, cell):
    assert read_cell(store, cell) is None
    record = shelf.trained()
    shelf.described(record)
    assert read_cell(store, cell).status == "unfinished"
    shelf.evaluated(record, cell.evaluations["knn5"])
    found = read_cell(store, cell)
    assert (found.status, found.metrics) == ("unfinished", {"knn5_top1": 75.0})
    both(shelf, record, cell)
    assert read_cell(store, cell).status == "done"


def test_metrics_and_titles_are_named_by_the_cell(shelf, store, record, cell):
    both(shelf, record, cell)
    found = read_cell(store, cell)
    assert found.metrics == {"knn5_top1": 75.0, "linear_top1": 80.0, "linear_top5": 99.0}
    assert {name: metric.heading for name, metric in found.measured.items()} == {
        "knn5_top1": "5-NN %",
        "linear_top1": "linear top-1 %",
        "linear_top5": "linear top-5 %",
    }
    answer, own = found.evaluation_of("linear_top5")
    assert (answer.id, own) == (cell.evaluations["linear"].id, "top5")
    assert found.evaluation_of("linear_top3") is None
    assert found.evaluation_of("top1") is None
    assert found.id == record.id


def test_hits_are_those_of_the_metric(shelf, store, record, cell):
    both(shelf, record, cell)
    found = read_cell(store, cell)
    np.testing.assert_array_equal(found.hits("knn5_top1"), [True, True, False, True])
    assert found.hits("linear_top5") is None  # stored for top1 only
    assert found.hits("lbfgs_top1") is None
    (store.directory(record.id) / "arrays" / f"hits-{cell.evaluations['knn5'].id}.json").unlink()
    assert found.hits("knn5_top1") is None
    assert found.metrics["knn5_top1"] == 75.0


def test_answers_of_another_encoder_are_not_the_cells(shelf, store, record, cell):
    both(shelf, record, cell)
    shelf.described(record)
    shelf.trained(encoder=b"WEIGHTS")
    found = read_cell(store, cell)
    assert (found.status, found.metrics, found.description) == ("unfinished", {}, None)
    assert (found.diagnostics, found.spectra) == ({}, {})


def test_a_failed_evaluation_fails_the_cell_and_leaves_the_other_number(shelf, store, record, cell):
    both(shelf, record, cell)
    shelf.evaluated(record, cell.evaluations["linear"], status="failed", metrics={}, titles={}, failure=FAILURE)
    found = read_cell(store, cell)
    assert (found.status, found.metrics) == ("failed", {"knn5_top1": 75.0})
    assert found.failures == {"linear": FAILURE}


def test_failures_are_named_by_their_stage(shelf, store, cell):
    shelf.ended("failed")
    found = read_cell(store, cell)
    assert (found.status, found.failures, found.cost) == ("failed", {"training": FAILURE}, None)
    shelf.described(shelf.trained(), status="failed", failure=FAILURE)
    assert read_cell(store, cell).failures == {"description": FAILURE}


def test_what_was_pruned_has_no_metrics(shelf, store, record, cell):
    both(shelf, record, cell)
    shelf.ended("pruned")
    assert (read_cell(store, cell).status, read_cell(store, cell).metrics) == ("pruned", {})


def test_the_cost_is_of_all_stages(shelf, store, record, cell):
    both(shelf, record, cell)
    shelf.described(record)
    cost = read_cell(store, cell).cost
    assert (cost.train_seconds, cost.steps, cost.views_seen, cost.energy_joules) == (10.0, 40, 10240, None)
    assert cost.evaluation_seconds == 1.0 + 0.5 + 0.25 + 2.0  # monitors, description, 5-NN, linear
    assert cost.views_per_second == 1024.0
    assert (cost.encoder_flops_per_view, cost.train_flops, cost.parameters) == (100, 2000, 10)


def test_a_cost_without_training_or_description_is_none_where_unknown(shelf, store, cell):
    shelf.trained(cost=COST.model_copy(update={"train_seconds": 0.0, "steps": 0, "views_seen": 0}))
    cost = read_cell(store, cell).cost
    assert (cost.views_per_second, cost.encoder_flops_per_view, cost.parameters) == (None, None, None)
    assert cost.evaluation_seconds == 1.0


def test_curves_of_monitors_are_merged_under_their_names(shelf, store, record, make_cell):
    often, rarely = monitor(), monitor(settings={"k": 20}, every_epochs=2)
    shelf.monitored(record, often, CurvePoint(epoch=1, step=10, values={"top1": 30.0, "h_std": 0.9}, seconds=3.0))
    shelf.monitored(record, rarely, CurvePoint(epoch=2, step=20, values={"top1": 40.0, "h_std": 0.8}, seconds=5.0))
    found = read_cell(store, make_cell(monitors={"knn5": often, "knn20": rarely}))
    assert [point.model_dump() for point in found.curves] == [
        {"epoch": 1, "step": 10, "values": {"loss": 1.5, "knn5_top1": 30.0, "h_std": 0.9}, "seconds": 2.5},
        {"epoch": 2, "step": 20, "values": {"knn20_top1": 40.0, "h_std": 0.8}, "seconds": 5.0},
    ]
    assert [point.values for point in read_cell(store, make_cell()).curves] == [{"loss": 1.5}]


def test_spectra_and_samples_are_read_when_asked_for(shelf, store, record, cell):
    both(shelf, record, cell)
    shelf.described(record)
    found = read_cell(store, cell)
    assert found.spectra == {"h": [2.0, 1.0]}
    assert unpack_components(found.sample)[0].tolist() == [1.0, 0.5]
    assert found.sample.labels == (0, 1, 0, 1)


def test_one_sample_serves_all_questions_on_the_same_images():
    spec = pretraining()
    asked = evaluation(spec)
    same = evaluation(spec, probe="linear", settings={}, seed=3, label_fraction=0.1)
    assert sample_name(asked) == sample_name(same) == sample_name(monitor())
    assert sample_name(asked).startswith("sample-")
    for other in ({"scored": TRAIN}, {"split": "validation"}, {"precision": "bfloat16"}):
        assert sample_name(evaluation(spec, **other)) != sample_name(asked)


LOW = {"h_std": 0.9, "h_rankme": 1.0, "h_dimensions": 100.0}  # 1 % of the dimensions
HIGH = {"h_std": 0.9, "h_rankme": 50.0, "h_dimensions": 100.0}
RULE = CollapseRule(min_rank_fraction=0.05, consecutive=3)


@pytest.mark.parametrize(
    ("history", "last", "collapsed"),
    [
        ([], LOW, True),
        ([], HIGH, False),
        ([LOW, LOW], LOW, True),
        ([HIGH, LOW, LOW], LOW, True),
        ([LOW, HIGH, LOW], LOW, False),
        ([LOW, LOW, LOW], HIGH, False),
    ],
)
def test_collapse_is_read_from_the_monitors_and_the_end(shelf, store, record, make_cell, history, last, collapsed):
    asked = monitor()
    points = [CurvePoint(epoch=i, step=i, values={"top1": 1.0, **h}) for i, h in enumerate(history, start=1)]
    shelf.monitored(record, asked, *points)
    shelf.described(record, diagnostics=last)
    assert read_cell(store, make_cell(monitors={"knn5": asked})).collapsed(RULE) is collapsed


def test_an_encoder_that_was_not_trained_has_not_collapsed(shelf, store, make_cell):
    spec = pretraining(training=None, source=None)
    shelf.described(shelf.trained(spec), diagnostics=LOW)
    found = read_cell(store, make_cell(spec))
    assert not found.trained
    assert not found.collapsed(RULE)


def test_nobody_knows_of_a_collapse_without_a_description(shelf, store, record, cell):
    assert not read_cell(store, cell).collapsed(RULE)


def test_any_part_of_older_code_makes_a_cell_stale(shelf, store, record, cell):
    both(shelf, record, cell)
    shelf.described(record)
    found = read_cell(store, cell)
    assert found.stale(CODE) is None
    for part in ("training on cpu", "description", "probe linear"):
        code = Code(CODE.digests | {part: "new"}, None, None)
        assert found.stale(code) == f"the code of {part} has changed since"
    code = Code(CODE.digests | {"evaluation": "new"}, None, None)  # both evaluations, said once
    assert found.stale(code) == "the code of evaluation has changed since"


def test_seeds_share_what_has_none(shelf, store, make_cell):
    spec = pretraining(seed=None, backbone=None, training=None, source=None, method="pixels")
    cell = make_cell(spec)
    both(shelf, shelf.trained(spec, encoder=None), cell)
    other = cell.model_copy(
        update={
            "seed": 1,
            "evaluations": {"5-NN": evaluation(spec), "linear": evaluation(spec, probe="linear", seed=1)},
        }
    )
    assert read_cell(store, cell).status == "done"
    found = read_cell(store, other)
    assert (found.status, found.metrics) == ("unfinished", {"5-NN_top1": 75.0})  # each seed has its own linear probe
