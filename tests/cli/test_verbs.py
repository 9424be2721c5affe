"""The verbs in one process: what they print, write and exit with."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from harness.cli import VERBS, cli
from tests.conftest import write_suite


@pytest.fixture(scope="module")
def ran(tmp_path_factory, data_dir):
    """A directory in which the toy suite was run."""
    directory = tmp_path_factory.mktemp("ran")
    suite = write_suite(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_DATA", str(data_dir))
        patch.setenv("COLUMNS", "200")
        result = CliRunner().invoke(cli, ["run", str(suite), "--results", str(directory / "results")])
    assert result.exit_code == 0, result.output
    return directory, suite, result.output


def test_help_needs_neither_torch_nor_pandas_nor_half_a_second():
    code = "import sys, harness.cli as c; c.cli(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    began = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds = time.perf_counter() - began
    for verb in VERBS:
        assert f"  {verb} " in out
    modules = out.splitlines()[-1]
    assert all(f"'{name}'" not in modules for name in ("torch", "pandas", "optuna", "pydantic", "rich"))
    assert seconds < 0.5 * (1 + os.getloadavg()[0])  # half a second on an idle machine


def test_every_verb_has_its_own_help(harness):
    for verb in VERBS:
        code, out = harness(verb, "--help")
        assert (code, out.startswith("Usage:")) == (0, True), verb


def test_a_misspelt_verb(harness):
    code, out = harness("rn", "x.yaml")
    assert code == 2
    assert "no command `rn`; did you mean `run`?" in out


def test_run_writes_and_shows_the_table(ran):
    directory, _, out = ran
    markdown = (directory / "results" / "toy" / "table.md").read_text()
    csv = (directory / "results" / "toy" / "table.csv").read_text().splitlines()
    assert "| w_mse" in markdown
    assert "| untrained" in markdown
    assert len(csv) == 1 + 4 * 5  # four cells, five metrics each
    assert "linear top-1" in out
    assert "table.md" in out


def test_plan_before_and_after(harness, ran, tmp_path):
    directory, suite, _ = ran
    code, out = harness("plan", suite)
    assert code == 0
    assert "4 pending" in out
    assert "nothing comparable" in out
    assert not (tmp_path / "results").exists()
    code, out = harness("plan", suite, "--results", directory / "results")
    assert "4 done" in out
    code, out = harness("plan", suite, "--results", directory / "results", "--set", "seed=7")
    assert "from stored runs of like cells" in out


def test_another_k_asks_the_encoders_that_are_there(harness, ran, tmp_path):
    directory, suite, _ = ran
    results = tmp_path / "results"
    shutil.copytree(directory / "results", results)
    before = {path: path.read_bytes() for path in results.glob("cells/*/*.safetensors")}
    assert len(before) == 4
    code, out = harness("plan", suite, "--results", results, "--set", "k=20")
    assert code == 0
    assert "to do: 0 pretrainings, 4 evaluations" in out
    code, out = harness("status", suite, "--results", results, "--set", "k=20")
    assert out.count("to do: knn20") == 4
    code, out = harness("run", suite, "--results", results, "--set", "k=20")
    assert code == 0
    assert "20-NN %" in out
    assert {path: path.read_bytes() for path in results.glob("cells/*/*.safetensors")} == before
    assert len(list(results.glob("cells/*/evaluations/*.json"))) == 4 * 3  # linear, 5-NN, 20-NN
    code, out = harness("plan", suite, "--results", results)
    assert "4 done" in out  # the answers of before are still there


def test_a_wanted_curve_that_a_finished_training_lacks_is_named_and_not_trained_for(harness, ran, tmp_path):
    directory, suite, _ = ran
    more = "monitors.knn9={probe: knn, k: 9, every_epochs: 1}"
    code, out = harness("plan", suite, "--results", directory / "results", "--set", more)
    assert code == 0
    assert "4 done" in out
    assert "done, but without a wanted curve: w_mse on digits, seed 0 (knn9)" in out
    assert "--retrain-for-curves" in out


def test_two_suites_of_one_name_never_share_their_tables(harness, ran, tmp_path):
    directory, *_ = ran
    results = tmp_path / "results"
    shutil.copytree(directory / "results", results)
    (tmp_path / "elsewhere").mkdir()
    other = write_suite(tmp_path / "elsewhere")
    table = (results / "toy" / "table.md").read_bytes()
    owner = json.loads((results / "toy" / "suite.json").read_text())["suite"]
    for verb in ("run", "table", "report"):
        code, out = harness(verb, other, "--results", results)
        assert code == 2, verb
        assert f"{results / 'toy'} holds the tables of another suite, {owner}: give this one's file another name" in out
    assert (results / "toy" / "table.md").read_bytes() == table


def test_tables_made_again_after_everything_was_moved_leave_the_note_of_their_owner_as_it_is(harness, ran, tmp_path):
    directory, *_ = ran
    shutil.copytree(directory, tmp_path / "moved")
    suite, results = tmp_path / "moved" / "toy.yaml", tmp_path / "moved" / "results"
    before = (results / "toy" / "suite.json").read_bytes()
    assert harness("table", suite, "--results", results)[0] == 0
    assert (results / "toy" / "suite.json").read_bytes() == before


LOOKING = {
    "plan": ["plan", "SUITE"],  # of backbones that were tried before
    "status": ["status", "SUITE"],
    "methods": ["list", "methods"],
    "probes": ["list", "probes"],
    "schema": ["schema", "schema.json"],
}


@pytest.mark.parametrize("name", LOOKING)
def test_looking_needs_no_torch(ran, tmp_path, data_dir, name):
    directory, suite, _ = ran
    arguments = [str(suite) if part == "SUITE" else part for part in LOOKING[name]]
    if "SUITE" in LOOKING[name]:
        arguments += ["--results", str(directory / "results"), "--data-dir", str(data_dir)]
    code = f"import sys, harness.cli as c; c.cli({arguments!r}, standalone_mode=False); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert out.splitlines()[-1] == "False"


def test_plan_says_what_cannot_run_and_why(harness, tmp_path, data_dir):
    suite = write_suite(
        tmp_path,
        """
        datasets: {cifar10: {defaults: null}}
        """.replace("{defaults: null}", "{}")
        + "axes: {sub_batch_size: [32, 48]}\n",
        "cannot.yaml",
    )
    code, out = harness("plan", suite)
    assert code == 0
    assert "a batch of 64 images cannot be cut into sub-batches of 48" in out
    assert "harness data prepare cifar10" in out
    assert "cifar-10-python.tar.gz from" in out
    assert f"Prepared datasets are kept in {data_dir}" in out


def test_run_without_the_data_exits_with_1_and_says_what_to_fetch(harness, tmp_path):
    suite = write_suite(tmp_path, "datasets: {digits: null, cifar10: {}}\n", "cifar.yaml")
    code, out = harness("run", suite)
    assert code == 1
    assert "4 cells were not run for lack of data" in out
    assert "harness data prepare cifar10" in out


def test_status_has_a_line_a_cell(harness, ran):
    directory, suite, _ = ran
    code, out = harness("status", suite, "--results", directory / "results")
    assert code == 0
    assert out.count("knn5_top1") == 4
    assert "4 done" in out


def test_table_without_running(harness, ran, tmp_path):
    directory, suite, _ = ran
    before = (directory / "results" / "toy" / "table.md").read_bytes()
    code, _ = harness("table", suite, "--results", directory / "results")
    assert code == 0
    assert (directory / "results" / "toy" / "table.md").read_bytes() == before


def test_the_table_for_papers_and_slides(harness, ran):
    directory, suite, _ = ran
    place = directory / "results" / "toy"
    code, out = harness("table", suite, "--results", directory / "results")
    assert code == 0
    assert f"figures in {place}, as .png and .svg: accuracy, curves, losses, frontier, spectra, alignment" in out
    assert str(place / "table.tex") in out
    tex = (place / "table.tex").read_text()
    assert r"\toprule" in tex
    assert r"w\_mse" in tex
    for name in ("accuracy", "curves", "losses", "frontier", "spectra", "alignment"):
        assert (place / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (place / f"{name}.svg").read_text()


def test_show_by_the_first_digits_of_an_id(harness, ran):
    directory, *_ = ran
    cell_id = sorted(path.name for path in (directory / "results" / "cells").iterdir())[0]
    code, out = harness("show", cell_id[:8], "--results", directory / "results")
    assert code == 0
    assert "linear_top1" in out
    assert "training on cpu" in out
    code, out = harness("show", cell_id, "--json", "--results", directory / "results")
    assert json.loads(out)["id"] == cell_id
    code, out = harness("show", "zz", "--results", directory / "results")
    assert (code, "zz: no cell begins with it" in out) == (2, True)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (["methods"], ["w_mse", "plain_mse", "control", "2007.06346"]),
        (["probes"], ["knn", "linear", "lbfgs", "max_iterations"]),
        (["datasets"], ["digits", "imagenet100", "data directory"]),
        (["backbones", "resnet18*"], ["resnet18\n", "resnet18d"]),
        (["backbones", "nothing*"], ["no model of timm matches 'nothing*'"]),
    ],
)
def test_list(harness, what, expected):
    code, out = harness("list", *what)
    assert code == 0
    for text in expected:
        assert text in out


def test_list_suites_shows_presets_and_errors(harness, tmp_path):
    write_suite(tmp_path, "presets: {tiny: {}}\n", "with_preset.yaml")
    (tmp_path / "broken.yaml").write_text("nonsense: 1\n")
    code, out = harness("list", "suites", ".")
    assert code == 0
    assert "tiny" in out
    assert "broken.yaml:1" in out


def test_schema_is_written(harness, tmp_path):
    code, out = harness("schema", "schema.json")
    assert code == 0
    assert "written: schema.json" in out
    assert "w_mse" in (tmp_path / "schema.json").read_text()


@pytest.mark.parametrize("verb", ["run", "plan", "status", "table"])
def test_a_bad_suite_exits_with_2_file_line_and_suggestion(harness, tmp_path, verb):
    suite = tmp_path / "bad.yaml"
    suite.write_text("defaults:\n  epochs: 1\n  batch_sise: 2\nmethods: {w_mse: {}}\ndatasets: [digits]\n")
    code, out = harness(verb, suite)
    assert code == 2
    assert f"{suite}:3" in out
    assert "did you mean `batch_size`?" in out
    assert "Traceback" not in out


def test_errors_of_arguments_exit_with_2(harness, toy_suite, tmp_path):
    for arguments, message in [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", toy_suite, "--device", "quantum"], "no such device"),
        (["run", toy_suite, "--preset", "tyni"], "tyni"),
        (["run", toy_suite, "--set", "optimiser.lrr=1"], "lrr"),
        (["data", "prepare", "cifar11"], "unknown dataset 'cifar11'"),
        (["data", "verify", "cifar10"], "cifar10"),
    ]:
        code, out = harness(*arguments)
        assert code == 2, (arguments, out)
        assert message in out


def test_data_prepare_and_verify_digits(harness):
    assert harness("data", "prepare", "digits")[0] == 0
    code, out = harness("data", "verify", "digits")
    assert code == 0
    assert "digits: 10 classes" in out
    assert "train: 1,437 images" in out
    assert "test: 360 images" in out
