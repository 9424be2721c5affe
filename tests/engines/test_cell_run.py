"""What a cell says of itself while it runs, and that nothing of it is left when it has ended."""

import pytest

from harness.cli.session import open_session
from harness.engines.cell_run import Surroundings, run_cell
from harness.engines.execution import Execution
from harness.progress import PlainWatcher
from harness.store.store import Store
from harness.training.trainer import Hooks
from tests.conftest import write_suite


@pytest.mark.parametrize("method", ["w_mse", "untrained"])
def test_progress_is_there_while_it_runs_and_gone_with_the_result(tmp_path, data_dir, monkeypatch, method):
    session = open_session(write_suite(tmp_path), None, (), tmp_path / "results", str(data_dir))
    cell = next(item.cell for item in session.expansion.planned if item.cell.method == method)
    seen = []

    class Watched(Store):
        def write_progress(self, cell_id, progress):
            super().write_progress(cell_id, progress)
            seen.append(self.read_progress(cell_id))

    monkeypatch.setattr("harness.engines.cell_run.Hooks", lambda **given: Hooks(**given, report_seconds=0.0))
    monkeypatch.setattr("harness.store.progress.ProgressReporter.__init__.__defaults__", (0.0,))
    store = Watched(session.store.root)
    watcher = PlainWatcher(1, (tmp_path / "log").open("w"))
    watcher.started(cell.id, "a cell")
    around = Surroundings(store, session.code, Execution(data_dir, "cpu"), watcher, lambda: False)
    with store.lock(cell.id):
        result = run_cell(cell, session.methods[method], around)
    assert result.status == "done"
    assert seen[-1].stage == "evaluating"
    if method == "w_mse":
        assert {p.stage for p in seen[:-1]} == {"training"}
        assert [p.step for p in seen] == [1, 2, 3, 4, 5, 6, 6]  # two epochs of three steps of 64 of 200 images
        assert seen[-1].epochs == 2
        assert [point.values["loss"] for point in seen[-1].curve] == [p.values["loss"] for p in result.curves]
    else:
        assert len(seen) == 1
    assert sorted(path.name for path in store.directory(cell.id).iterdir()) == ["cell.json", "lock", "result.json"]
