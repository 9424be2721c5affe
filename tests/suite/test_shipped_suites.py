"""The suites in the repository, with the methods and datasets of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.data.datasets import DATASETS
from harness.suite.expand import expand
from harness.suite.suite import load_suite
from methods import catalogue

SUITES = sorted((Path(__file__).parents[2] / "suites").glob("*.yaml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_and_preset_expands(path: Path) -> None:
    for preset in [None, *load_suite(path).content.presets]:
        suite = load_suite(path, preset)
        expansion = expand(suite, catalogue(suite.method_files), DATASETS, lambda spec: None)
        assert expansion.planned, (path, preset)


def test_the_quickstart_has_every_method_two_view_counts_and_two_seeds() -> None:
    methods = catalogue()
    suite = load_suite(SUITES[[path.stem for path in SUITES].index("quickstart")])
    expansion = expand(suite, methods, DATASETS, lambda spec: None)
    assert expansion.skipped == ()
    assert {planned.cell.method for planned in expansion.planned} == set(methods)
    whitened = [planned.cell for planned in expansion.planned if planned.cell.method == "w_mse"]
    assert {cell.views for cell in whitened} == {2, 4}
    assert len({cell.settings["transform"]["slicing_iterations"] for cell in whitened}) == 2
    assert {planned.cell.seed for planned in expansion.planned} >= {0, 1}


def test_planning_needs_neither_torch_nor_pandas_nor_numpy() -> None:
    code = (
        "import sys, harness.suite.expand, harness.suite.schema, harness.suite.suite\n"
        "print([name for name in ('torch', 'pandas', 'numpy', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
