"""What a sweep leaves: trials.csv, sweep.md, the pictures, and best.yaml, which means exactly the winners' cells."""

import csv
from contextlib import nullcontext
from unittest.mock import patch

import pytest

from harness.data.datasets import DATASETS
from harness.store.provenance import Code
from harness.suite.expand import expand
from harness.suite.suite import load_suite
from harness.sweep.ledger import trial_records
from harness.sweep.outputs import write_outputs
from harness.sweep.progress import best
from methods import catalogue
from tests.sweep.fakes import SWEEP, Bench, FakeEngine

MORE = SWEEP.replace("methods: {untrained: null}", "methods: {w_mse: {axes: {d: [2, 4]}}, contrastive: {}, byol: {}}")
CODE = Code("s", dict.fromkeys(("w_mse", "contrastive", "byol"), "m"), None, None)


def swept(directory, more=MORE, draw=False, **choices):
    bench = Bench(directory, more)
    studies = bench.run(FakeEngine(bench.store, **choices))
    suite, methods = bench.suite(), catalogue()
    rows = bench.rows()
    same = {row.title: row for row in rows}
    for study in studies:
        study.row = same[study.row.title]
    with nullcontext() if draw else patch("harness.sweep.plots.write_plots", return_value={}):
        write_outputs(directory, suite, rows, studies, methods, DATASETS, bench.store, CODE)
    return bench, studies


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("swept"), draw=True)


def test_every_trial_is_a_line_of_the_csv(done):
    bench, studies = done
    lines = list(csv.DictReader((bench.directory / "trials.csv").read_text().splitlines()))
    assert len(lines) == 4 * 10
    for line, trial in zip(lines, [t for study in studies for t in study.all()], strict=True):
        assert (line["method"], line["dataset"]) == (trial.row.name, "digits")
        assert (int(line["number"]), line["state"], line["cell"]) == (trial.index, "done", trial.cell_id)
        assert float(line["value"]) == pytest.approx(trial.value, rel=1e-5)
        assert float(line["optimiser.lr"]) == trial.values["optimiser.lr"]
        assert line["sub_batch_size"] == ("" if "w_mse" not in trial.row.name else str(trial.values["sub_batch_size"]))
        assert (line["epochs"], line["seconds"]) == ("2", "4.00")


def test_trials_are_cells_that_status_and_table_see(done):
    bench, studies = done
    records = trial_records(bench.directory, bench.rows(), bench.store, CODE)
    assert [r.placed.id for r in records] == [t.cell_id for study in studies for t in study.all()]
    assert {record.status for record in records} == {"done"}
    first = studies[0].all()[0]
    assert records[0].placed.row == f"w_mse d=2 trial=0 {first.row.text(first.values).replace(', ', ' ')}"


def test_lines_of_another_suite_are_left_out(done, tmp_path):
    bench, _ = done
    (tmp_path / "trials.csv").write_text((bench.directory / "trials.csv").read_text())
    other = Bench(tmp_path, MORE + "defaults: {epochs: 5}\n")
    assert trial_records(tmp_path, other.rows(), bench.store, CODE) == []
    assert trial_records(tmp_path / "nowhere", bench.rows(), bench.store, CODE) == []


def test_best_yaml_stands_for_the_winners_with_fresh_seeds(done):
    bench, studies = done
    path = bench.directory / "best.yaml"
    suite = load_suite(path)
    expansion = expand(suite, catalogue(), DATASETS, lambda spec: "f")
    winners = {study.row.name: best(study.all()) for study in studies}
    planned = {(p.label, p.cell.seed): p.cell for p in expansion.planned}
    assert {label for label, _ in planned} == {"w_mse d=2", "w_mse d=4", "contrastive", "byol", "untrained"}
    assert {seed for _, seed in planned} == {1, 2, 3}  # trials had seed 0
    for (label, seed), cell in planned.items():
        assert (cell.evaluation.split, cell.dataset.validation_fraction) == ("test", 0.0)
        if label in winners:
            trial = winners[label]
            assert cell == trial.row.winner(trial.values, seed)
            assert cell.optimiser.lr == trial.values["optimiser.lr"]
    assert suite.files == (path,)  # nothing else is needed
    assert suite.name == f"{bench.directory.name}-best"  # the winners of two sweeps have their own results


def test_best_yaml_can_be_included(done, tmp_path):
    bench, _ = done
    (tmp_path / "mine.yaml").write_text(
        f"include: {bench.directory / 'best.yaml'}\nmethods: [byol]\naxes: {{seeds: 1}}\n"
    )
    (cell,) = expand(load_suite(tmp_path / "mine.yaml"), catalogue(), DATASETS, lambda spec: "f").cells
    assert (cell.method, cell.seed, cell.batch_size) == ("byol", 0, 64)


def test_two_datasets_have_their_own_winners(tmp_path):
    _, studies = swept(tmp_path, MORE.replace("sweep:", "datasets: {fashion_mnist: {batch_size: 32}}\nsweep:"))
    expansion = expand(load_suite(tmp_path / "best.yaml"), catalogue(), DATASETS, lambda spec: "f")
    for study in studies:
        trial = best(study.all())
        cells = [p.cell for p in expansion.planned if (p.label, p.dataset) == (study.row.name, study.row.dataset)]
        assert [cell.optimiser.lr for cell in cells] == [trial.values["optimiser.lr"]] * 3
        assert {cell.batch_size for cell in cells} == {32 if study.row.dataset == "fashion_mnist" else 64}


def test_the_report_says_what_was_best_and_what_it_cost(done):
    bench, studies = done
    text = (bench.directory / "sweep.md").read_text()
    for study in studies:
        trial = best(study.all())
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {study.row.name} ") and " of 10" in line]
        assert f" {trial.values['optimiser.lr']:g} |" in line
        assert f" {trial.value:.2f} |" in line
        assert "| 10 of 10 |" in line
        assert line.endswith("| 40 s |")  # ten trials of four seconds
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
    pruned = sum(trial.state == "pruned" for trial in studies[0].all())
    (line,) = [line for line in text.splitlines() if line.startswith("| w_mse d=2 ") and " of 10" in line]
    assert [part.strip() for part in line.split("|")][7] == str(pruned)
    (line,) = [line for line in text.splitlines() if line.startswith("| byol ") and " of 10" in line]
    assert "not pruned" in line


def test_failures_and_a_row_without_any_success(tmp_path):
    bench, _ = swept(tmp_path, status=lambda cell: "failed" if cell.method == "byol" else "done")
    text = (bench.directory / "sweep.md").read_text()
    assert "byol on digits: no trial has ended well, so best.yaml has the suite's own settings" in text
    assert "byol on digits: 10 trials failed" in text
    yaml = (bench.directory / "best.yaml").read_text()
    assert "# - byol on digits: as the suite has it: none of 10 trials ended well" in yaml


def test_pictures_are_there_as_png_and_svg(done):
    directory = done[0].directory / "search"
    names = {path.name for path in directory.iterdir()}
    assert names == {f"{n}.{k}" for n in ("history", "landscape", "slices", "importances") for k in ("png", "svg")}
    assert (directory / "landscape.png").read_bytes()[:4] == b"\x89PNG"
    svg = (directory / "landscape.svg").read_text()
    assert svg.count("<image") >= 2  # a heat map for each of the two rows that have two settings
    text = (done[0].directory / "sweep.md").read_text()
    for name in ("history", "landscape", "slices", "importances"):
        assert f"(search/{name}.png)" in text


def test_the_same_trials_give_the_same_bytes(done, tmp_path):
    first, again = done[0].directory, swept(tmp_path / "s", draw=True)[0].directory
    for name in ("trials.csv", "sweep.md", "search/history.svg"):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
