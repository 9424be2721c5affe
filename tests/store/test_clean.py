"""What can be removed to free the disk, and its removal."""

import json
import subprocess
import sys
import threading

import pytest

from harness.spec import identity
from harness.store.clean import KINDS, find, remove
from harness.store.provenance import Code
from harness.store.stages import Stages, stages
from tests.store.conftest import CODE, evaluation, pretraining, provenance

A, B = pretraining(), pretraining(seed=1)
KNN5, KNN20 = evaluation(A), evaluation(A, settings={"k": 20})


@pytest.fixture
def done(shelf):
    """A pretraining with two evaluations."""
    record = shelf.trained(A, encoder=b"weights")
    shelf.described(record)
    shelf.evaluated(record, KNN5)
    shelf.evaluated(record, KNN20)
    return record


def newer(*parts):
    return Code({**CODE.digests, **dict.fromkeys(parts, "new")}, None, None)


def cleaned(store, *kinds, code=CODE, ids=None):
    return remove(store, find(store, kinds, code, ids), kinds, code)


def parts(found):
    return [(part.kind, part.id, part.files, part.size_bytes) for part in found.removable]


def test_nothing_is_found_in_an_empty_store_and_finding_changes_nothing(shelf, store):
    assert find(store, KINDS, CODE).removable == []
    assert not store.root.exists()
    shelf.trained(A)
    before = sorted(store.root.rglob("*"))
    find(store, KINDS, newer("training on cpu"))
    assert sorted(store.root.rglob("*")) == before


def test_encoders_go_with_their_heads_and_numbers_stay(store, done):
    store.write_heads(A.id, b"heads")
    assert parts(find(store, ["encoders"], CODE)) == [
        ("encoders", A.id, ("encoder.safetensors", "heads.safetensors"), 12)
    ]
    assert cleaned(store, "encoders").freed_bytes == 12
    assert stages(store, A, (KNN5, KNN20)).nothing
    linear = evaluation(A, probe="linear", settings={}, seed=0)
    assert stages(store, A, (linear,)).why == "its encoder is not kept"
    assert find(store, ["encoders"], CODE).removable == []


def test_checkpoints_go_alone(store, done):
    store.write_checkpoint(A.id, b"state")
    store.write_checkpoint(B.id, b"state")
    size = (store.directory(B.id) / "checkpoint.pt").stat().st_size
    assert cleaned(store, "checkpoints").freed_bytes == 2 * size
    assert store.state(B.id) == "pending"
    assert store.has_encoder(store.pretraining(A.id))


def test_a_stale_pretraining_goes_whole(shelf, store, done):
    fresh = shelf.trained(B, provenance=provenance(code={"training on cpu": "new"}))
    size = sum(path.stat().st_size for path in store.directory(A.id).rglob("*") if path.is_file())
    assert sorted(parts(find(store, ["stale", "encoders"], newer("training on cpu")))) == [
        ("encoders", B.id, ("encoder.safetensors",), 7),
        ("stale", A.id, (), size),  # its encoder is not counted twice
    ]
    assert cleaned(store, "stale", code=newer("training on cpu")).freed_bytes == size
    assert store.ids() == [fresh.id]
    assert [path.name for path in store.root.iterdir()] == [fresh.id]


def test_a_stale_evaluation_goes_alone_with_its_hits(shelf, store, done):
    shelf.evaluated(done, KNN20, provenance=provenance(code={"probe knn": "new"}))
    (part,) = find(store, ["stale"], newer("probe knn")).removable
    assert part.files == (f"evaluations/{KNN5.id}.json", f"arrays/hits-{KNN5.id}.json")
    cleaned(store, "stale", code=newer("probe knn"))
    assert stages(store, A, (KNN5, KNN20)) == Stages(False, False, (KNN5,))
    assert not (store.directory(A.id) / "arrays" / f"hits-{KNN5.id}.json").exists()
    assert (store.directory(A.id) / "arrays" / f"hits-{KNN20.id}.json").exists()


def test_what_is_not_stale_stays(store, done):
    assert cleaned(store, "stale").freed_bytes == 0
    assert cleaned(store, "stale", code=newer("training on cuda", "method byol")).freed_bytes == 0
    assert stages(store, A, (KNN5, KNN20)).nothing


def test_a_method_that_is_not_here_is_no_reason_to_remove_its_results(shelf, store):
    """It comes from a file that a suite names, and no suite was given."""
    shelf.trained(A, provenance=provenance(code={"method mine": "m", "training on cpu": "t"}))
    found = find(store, ["stale"], CODE)
    assert (found.removable, found.unknown) == ([], {A.id: "method mine is not here any more"})
    assert find(store, ["encoders"], CODE).unknown == {}
    assert cleaned(store, "stale", code=newer("training on cpu")).freed_bytes > 0


def test_only_the_given_pretrainings_are_looked_at(shelf, store, done):
    shelf.trained(B)
    cleaned(store, "encoders", ids=[B.id, "f" * 20])
    assert store.has_encoder(store.pretraining(A.id))
    assert not store.has_encoder(store.pretraining(B.id))
    assert store.ids() == sorted([A.id, B.id])


def test_results_of_older_versions_go_whole(shelf, store, done, monkeypatch):
    first = store.root / ("0" * 20)
    first.mkdir()
    (first / "result.json").write_text("{}")
    (store.root / ("1" * 20)).mkdir()  # nobody knows what it is
    assert [part.id for part in find(store, ["old versions"], CODE).removable] == ["0" * 20]
    monkeypatch.setattr(identity, "SCHEMA_VERSION", 3)
    new = shelf.trained(pretraining(seed=1))
    found = find(store, ["old versions"], CODE)
    assert [part.id for part in found.removable] == sorted(["0" * 20, A.id])
    cleaned(store, "old versions")
    assert store.ids() == sorted(["1" * 20, new.id])


def test_a_damaged_record_is_of_no_old_version(store, done):
    path = store.directory(A.id) / "pretraining.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"version": 1}))  # without a new checksum
    assert cleaned(store, *KINDS[1:]).freed_bytes == 0
    assert path.exists()


HOLDER = """
import sys, time
from pathlib import Path
from harness.store.store import Store
with Store(Path(sys.argv[1])).lock(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(store, done):
    """The pretraining's directory in the hands of another process."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(store.root), A.id], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    yield
    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_what_a_live_process_holds_is_named_and_stays(shelf, store, held):
    shelf.trained(B)
    found = find(store, KINDS, newer("training on cpu"))
    assert (found.running, {part.id for part in found.removable}) == ([A.id], {B.id})
    remove(store, found, KINDS, newer("training on cpu"))
    assert store.ids() == [A.id]
    assert (store.directory(A.id) / "encoder.safetensors").exists()


def test_what_began_to_run_while_the_user_was_asked_stays(store, done):
    found = find(store, ["encoders"], CODE)
    inside, asked = threading.Event(), threading.Event()

    def work():
        with store.lock(A.id):
            inside.set()
            asked.wait(timeout=30)

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait(timeout=30)
    outcome = remove(store, found, ["encoders"], CODE)
    asked.set()
    worker.join()
    assert (outcome.freed_bytes, outcome.running) == (0, [A.id])
    assert store.has_encoder(done)


def test_what_was_made_anew_while_the_user_was_asked_stays(shelf, store, done):
    code = newer("training on cpu")
    found = find(store, ["stale"], code)
    shelf.trained(A, provenance=provenance(code={"training on cpu": "new"}))
    assert remove(store, found, ["stale"], code).freed_bytes == 0
    assert store.ids() == [A.id]


def test_what_is_gone_meanwhile_is_not_made_again(store, done):
    found = find(store, ["encoders"], CODE)
    with store.lock(A.id):
        store.remove(A.id)
    assert remove(store, found, ["encoders"], CODE).freed_bytes == 0
    assert store.ids() == []


def test_the_next_call_finishes_what_a_killed_one_began_to_remove(store, done, monkeypatch):
    monkeypatch.setattr("shutil.rmtree", lambda path, ignore_errors: None)
    cleaned(store, "stale", code=newer("training on cpu"))
    assert store.ids() == []
    assert len(list(store.root.iterdir())) == 1
    monkeypatch.undo()
    cleaned(store, "stale")
    assert list(store.root.iterdir()) == []


def test_kinds_are_all_that_there_are():
    assert set(KINDS) == {"encoders", "checkpoints", "stale", "old versions"}
