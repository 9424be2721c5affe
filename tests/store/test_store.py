"""The directory tree: its layout, what is believed, locks, weights, checkpoints."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from harness.spec.models import Pretraining
from harness.store.atomic import StoreError
from harness.store.progress import RunProgress
from harness.store.records import CurvePoint
from harness.store.store import CHECKPOINT, ENCODER, HEADS, Busy, Store
from tests.store.conftest import evaluation, monitor, pretraining, provenance, sha

HOLDER = """
import sys, time
from pathlib import Path
from harness.store.store import Store
with Store(Path(sys.argv[1])).lock(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""
ID = pretraining().id


def _hold(store, id_):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(store.root), id_], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def _end(process):
    process.kill()
    process.wait(timeout=30)
    process.stdout.close()


# Layout


def test_the_layout_is_as_documented(shelf, store):
    spec, read = pretraining(), monitor()
    with store.lock(spec.id):
        store.begin(spec)
        store.write_checkpoint(spec.id, b"state")
        record = shelf.trained(spec, monitors=(read.id,))
        shelf.monitored(record, read, CurvePoint(epoch=1, step=10, values={"top1": 50.0}))
        store.write_heads(spec.id, b"heads")
        shelf.described(record)
        answer = shelf.evaluated(record)
        store.write_progress(spec.id, RunProgress(stage="training", written="2026-01-01T00:00:00"))
    files = {path.relative_to(store.root / spec.id).as_posix() for path in store.root.rglob("*") if path.is_file()}
    sample = next(name for name in files if name.startswith("arrays/sample-"))
    assert files == {
        "spec.json",
        "checkpoint.pt",
        "encoder.safetensors",
        "heads.safetensors",
        "curves/training.json",
        f"curves/{read.id}.json",
        "pretraining.json",
        "description.json",
        "arrays/spectra.json",
        f"arrays/hits-{answer.id}.json",
        sample,
        f"evaluations/{answer.id}.json",
        "progress.json",
        "lock",
    }
    assert (store.root / spec.id / "encoder.safetensors").read_bytes() == b"weights"


def test_begin_notes_the_spec_for_readers_but_is_no_record(store):
    store.begin(pretraining())
    noted = json.loads((store.directory(ID) / "spec.json").read_text())
    assert noted["id"] == ID
    assert Pretraining.model_validate_json(json.dumps(noted["spec"])) == pretraining()
    assert store.state(ID) == "pending"


def test_an_empty_store_reads_as_empty_and_creates_nothing(store):
    assert store.ids() == []
    assert list(store.pretrainings()) == []
    assert store.read_pretraining(ID).reason is None
    assert store.evaluation_ids(ID) == []
    assert store.state(ID) == "pending"
    assert store.load_checkpoint(ID) is None
    assert store.read_heads(ID) is None
    assert store.read_progress(ID) is None
    assert store.drop(ID, ENCODER) == 0
    store.drop_checkpoint(ID)
    assert not store.root.exists()


def test_only_ids_name_directories(shelf, store):
    shelf.trained()
    (store.root / "notes").mkdir()
    (store.root / ("f" * 20)).touch()
    assert store.ids() == [ID]
    for wrong in ("../../etc", "", "F" * 20, "a" * 21, "a" * 20 + "\n"):
        with pytest.raises(ValueError, match="is not an id: 20 hexadecimal digits are expected"):
            store.read_pretraining(wrong)


def test_results_of_the_first_version_are_counted_and_not_read(shelf, store):
    shelf.trained()
    old = store.root / ("0" * 20)
    old.mkdir()
    (old / "result.json").write_text('{"version": 1}')
    assert store.ids_of_first_version() == ["0" * 20]
    assert store.state("0" * 20) == "pending"


# What is believed


def test_records_are_served_as_they_were_saved(shelf, store):
    record = shelf.trained()
    assert store.pretraining(ID) == record
    assert list(store.pretrainings()) == [record]
    assert store.state(ID) == "done"
    description, answer = shelf.described(record), shelf.evaluated(record)
    assert store.read_description(ID).record == description
    assert store.read_evaluation(ID, answer.id).record == answer
    assert store.evaluation_ids(ID) == [answer.id]
    assert store.read_arrays(ID, "spectra", ID).record.spectra == {"h": [2.0, 1.0]}
    assert store.read_curve(ID).record.points[0].values == {"loss": 1.5}


@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_how_it_ended_is_its_state(shelf, store, status):
    shelf.ended(status)
    assert store.state(ID) == status


def _flip(path):
    path.write_text(path.read_text().replace('"views_seen": 10240', '"views_seen": 10241'))


DAMAGES = {
    "flipped": (_flip, "is damaged: its content does not fit its checksum"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:100]), "is truncated or not JSON"),
    "zeros": (lambda path: path.write_bytes(bytes(path.stat().st_size)), "is truncated or not JSON"),
    "empty": (lambda path: path.write_bytes(b""), "is truncated or not JSON"),
    "directory": (lambda path: (path.unlink(), path.mkdir()), "is a directory"),
    "another's": (
        lambda path: shutil.copy(path.parent.parent / pretraining(seed=1).id / path.name, path),
        f"is another one's: {pretraining(seed=1).id}",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_refused_with_its_reason_and_stops_no_listing(shelf, store, damage):
    shelf.trained()
    other = shelf.trained(pretraining(seed=1))
    change, said = DAMAGES[damage]
    change(store.directory(ID) / "pretraining.json")
    assert store.pretraining(ID) is None
    assert store.read_pretraining(ID).reason == f"pretraining.json {said}"
    assert list(store.pretrainings()) == [other]
    assert store.state(ID) == "pending"


def test_a_directory_copied_to_another_id_is_not_served(shelf, store, caplog):
    record = shelf.trained()
    store.write_checkpoint(ID, b"state")
    other = pretraining(seed=1).id
    shutil.copytree(store.directory(ID), store.directory(other))
    assert store.pretraining(other) is None
    assert store.load_checkpoint(other) is None
    assert "is damaged or belongs to another cell" in caplog.text
    assert list(store.pretrainings()) == [record]


def test_a_curve_under_another_monitors_name_is_refused(shelf, store):
    record, mine, other = shelf.trained(), monitor(), monitor(settings={"k": 20})
    shelf.monitored(record, mine, CurvePoint(epoch=1, step=10, values={"top1": 50.0}))
    folder = store.directory(ID) / "curves"
    for name in (other.id, "training"):
        shutil.copy(folder / f"{mine.id}.json", folder / f"{name}.json")
        assert store.read_curve(ID, name).record is None
        assert store.read_curve(ID, name).reason == f"{name}.json is another one's: {mine.id}"
    assert store.read_curve(ID, mine.id).record.monitor == mine


def test_arrays_of_another_evaluation_are_refused(shelf, store):
    record = shelf.trained()
    answer, other = shelf.evaluated(record), evaluation(record.spec, settings={"k": 20})
    folder = store.directory(ID) / "arrays"
    shutil.copy(folder / f"hits-{answer.id}.json", folder / f"hits-{other.id}.json")
    assert store.read_arrays(ID, f"hits-{other.id}", other.id).record is None


# Weights


def test_an_encoder_is_known_by_its_checksum(shelf, store, caplog):
    record = shelf.trained(encoder=b"weights")
    assert (record.encoder.sha256, record.encoder.size_bytes) == (sha(b"weights"), 7)
    assert store.has_encoder(record)
    assert store.read_encoder(record) == b"weights"
    store.write_encoder(ID, b"WEIGHTS")  # as long, of another run
    assert store.read_encoder(record) is None
    assert "encoder.safetensors is damaged or of another run: it is not used" in caplog.text


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"weight")])
def test_an_encoder_that_is_gone_or_cut_is_missed_without_reading_it(shelf, store, damage):
    record = shelf.trained()
    damage(store.directory(ID) / "encoder.safetensors")
    assert not store.has_encoder(record)
    assert store.read_encoder(record) is None


def test_what_has_no_weights_lacks_none(shelf, store):
    assert store.has_encoder(shelf.trained(encoder=None))
    assert not store.has_encoder(shelf.ended("failed"))


def test_dropping_says_what_it_freed(shelf, store):
    record = shelf.trained(encoder=b"weights")
    store.write_heads(ID, b"heads")
    assert store.read_heads(ID) == b"heads"
    assert [store.drop(ID, name) for name in (ENCODER, HEADS, ENCODER, CHECKPOINT)] == [7, 5, 0, 0]
    assert store.read_heads(ID) is None
    assert not store.has_encoder(record)


# Checkpoints


def test_a_checkpoint_is_given_back_replaced_and_dropped(store):
    store.write_checkpoint(ID, b"first")
    store.write_checkpoint(ID, memoryview(b"second \n payload"))
    assert store.load_checkpoint(ID) == b"second \n payload"
    assert store.state(ID) == "interrupted"
    store.drop_checkpoint(ID)
    assert store.load_checkpoint(ID) is None
    assert store.state(ID) == "pending"


def test_a_damaged_checkpoint_is_not_used(store, caplog):
    store.write_checkpoint(ID, b"weights" * 10)
    path = store.directory(ID) / "checkpoint.pt"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", bytes(len(whole)), b"W" + whole[1:], whole + b"x"):
        path.write_bytes(damaged)
        assert store.load_checkpoint(ID) is None
    assert caplog.text.count("it is not used, and training starts over") == 6


def test_a_record_ends_the_interruption(shelf, store):
    store.write_checkpoint(ID, b"state")
    shelf.trained()
    assert store.state(ID) == "done"


# Locks


def test_a_lock_keeps_other_processes_out_until_its_holder_dies(store):
    holder = _hold(store, ID)
    try:
        assert store.state(ID) == "running"
        with pytest.raises(Busy, match=f"{ID} is being worked on by another process"), store.lock(ID):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    finally:
        _end(holder)
    assert store.state(ID) == "pending"
    with store.lock(ID):
        assert store.state(ID) == "running"
    assert store.state(ID) == "pending"


def test_of_many_threads_one_gets_it(store):
    inside, busy = [], []
    all_tried = threading.Barrier(4)

    def runner():
        try:
            with store.lock(ID):
                inside.append(1)
                all_tried.wait(timeout=30)
        except Busy:
            busy.append(1)
            all_tried.wait(timeout=30)

    threads = [threading.Thread(target=runner) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(busy)) == (1, 3)


def test_an_error_inside_gives_the_lock_back(store):
    with pytest.raises(KeyboardInterrupt), store.lock(ID):
        raise KeyboardInterrupt
    with store.lock(ID):
        pass


def test_locking_sweeps_what_a_killed_writer_left(store):
    left = [store.directory(ID) / folder / ".x.json.0123456789abcdef.tmp" for folder in ("", "evaluations", "curves")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with store.lock(ID):
        assert [path for path in left if path.exists()] == []


def test_a_file_system_without_locks_is_refused(store, monkeypatch):
    import filelock

    monkeypatch.setattr(filelock, "FileLock", filelock.SoftFileLock)
    with pytest.raises(StoreError, match="has no locks; choose another place"), store.lock(ID):
        pass


def test_a_root_that_cannot_be_is_explained(tmp_path, shelf):
    (tmp_path / "cells").write_text("a file, not a directory")
    store = Store(tmp_path / "cells")
    with pytest.raises(StoreError, match="A file stands where a directory is needed"), store.lock(ID):
        pass
    with pytest.raises(StoreError, match="cannot make the directory"):
        shelf.trained()
    with pytest.raises(StoreError, match="cannot read the store"):
        store.ids()


# Case 28: what stands in the way


@pytest.mark.parametrize(
    "name", ["spec.json", "pretraining.json", "description.json", "progress.json", "checkpoint.pt", "lock"]
)
def test_a_directory_in_place_of_a_file_is_moved_aside_and_the_work_goes_on(shelf, store, caplog, name):
    (store.directory(ID) / name).mkdir(parents=True)
    (store.directory(ID) / name / "note").write_text("mine")
    assert store.state(ID) == "pending"
    with store.lock(ID):
        store.begin(pretraining())
        store.write_checkpoint(ID, b"state")
        store.write_progress(ID, RunProgress(stage="training", written="2026-01-01T00:00:00"))
        shelf.described(shelf.trained())
        store.drop_checkpoint(ID)
        store.drop_progress(ID)
    assert store.state(ID) == "done"
    assert [path.read_text() for path in store.directory(ID).glob(f"{name}.aside-*/note")] == ["mine"]
    assert f"{name} is nothing that belongs there: it was moved to" in caplog.text


def test_a_file_in_place_of_a_folder_and_a_directory_in_place_of_an_evaluation_make_way(shelf, store):
    asked = evaluation(pretraining())
    (store.directory(ID) / "evaluations" / f"{asked.id}.json").mkdir(parents=True)
    (store.directory(ID) / "curves").write_text("a file")
    assert store.read_evaluation(ID, asked.id).reason == f"{asked.id}.json is a directory"
    assert store.read_curve(ID).record is None
    with store.lock(ID):
        answer = shelf.evaluated(shelf.trained(), asked)
    assert store.read_evaluation(ID, asked.id).record == answer
    assert store.read_curve(ID).record is not None
    assert store.evaluation_ids(ID) == [asked.id]


# Removal


def test_a_directory_is_removed_whole(shelf, store):
    shelf.evaluated(shelf.trained())
    other = shelf.trained(pretraining(seed=1))
    with store.lock(ID):
        store.remove(ID)
    assert [path.name for path in store.root.iterdir()] == [other.id]
    with store.lock(ID):
        assert store.state(ID) == "running"


def test_a_removal_that_was_killed_leaves_nothing_that_is_half_there(shelf, store, monkeypatch):
    shelf.trained()
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)  # killed before the first file is gone
    with store.lock(ID):
        store.remove(ID)
    assert store.ids() == []
    monkeypatch.undo()
    store.sweep_removed()
    assert list(store.root.iterdir()) == []


def test_who_waited_for_a_directory_that_was_removed_locks_the_new_one(store, monkeypatch):
    """The lock that it got is of a file that has no name any more, so nobody else would find it held."""
    import filelock

    acquire, waited = filelock.FileLock.acquire, []

    def late(self, **options):
        acquire(self, **options)
        if not waited:
            waited.append(1)
            store.remove(ID)

    monkeypatch.setattr(filelock.FileLock, "acquire", late)
    with store.lock(ID):
        assert store.state(ID) == "running"
        store.begin(pretraining())
    assert (store.directory(ID) / "spec.json").exists()


def test_a_store_is_read_without_torch(shelf):
    shelf.trained()
    program = (
        "import sys; from pathlib import Path; import harness.store.cell_result, harness.store.clean, "
        "harness.store.migrate; from harness.store.store import Store; "
        "print(len(list(Store(Path(sys.argv[1])).pretrainings())), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(shelf.store.root)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "1 False\n"


def test_a_provenance_says_nothing_of_where_results_are(shelf, store):
    """A tree may be copied and merged: nothing in a record depends on its place."""
    record = shelf.trained(provenance=provenance())
    assert str(store.root) not in (store.directory(record.id) / "pretraining.json").read_text()
