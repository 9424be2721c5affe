"""`harness migrate`: what it says, and its exit code."""

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.spec import identity
from harness.store import migrate as room
from tests.store.conftest import Shelf, pretraining


@pytest.fixture
def harness(tmp_path):
    def call(*arguments):
        result = CliRunner().invoke(cli, ["migrate", "--results", str(tmp_path), *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "cells")


def test_where_nothing_is_older_it_says_so(harness, shelf):
    nothing = "Nothing to do: no results of a version before 2.\n"
    assert harness() == (0, nothing, "")
    shelf.trained()
    assert harness() == (0, nothing, "")


def test_version_1_is_refused_in_one_line(harness, shelf):
    for digit in "012":
        (shelf.store.root / (digit * 20)).mkdir(parents=True)
        (shelf.store.root / (digit * 20) / "result.json").write_text("{}")
    assert harness() == (
        1,
        "",
        "error: results of version 1, which kept neither encoders nor fingerprints of splits, cannot be brought "
        "forward, and there are 3 here: run their suites again, and remove them by `harness clean --old-versions`\n",
    )


def test_results_move_and_what_is_left_is_named(harness, shelf, monkeypatch):
    old = shelf.trained().id
    damaged = shelf.trained(pretraining(seed=1)).id
    path = shelf.store.directory(damaged) / "pretraining.json"
    path.write_text(path.read_text().replace("10240", "10241"))
    monkeypatch.setattr(identity, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(room, "MIGRATIONS", {2: lambda raw: raw})
    new = pretraining().id
    said = f"left: {damaged}: pretraining.json is damaged: its content does not fit its checksum\n"
    assert harness("--dry-run") == (1, f"{old} -> {new}\nTo bring forward to version 3: 1.\n", said)
    assert shelf.store.ids() == sorted([old, damaged])
    assert harness() == (1, f"{old} -> {new}\nBrought forward to version 3: 1.\n", said)
    assert shelf.store.ids() == sorted([new, damaged])
    shelf.store.directory(damaged).joinpath("pretraining.json").unlink()
    assert harness() == (0, "Nothing to do: no results of a version before 3.\n", "")


def test_a_store_that_cannot_be_read_is_explained(harness, tmp_path):
    (tmp_path / "cells").write_text("a file")
    code, _, said = harness()
    assert code == 2
    assert said.startswith("error: cannot read the store")
