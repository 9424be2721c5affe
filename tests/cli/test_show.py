"""`harness show`: an encoder with everything that it was asked, as text and as JSON."""

import itertools
import json

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.store.records import CurvePoint
from tests.analysis.conftest import MONITORS, Bench

CURVE = [CurvePoint(epoch=5 * i, step=i, values={"loss": 1 / i, "knn5_top1": 40.0 + i}) for i in range(1, 4)]


@pytest.fixture
def show(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments):
        done = CliRunner().invoke(cli, ["show", *arguments, "--results", str(tmp_path)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return call


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def lines(out):
    return [" ".join(line.split()) for line in out.splitlines()]


def test_metrics_curve_cost_and_provenance_by_the_first_digits_of_an_id(show, bench):
    result = bench.done({"linear_top1": 91.5, "knn5_top1": 80.0}, curve=CURVE, monitors=MONITORS)
    code, out = show(result.id[:6])
    assert code == 0
    ids = {name: question.id for name, question in result.cell.evaluations.items()}
    found = lines(out)
    assert f"linear_top1 91.50 % cifar10, test 10000 0 {ids['linear']}" in found
    assert f"knn5_top1 80.00 % cifar10, test 10000 any {ids['knn5']}" in found
    assert "epoch loss knn5_top1" in found
    assert "5 1 41" in found
    assert "train_seconds 10" in found
    assert any(line.startswith("code {'method w_mse': 'm'") for line in found)


def test_json_holds_every_record(show, bench):
    result = bench.done({"linear_top1": 91.5, "knn5_top1": 80.0}, curve=CURVE, monitors=MONITORS)
    stored = json.loads(show(result.id, "--json")[1])
    assert (stored["id"], stored["pretraining"]["status"]) == (result.id, "done")
    assert {tuple(answer["metrics"].values()) for answer in stored["evaluations"]} == {(91.5,), (80.0,)}
    assert stored["description"]["parameters"] == 11
    assert len(stored["curves"]) == 2  # the training's and the monitor's


def test_failures_of_any_stage_with_their_tracebacks(show, bench):
    result = bench.done({"linear_top1": 91.5}, failing={"knn5": "k exceeds [the] images"})
    found = lines(show(result.id)[1])
    assert found[0].startswith(f"{result.id} failed")
    assert any(line.startswith("knn5 failed: RuntimeError cifar10, test") for line in found)
    assert "failure of knn5" in found
    assert "message k exceeds [the] images" in found
    assert "..." in found


def test_answers_that_are_not_used_say_why(show, bench):
    result = bench.done({"linear_top1": 91.5, "knn5_top1": 80.0})
    path = bench.store.directory(result.id) / "evaluations" / f"{result.cell.evaluations['knn5'].id}.json"
    path.write_text(path.read_text().replace("80.0", "88.0"))
    bench.store.save_evaluation(result.evaluations["linear"].model_copy(update={"encoder": "e" * 64}))
    found = "\n".join(lines(show(result.id)[1]))
    assert f"not used: {path.name} is damaged: its content does not fit its checksum" in found
    assert "not used: of another encoder than the one that is here" in found


def test_what_has_no_result_says_how_it_stands_and_what_it_is_for(show, bench):
    pretraining = bench.plan().cell.pretraining
    with bench.store.lock(pretraining.id):
        bench.store.begin(pretraining)
    code, out = show(pretraining.id)
    assert (code, "pending, there is no result yet" in out) == (0, True)
    assert '"method": "w_mse"' in out
    (bench.store.directory(pretraining.id) / "spec.json").unlink()
    (bench.store.directory(pretraining.id) / "spec.json").mkdir()
    (bench.store.directory(pretraining.id) / "pretraining.json").mkdir()
    code, out = show(pretraining.id)
    assert (code, "pending, pretraining.json is a directory" in out) == (0, True)


def test_one_pretraining_for_all_seeds_lists_each_answer_once(show, bench):
    for seed in (0, 1):
        result = bench.done({"linear_top1": 40.0 + seed, "knn5_top1": 30.0}, method="pixels", settings={}, seed=seed)
    found = [line for line in lines(show(result.id)[1]) if "_top1" in line]
    assert sorted(line.split()[1] for line in found) == ["30.00", "40.00", "41.00"]


def test_no_such_id_and_several(show, bench):
    assert show("zz") == (2, "error: zz: no cell begins with it; `harness status SUITE` lists ids\n")
    ids = sorted(bench.done({}, seed=seed).id for seed in range(17))  # two begin with the same digit
    first = next(a[0] for a, b in itertools.pairwise(ids) if a[0] == b[0])
    code, out = show(first)
    assert (code, "cells begin with it: " in out) == (2, True)
