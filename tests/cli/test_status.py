"""`harness status` of a cell that another process runs: how far it has come."""

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.cli.session import open_session
from harness.store.progress import RunProgress
from tests.conftest import write_suite


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"stage": "training", "epoch": 3, "epochs": 9, "seconds_left": 65.0}, "epoch 3/9, 1 min 05 s left"),
        ({"stage": "evaluating", "epoch": 9, "epochs": 9}, "evaluating"),
        (None, "running"),
    ],
)
def test_a_running_cell_says_how_far_it_is(tmp_path, data_dir, monkeypatch, said, expected):
    monkeypatch.setenv("COLUMNS", "200")
    suite = write_suite(tmp_path)
    session = open_session(suite, None, (), tmp_path / "results", str(data_dir))
    pretraining, store = session.expansion.planned[0].cell.pretraining, session.store
    with store.lock(pretraining.id):
        store.begin(pretraining)
        if said is not None:
            store.write_progress(pretraining.id, RunProgress(**said, written="2026-01-01T00:00:00+00:00"))
        arguments = ["status", str(suite), "--results", str(tmp_path / "results"), "--data-dir", str(data_dir)]
        out = CliRunner().invoke(cli, arguments).output
    (line,) = [line for line in out.splitlines() if pretraining.id in line]
    assert "running" in line
    assert expected in line
    assert "epoch" not in line or said is not None
