import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from harness.store.atomic import StoreError
from harness.store.result import Result
from harness.store.store import CellBusy, Store

HOLDER = """
import sys, time
from pathlib import Path
from harness.store.store import Store
with Store(Path(sys.argv[1])).lock(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cells")


def _hold(store, cell_id):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root), cell_id], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_an_empty_store_reads_as_empty_and_creates_nothing(store, make_cell):
    cell = make_cell()
    assert store.ids() == []
    assert list(store.results()) == []
    assert store.result(cell.id) is None
    assert store.why_not(cell.id) == "it has no result yet"
    assert store.state(cell.id) == "pending"
    assert store.load_checkpoint(cell.id) is None
    assert not store.root.exists()


def test_a_saved_result_is_served_as_it_was(store, make_result):
    result = make_result()
    store.save(result)
    assert store.result(result.id) == result
    assert store.why_not(result.id) is None
    assert store.state(result.id) == "done"
    assert store.ids() == [result.id]
    assert list(store.results()) == [result]


def test_a_failure_is_a_result(store, failed):
    store.save(failed)
    assert store.state(failed.id) == "failed"
    assert store.result(failed.id).failure.message == "no"


def test_a_result_cut_at_any_byte_is_not_done(store, make_result):
    result = make_result(curves=(), diagnostics={})
    store.save(result)
    path = store.directory(result.id) / "result.json"
    whole = path.read_bytes().rstrip(b"\n")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert store.result(result.id) is None, f"cut to {length} of {len(whole)} bytes"
    assert store.why_not(result.id) == "result.json is truncated or not JSON"
    assert store.state(result.id) == "pending"
    path.write_bytes(whole)
    assert store.result(result.id) == result


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "result.json has schema version 2, and this harness reads 1"),
        ({"version": None}, "result.json has schema version None"),
        ({"surprise": 1}, "result.json does not fit the schema at surprise: Extra inputs are not permitted"),
        ({"metrics": {"linear_top1": "high"}}, "does not fit the schema at metrics.linear_top1"),
        ({"id": "0" * 20}, "result.json is another cell's: its id is 00000000000000000000"),
    ],
)
def test_what_may_not_be_served_says_why(store, make_result, change, reason):
    result = make_result()
    store.save(result)
    path = store.directory(result.id) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert store.result(result.id) is None
    assert reason in store.why_not(result.id)


def test_a_changed_cell_no_longer_matches_its_id(store, make_result):
    result = make_result()
    store.save(result)
    path = store.directory(result.id) / "result.json"
    raw = json.loads(path.read_text())
    raw["cell"]["seed"] = 1
    path.write_text(json.dumps(raw))
    assert store.result(result.id) is None
    assert "another cell's" in store.why_not(result.id)


def test_a_directory_copied_to_another_id_is_not_served(store, make_cell, make_result, caplog):
    ours, other = make_result(), make_cell(seed=1)
    store.save(ours)
    store.write_checkpoint(ours.id, b"weights")
    shutil.copytree(store.directory(ours.id), store.directory(other.id))
    assert store.result(other.id) is None
    assert f"another cell's: its id is {ours.id}" in store.why_not(other.id)
    assert store.load_checkpoint(other.id) is None
    assert "is damaged or belongs to another cell" in caplog.text
    assert list(store.results()) == [ours]


def test_only_a_result_of_its_own_cell_is_saved(store, make_cell, make_result):
    result = make_result()
    wrong = result.model_copy(update={"id": make_cell(seed=3).id})
    with pytest.raises(
        ValueError, match=r"not saved, since it would not be served again: result\.json is another cell's"
    ):
        store.save(wrong)
    assert store.ids() == []


def test_what_is_not_finite_in_the_diagnostics_is_stored_as_null(store, make_result):
    store.save(make_result(diagnostics={"collapsed": True, "alpha": float("nan")}))
    (result,) = store.results()
    assert result.diagnostics == {"collapsed": True, "alpha": None}


def test_begin_notes_the_cell_for_readers_but_is_no_result(store, make_cell):
    cell = make_cell()
    store.begin(cell)
    noted = json.loads((store.directory(cell.id) / "cell.json").read_text())
    assert noted["id"] == cell.id
    assert noted["cell"]["method"] == "w_mse"
    assert store.state(cell.id) == "pending"


def test_a_checkpoint_is_given_back_replaced_and_dropped(store, make_cell):
    cell_id = make_cell().id
    store.write_checkpoint(cell_id, b"first")
    store.write_checkpoint(cell_id, memoryview(b"second \n payload"))
    assert store.load_checkpoint(cell_id) == b"second \n payload"
    assert store.state(cell_id) == "interrupted"
    store.drop_checkpoint(cell_id)
    store.drop_checkpoint(cell_id)
    assert store.load_checkpoint(cell_id) is None
    assert store.state(cell_id) == "pending"


def test_a_damaged_checkpoint_is_not_used(store, make_cell, caplog):
    cell_id = make_cell().id
    store.write_checkpoint(cell_id, b"weights" * 10)
    path = store.directory(cell_id) / "checkpoint.pt"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", b"W" + whole[1:], whole + b"x"):
        path.write_bytes(damaged)
        assert store.load_checkpoint(cell_id) is None
    assert caplog.text.count("it is not used, and training starts over") == 5


def test_a_result_ends_the_interruption(store, make_result):
    result = make_result()
    store.write_checkpoint(result.id, b"weights")
    store.save(result)
    assert store.state(result.id) == "done"


def test_a_lock_keeps_other_processes_out_until_its_holder_dies(store, make_cell):
    cell_id = make_cell().id
    holder = _hold(store, cell_id)
    try:
        assert store.state(cell_id) == "running"
        with pytest.raises(CellBusy, match=f"cell {cell_id} is being run by another process"), store.lock(cell_id):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    finally:
        holder.kill()
        holder.wait(timeout=30)
        holder.stdout.close()
    assert store.state(cell_id) == "pending"
    with store.lock(cell_id):
        assert store.state(cell_id) == "running"
    assert store.state(cell_id) == "pending"


def test_of_many_threads_one_gets_the_cell(store, make_cell):
    cell_id, inside, busy = make_cell().id, [], []
    all_tried = threading.Barrier(4)

    def runner():
        try:
            with store.lock(cell_id):
                inside.append(1)
                all_tried.wait(timeout=30)
        except CellBusy:
            busy.append(1)
            all_tried.wait(timeout=30)

    threads = [threading.Thread(target=runner) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(busy)) == (1, 3)


def test_an_error_inside_gives_the_lock_back(store, make_cell):
    cell_id = make_cell().id
    with pytest.raises(KeyboardInterrupt), store.lock(cell_id):
        raise KeyboardInterrupt
    with store.lock(cell_id):
        pass


def test_locking_sweeps_what_a_killed_writer_left(store, make_cell):
    cell_id = make_cell().id
    store.directory(cell_id).mkdir(parents=True)
    left = store.directory(cell_id) / ".checkpoint.pt.0123456789abcdef.tmp"
    left.touch()
    with store.lock(cell_id):
        assert not left.exists()


def test_a_file_system_without_locks_is_refused(store, make_cell, monkeypatch):
    import filelock

    monkeypatch.setattr(filelock, "FileLock", filelock.SoftFileLock)
    with pytest.raises(StoreError, match="has no locks; choose another place"), store.lock(make_cell().id):
        pass


def test_a_root_that_cannot_be_is_explained(tmp_path, make_cell, make_result):
    (tmp_path / "cells").write_text("a file, not a directory")
    store = Store(tmp_path / "cells")
    with pytest.raises(StoreError, match="A file stands where a directory is needed"), store.lock(make_cell().id):
        pass
    with pytest.raises(StoreError, match="cannot make the directory"):
        store.save(make_result())


def test_only_ids_name_directories(store, make_result):
    store.save(make_result())
    (store.root / "notes").mkdir()
    (store.root / ("f" * 20)).touch()
    assert store.ids() == [make_result().id]
    for wrong in ("../../etc", "", "F" * 20, "a" * 21, "a" * 20 + "\n"):
        with pytest.raises(ValueError, match="is not a cell id: 20 hexadecimal digits are expected"):
            store.result(wrong)


def test_a_result_reads_back_equal_through_json(make_result):
    result = make_result()
    assert Result.model_validate_json(result.model_dump_json()) == result
