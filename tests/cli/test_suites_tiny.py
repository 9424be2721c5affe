"""Every suite in the repository, run from end to end by its `tiny` preset: no cell fails, and its tables are there."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.run import command
from harness.suite.suite import load_suite

SUITES = sorted((Path(__file__).parents[2] / "suites").glob("*.yaml"))
SMALL_ITSELF = {"quickstart"}
# still smaller than the preset: two steps of 64 images and a short probe
SMALLER = ("dataset.train_images=128", "evaluations.linear.epochs=2")
QUICKSTART = (*SMALLER, "epochs=1", "batch_size=64", "width=4", "image_size=8", "seeds=1")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all suites: a cell that several of them have is run once, as it would be at home."""
    return tmp_path_factory.mktemp("results")


def test_every_suite_but_the_smallest_has_a_tiny_preset() -> None:
    assert {path.stem for path in SUITES if "tiny" not in load_suite(path).content.presets} == SMALL_ITSELF


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_the_suite_runs(path: Path, results: Path, data_dir: Path) -> None:
    tiny = path.stem not in SMALL_ITSELF
    arguments = [str(path), "--results", str(results), "--data-dir", str(data_dir), "--device", "cpu"]
    arguments += ["--preset", "tiny"] if tiny else []
    for setting in SMALLER if tiny else QUICKSTART:
        arguments += ["--set", setting]
    outcome = CliRunner().invoke(command, arguments)
    assert outcome.exit_code == 0, outcome.output
    output = results / (f"{path.stem}-tiny" if tiny else path.stem)
    rows = list(csv.DictReader((output / "table.csv").read_text().splitlines()))
    assert rows
    skips = bool(load_suite(path, "tiny" if tiny else None).content.skip)
    assert {row["status"] for row in rows} == ({"done", "skipped"} if skips else {"done"})
    rows = [row for row in rows if row["status"] == "done"]
    assert {row["dataset"] for row in rows} == {"digits"}
    assert {row["seed"] for row in rows} == {"0"}
    labels = dict.fromkeys(row["label"] for row in rows)
    assert list(labels) == list(load_suite(path, "tiny" if tiny else None).content.methods)
    markdown = (output / "table.md").read_text()
    for label in labels:
        assert f"| {label} " in markdown or len(labels) == 1  # a grid of one method does not name it
