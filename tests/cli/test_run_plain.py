"""`harness run --plain`: the same cells, trained without our means, and no checkpoint shared with the others."""

from click.testing import CliRunner

from harness.cli import cli
from harness.engines import pretrain
from tests.conftest import write_suite


def test_plain_reaches_the_trainer_and_no_id(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA", str(data_dir))
    suite = write_suite(tmp_path, "axes: {seeds: 1}\n", "one.yaml")
    wished, codes = [], []
    trainer = pretrain.Trainer

    def noting(*arguments, **options):
        wished.append(options["plain"])
        codes.append(arguments[-1].code)
        return trainer(*arguments, **options)

    monkeypatch.setattr(pretrain, "Trainer", noting)
    cells = []
    for options in (["--plain"], []):
        results = tmp_path / f"results{len(cells)}"
        done = CliRunner().invoke(cli, ["run", str(suite), "--results", str(results), *options])
        assert done.exit_code == 0, done.output
        cells.append(sorted(path.name for path in (results / "cells").iterdir()))
    assert cells[0] == cells[1]
    assert len(cells[0]) == 2
    assert wished == [True, False]
    assert codes[0] == f"{codes[1]} plain"
