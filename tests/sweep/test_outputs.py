"""What a sweep leaves: trials.csv, sweep.md, the charts, and best.yaml, which means exactly the winners' cells."""

import csv
import json
from contextlib import nullcontext
from itertools import accumulate
from unittest.mock import patch

import pytest

from harness.spec.collapse import CollapseRule
from harness.store.provenance import Code
from harness.suite.expand import expand
from harness.suite.suite import load_suite
from harness.sweep.best import Winner, write_best
from harness.sweep.frames import trial_records
from harness.sweep.outputs import write_outputs
from tests.sweep.fakes import SWEEP, Bench, FakeEngine, PublishedFacts, catalogue

MORE = SWEEP.replace("methods: {untrained: null}", "methods: {w_mse: {axes: {d: [2, 4]}}, contrastive: {}, byol: {}}")
CODE = Code({"method w_mse": "m"}, None, None)


def swept(directory, more=MORE, draw=False, code=CODE, facts=None, **choices):
    bench = Bench(directory, more, facts=facts or PublishedFacts())
    studies = bench.run(FakeEngine(bench.store, **choices))
    suite, rows = bench.suite(), bench.rows()
    same = {row.title: row for row in rows}
    for study in studies:
        study.row = same[study.row.title]
    with nullcontext() if draw else patch("harness.sweep.plots.write_plots", return_value={}):
        write_outputs(directory, suite, rows, studies, catalogue(), bench.facts, bench.store, code)
    return bench, studies


def cells_of(path, facts=None):
    """Everything planned by a suite file."""
    return expand(load_suite(path), catalogue(), facts or PublishedFacts())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("swept"), draw=True)


def test_every_trial_is_a_line_of_the_csv(done):
    bench, studies = done
    lines = list(csv.DictReader((bench.directory / "trials.csv").read_text().splitlines()))
    assert len(lines) == 4 * 10
    for line, trial in zip(lines, [t for study in studies for t in study.trials()], strict=True):
        assert (line["method"], line["dataset"]) == (trial.row.name, "digits")
        assert (int(line["number"]), line["state"], line["cell"]) == (trial.index, "done", trial.pretraining_id)
        assert float(line["value"]) == pytest.approx(trial.value, rel=1e-5)
        assert float(line["optimiser.lr"]) == trial.values["optimiser.lr"]
        assert line["sub_batch_size"] == ("" if "w_mse" not in trial.row.name else str(trial.values["sub_batch_size"]))
        assert (line["epochs"], line["seconds"]) == ("2", "4.00")


def test_trials_are_cells_that_status_and_table_see(done):
    bench, studies = done
    records = trial_records(bench.directory, bench.rows(), bench.store, CODE, CollapseRule())
    assert [r.placed.id for r in records] == [t.cell_id for study in studies for t in study.trials()]
    assert {record.status for record in records} == {"done"}
    first = studies[0].trials()[0]
    assert records[0].placed.row == f"w_mse d=2 trial=0 {first.row.text(first.values).replace(', ', ' ')}"


def test_lines_of_another_suite_are_left_out(done, tmp_path):
    bench, _ = done
    (tmp_path / "trials.csv").write_text((bench.directory / "trials.csv").read_text())
    other = Bench(tmp_path, MORE + "defaults: {epochs: 5}\n")
    assert trial_records(tmp_path, other.rows(), bench.store, CODE, CollapseRule()) == []
    assert trial_records(tmp_path / "nowhere", bench.rows(), bench.store, CODE, CollapseRule()) == []


def test_best_yaml_stands_for_the_winners_with_fresh_seeds(done):
    bench, studies = done
    path = bench.directory / "best.yaml"
    suite, expansion = load_suite(path), cells_of(path)
    winners = {study.row.name: study.result().best for study in studies}
    planned = {(p.label, p.cell.seed): p.cell for p in expansion.planned}
    assert {label for label, _ in planned} == {"w_mse d=2", "w_mse d=4", "contrastive", "byol", "untrained"}
    assert {seed for _, seed in planned} == {1, 2, 3}  # trials had seed 0
    for (label, seed), cell in planned.items():
        assert {asked.split for asked in cell.evaluations.values()} == {"test"}
        assert (set(cell.evaluations), cell.monitors) == ({"linear", "knn5"}, {})
        assert cell.evaluations["linear"].settings["epochs"] == 5
        if label in winners:
            trial = winners[label]
            assert cell == trial.row.winner(trial.values, seed)
            assert cell.training.optimiser.lr == trial.values["optimiser.lr"]
            assert cell.pretraining.source.validation_fraction == 0.0
    assert suite.files == (path,)  # nothing else is needed
    assert suite.name == f"{bench.directory.name}-best"  # the winners of two sweeps have their own results


QUESTIONS = """
defaults:
  split: validation
  dataset: {validation_fraction: 0.2}
  evaluations: {knn5: {k: 20}, ridge: {probe: lbfgs, c: 0.5}, linear: {batch_size: 100, label_fraction: 0.5}}
collapse: {min_std: 0.2}
"""


@pytest.mark.parametrize(
    ("contrastive", "expected"),
    [
        ("{}", {"linear", "knn20", "ridge"}),
        ("{evaluations: {knn5: null, ridge: null}}", {"linear"}),
        ("{evaluations: {ridge: {probe: knn, k: 3}}}", {"linear", "knn20", "ridge"}),
        ("{evaluations: {linear: {probe: lbfgs, label_fraction: 0.5}, few: {probe: linear, label_fraction: 0.1}}}",
         {"linear", "knn20", "ridge", "few"}),  # of shared evaluations, another probe takes over nothing
        ("{evaluations: {moved: {probe: knn, dataset: fashion_mnist}}}", {"linear", "knn20", "ridge", "moved"}),
        ("{backbone: {width: 8}, precision: bfloat16, monitors: {knn5: null}}", {"linear", "knn20", "ridge"}),
    ],
)  # fmt: skip
def test_best_yaml_asks_what_each_row_asked(contrastive, expected, tmp_path):
    bench = Bench(tmp_path, MORE.replace("contrastive: {}", f"contrastive: {contrastive}") + QUESTIONS)
    winners = [Winner(row, {}, "as it is") for row in bench.rows()]
    path = write_best(tmp_path / "best.yaml", bench.suite(), winners, catalogue(), bench.facts)
    planned = {(here.label, here.cell.seed): here for here in cells_of(path).planned}
    assert set(planned["contrastive", 1].cell.evaluations) == expected
    assert set(planned["byol", 1].cell.evaluations) == {"linear", "knn20", "ridge"}
    for winner in winners:
        here = planned[winner.row.name, 3]
        assert (here.cell, here.fields.dataset.validation_fraction) == (winner.row.winner(winner.values, 3), 0.0)
    assert load_suite(path).content.collapse == CollapseRule(min_std=0.2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.yaml", "s.yaml", "toy.yaml"]  # no draft is left


def test_best_yaml_finds_files_of_weights_from_where_it_lies(tmp_path):
    (tmp_path / "suites").mkdir()
    more = "\nmethods: {byol: {backbone: {weights: ../weights/start.pt}}}\n"
    bench = Bench(tmp_path / "suites", SWEEP.replace("\nmethods: {untrained: null}\n", more))
    bench.facts.checksums[str(tmp_path / "weights" / "start.pt")] = "ab" * 32
    winners = [Winner(row, {}, "as it is") for row in bench.rows()]
    path = write_best(tmp_path / "results" / "s" / "best.yaml", bench.suite(), winners, catalogue(), bench.facts)
    assert "weights: ../../weights/start.pt" in path.read_text()
    weights = {here.label: here.cell.pretraining.backbone.weights for here in cells_of(path, bench.facts).planned}
    assert weights == {"w_mse": None, "byol": "ab" * 32, "untrained": None}


def test_a_text_that_would_run_other_cells_is_not_written(tmp_path, monkeypatch):
    bench = Bench(tmp_path, MORE)
    winners = [Winner(row, {}, "as it is") for row in bench.rows()]
    monkeypatch.setattr("harness.sweep.best.load_suite", lambda path: load_suite(path, None, ("lr=0.5",)))
    with pytest.raises(AssertionError, match=r"best\.yaml would run other cells"):
        write_best(tmp_path / "best.yaml", bench.suite(), winners, catalogue(), bench.facts)
    assert not (tmp_path / "best.yaml").exists()


def test_best_yaml_can_be_included(done, tmp_path):
    bench, _ = done
    (tmp_path / "mine.yaml").write_text(
        f"include: {bench.directory / 'best.yaml'}\nmethods: [byol]\naxes: {{seeds: 1}}\n"
    )
    (cell,) = cells_of(tmp_path / "mine.yaml").cells
    assert (cell.method, cell.seed, cell.training.batch_size) == ("byol", 0, 64)


def test_two_datasets_have_their_own_winners(tmp_path):
    _, studies = swept(tmp_path, MORE.replace("sweep:", "datasets: {fashion_mnist: {batch_size: 32}}\nsweep:"))
    expansion = cells_of(tmp_path / "best.yaml")
    for study in studies:
        trial = study.result().best
        cells = [p.cell for p in expansion.planned if (p.label, p.dataset) == (study.row.name, study.row.dataset)]
        assert [cell.training.optimiser.lr for cell in cells] == [trial.values["optimiser.lr"]] * 3
        assert {cell.training.batch_size for cell in cells} == {32 if study.row.dataset == "fashion_mnist" else 64}


def test_a_pair_that_the_suite_skips_is_not_among_the_winners(tmp_path):
    skipped = "skip: [{method: byol, dataset: fashion_mnist, reason: too slow}]\ndatasets: {fashion_mnist: {}}\nsweep:"
    bench = Bench(tmp_path, MORE.replace("sweep:", skipped))
    winners = [Winner(row, {}, "as it is") for row in bench.rows()]
    expansion = cells_of(write_best(tmp_path / "best.yaml", bench.suite(), winners, catalogue(), bench.facts))
    assert {(p.label, p.dataset) for p in expansion.planned} == {(w.row.name, w.row.dataset) for w in winners}
    assert {(p.label, p.dataset, p.reason) for p in expansion.skipped} == {("byol", "fashion_mnist", "not swept")}


def test_the_report_says_what_was_best_and_what_it_cost(done):
    bench, studies = done
    text = (bench.directory / "sweep.md").read_text()
    for study in studies:
        trial = study.result().best
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {study.row.name} ") and " of 10" in line]
        assert f" {trial.values['optimiser.lr']:g} |" in line
        assert f" {trial.value:.2f} |" in line
        assert "| 10 of 10 |" in line
        assert line.endswith("| 40 s |")  # ten trials of four seconds
    assert "linear top-1 % on a validation split held out of the training images" in text
    assert "40 of 40 trials, the same budget for every row" in text
    assert "nothing to tune, so in best.yaml as the suite has them: untrained on digits" in text
    assert "with seeds 1, 2, 3, which no trial had" in text


def test_importances_are_shares_of_what_the_formula_says(tmp_path):
    # accuracy falls by 10 a decade of three decades, and by 5 a doubling of two: the rate matters more
    bench, _ = swept(tmp_path, MORE.replace("trials: 10", "trials: 30\n  sampler: qmc"))
    text = (bench.directory / "sweep.md").read_text().split("## Importance")[1]
    (line,) = [line for line in text.splitlines() if line.startswith("| w_mse d=2 ")]
    rate, sub = (float(part) for part in line.split("|")[3:5])
    assert rate + sub == pytest.approx(1, abs=0.011)
    assert rate > 0.6
    (line,) = [line for line in text.splitlines() if line.startswith("| contrastive ")]
    assert [part.strip() for part in line.split("|")[3:5]] == ["1.00", "–"]


def test_a_best_at_the_edge_of_its_range_is_warned_of(tmp_path):
    # the peak is at 3e-3, and the range begins at 1e-2
    bench, _ = swept(tmp_path, MORE.replace("low: 1e-4", "low: 1e-2").replace("trials: 10", "trials: 20"))
    text = (bench.directory / "sweep.md").read_text()
    assert "warning: w_mse d=2 on digits: the best optimiser.lr, 0.01" in text
    assert "is at the low end of 0.01 to 0.1: the optimum may lie outside; widen the range and sweep again" in text


def test_no_warning_where_the_best_lies_inside(done):
    assert "the best optimiser.lr" not in (done[0].directory / "sweep.md").read_text()


def test_rows_that_were_not_pruned_are_named_with_the_reason(tmp_path):
    methods = '  methods: {byol: {prune: false, reason: "its target lags"}, contrastive: {prune: false}}\n'
    bench, studies = swept(tmp_path, MORE + "  pruner: median\n" + methods)
    text = (bench.directory / "sweep.md").read_text()
    assert "byol on digits was not pruned, so its trials cost more: its target lags" in text
    assert "contrastive on digits was not pruned, so its trials cost more: its early curve misleads" in text
    pruned = sum(trial.outcome == "pruned" for trial in studies[0].trials())
    (line,) = [line for line in text.splitlines() if line.startswith("| w_mse d=2 ") and " of 10" in line]
    assert [part.strip() for part in line.split("|")][7] == str(pruned)
    (line,) = [line for line in text.splitlines() if line.startswith("| byol ") and " of 10" in line]
    assert "not pruned" in line


def test_failures_and_a_row_without_any_success(tmp_path):
    bench, _ = swept(tmp_path, status=lambda made: "failed" if made.method == "byol" else "done")
    text = (bench.directory / "sweep.md").read_text()
    assert "byol on digits: no trial has ended well, so best.yaml has the suite's own settings" in text
    assert "byol on digits: 10 trials failed" in text
    yaml = (bench.directory / "best.yaml").read_text()
    assert "# - byol on digits: as the suite has it: none of 10 trials ended well" in yaml


def test_trials_of_older_code_are_counted(done, tmp_path):
    older = Code({"method w_mse": "another"}, None, None)
    bench, _ = swept(tmp_path, code=older)
    assert "40 trials are results of older code; they were not run again" in (tmp_path / "sweep.md").read_text()
    assert "of older code" not in (done[0].directory / "sweep.md").read_text()
    records = trial_records(tmp_path, bench.rows(), bench.store, older, CollapseRule())
    assert {record.stale for record in records} == {"the code of method w_mse has changed since"}


def test_charts_are_there_as_png_svg_and_specification(done):
    directory = done[0].directory / "search"
    names, kinds = ("history", "landscape", "slices", "importances"), ("png", "svg", "vl.json")
    assert {path.name for path in directory.iterdir()} == {f"{name}.{kind}" for name in names for kind in kinds}
    assert (directory / "landscape.png").read_bytes()[:4] == b"\x89PNG"
    landscape = json.loads((directory / "landscape.vl.json").read_text())
    assert len(landscape["concat"]) == 2  # a heat map for each of the two rows that have two settings
    assert all(panel["layer"][0]["mark"]["type"] == "rect" for panel in landscape["concat"])
    text = (done[0].directory / "sweep.md").read_text()
    for name in names:
        assert f"(search/{name}.png)" in text


def test_the_history_has_every_trial_and_the_best_so_far(done):
    history = json.loads((done[0].directory / "search" / "history.vl.json").read_text())
    study = done[1][0]
    values = [trial.value for trial in study.trials()]
    best_so_far, trials = (history["datasets"][layer["data"]["name"]] for layer in history["concat"][0]["layer"])
    assert [point["value"] for point in trials] == pytest.approx(values, rel=1e-4)
    assert [point["value"] for point in best_so_far] == pytest.approx(list(accumulate(values, max)), rel=1e-4)
    assert trials[0]["settings"] == study.row.text(study.trials()[0].values)


def test_the_same_trials_give_the_same_bytes(done, tmp_path):
    first, again = done[0].directory, swept(tmp_path / "s", draw=True)[0].directory
    for name in ("trials.csv", "sweep.md", "search/history.svg", "search/landscape.png", "search/slices.vl.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
