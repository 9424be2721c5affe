"""`harness clean`: what it says that could be freed, that it asks, and what is gone afterwards."""

import textwrap

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.cli.session import open_session
from harness.store.provenance import Code
from tests.store.conftest import Shelf, pretraining, provenance

MIB = 2**20
SUITE = """
title: Small
defaults:
  dataset: {image_size: 8, train_images: 200}
  backbone: {name: resnet18, stem: small_max_pool, width: 4}
  epochs: 2
  batch_size: 64
  settings: {projector: {hidden: [8], embedding_size: 4}, transform: {sub_batch_size: 32}}
datasets: [digits]
methods:
  w_mse: {}
axes:
  seeds: 2
"""


@pytest.fixture
def harness(tmp_path):
    def call(*arguments, answer=""):
        options = ["--results", str(tmp_path), *map(str, arguments)]
        result = CliRunner().invoke(cli, ["clean", *options], input=answer)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "cells")


@pytest.fixture
def filled(shelf):
    """Two pretrainings of the code as it is, one with a checkpoint; one of older code; one of version 1."""
    now = Code.read()
    fresh = provenance(code=now.of_training("w_mse", "cpu"))
    for seed in (0, 1):
        shelf.trained(pretraining(seed=seed), encoder=bytes(MIB), provenance=fresh)
    shelf.store.write_checkpoint(pretraining(seed=1).id, bytes(3 * MIB))
    old = provenance(code={"training on cpu": "old"})
    shelf.trained(pretraining(seed=2), encoder=bytes(2 * MIB), provenance=old)
    record = shelf.store.pretraining(pretraining(seed=0).id)
    shelf.evaluated(record, provenance=provenance(code={"probe knn": "old"}))
    (shelf.store.root / ("0" * 20)).mkdir()
    (shelf.store.root / ("0" * 20) / "result.json").write_bytes(bytes(5 * MIB))
    return shelf.store


def rows(output):
    """Kind -> the rest of its line, of the lines that begin with one."""
    kinds = ("encoders", "checkpoints", "stale", "old versions")
    return {
        kind: line.removeprefix(kind).split() for line in output.splitlines() for kind in kinds if line.startswith(kind)
    }


def test_without_a_choice_it_says_what_could_be_freed_and_how(harness, filled):
    before = sorted(filled.root.rglob("*"))
    code, output = harness()
    assert code == 0
    found = rows(output)
    assert found["encoders"] == ["3", "4.0", "MiB"]
    assert found["checkpoints"] == ["1", "3.0", "MiB"]
    assert found["stale"] == ["1", "+", "1", "evaluations", "2.0", "MiB"]
    assert found["old versions"] == ["1", "5.0", "MiB"]
    options = [line.split()[0] for line in output.splitlines() if line.startswith("    ")]
    assert options == ["--encoders", "--checkpoints", "--stale", "--old-versions"]
    assert "Nothing was removed" in output
    assert sorted(filled.root.rglob("*")) == before


def test_it_asks_and_takes_no_for_an_answer(harness, filled):
    before = sorted(filled.root.rglob("*"))
    code, output = harness("--encoders", "--checkpoints", answer="n\n")
    assert code == 1
    assert "Remove them, 7.0 MiB in all? [y/N]: n" in output
    assert sorted(filled.root.rglob("*")) == before


def test_what_was_chosen_is_gone_and_nothing_else(harness, filled):
    code, output = harness("--encoders", "--checkpoints", answer="y\n")
    assert (code, output.splitlines()[-1]) == (0, "7.0 MiB freed.")
    left = {path.name for path in filled.root.rglob("*") if path.is_file()}
    assert not left & {"encoder.safetensors", "checkpoint.pt"}
    assert len(list(filled.pretrainings())) == 3
    assert harness("--encoders")[1].splitlines()[-1] == "Nothing to remove."


def test_stale_results_go_without_a_question_if_that_is_wished(harness, filled):
    code, output = harness("--stale", "--yes")
    assert (code, output.splitlines()[-1]) == (0, "2.0 MiB freed.")
    assert {record.spec.seed for record in filled.pretrainings()} == {0, 1}
    assert filled.evaluation_ids(pretraining(seed=0).id) == []
    assert filled.has_encoder(filled.pretraining(pretraining(seed=0).id))


def test_old_versions_go(harness, filled):
    assert harness("--old-versions", "--yes")[1].splitlines()[-1] == "5.0 MiB freed."
    assert filled.ids_of_first_version() == []


def test_what_is_running_or_not_known_is_named(harness, filled, shelf):
    mine = shelf.trained(pretraining(method="mine"), provenance=provenance(code={"method mine": "m"}))
    held = pretraining(seed=2).id
    with filled.lock(held):
        code, output = harness("--stale", "--yes")
    assert code == 0
    assert f"left: {held}: a running process works on it" in output
    reason = "method mine is not here any more; if it comes from a file of your own, name the suite that says so"
    assert f"left: {mine.id}: {reason}" in output
    assert {held, mine.id} <= set(filled.ids())


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(textwrap.dedent(SUITE))
    return path


def test_with_a_suite_only_its_cells_are_cleaned(harness, filled, shelf, suite, tmp_path, data_dir):
    session = open_session(suite, None, (), tmp_path, str(data_dir))
    for placed in session.expansion.planned:
        shelf.trained(placed.cell.pretraining, encoder=bytes(MIB))
    assert len(session.expansion.planned) == 2
    output = harness(suite, "--data-dir", data_dir)[1]
    assert rows(output)["encoders"] == ["2", "2.0", "MiB"]
    assert "old versions" not in rows(output)
    assert harness(suite, "--encoders", "--yes", "--data-dir", data_dir)[1].splitlines()[-1] == "2.0 MiB freed."
    assert filled.has_encoder(filled.pretraining(pretraining(seed=0).id))
    for placed in session.expansion.planned:
        assert not filled.has_encoder(filled.pretraining(placed.cell.pretraining.id))
    seed = ["--set", "seed=7", "--data-dir", data_dir]
    assert harness(suite, "--encoders", *seed)[1].splitlines()[-1] == "Nothing to remove."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "tiny"], "--preset and --set belong to a suite, and none is given"),
        (["s.yaml", "--old-versions"], "results of older versions belong to no suite as it is now"),
        (["nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_cannot_be_meant_is_refused(harness, arguments, said):
    code, output = harness(*arguments)
    assert code == 2
    assert said in output
