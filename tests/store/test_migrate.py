"""Results brought forward to a made-up version 3, which has a field more and another one under a new name."""

import itertools
import json
import os
import shutil
import signal

import numpy as np
import pytest

from harness.spec import identity, models
from harness.store import migrate as room
from harness.store.cell_result import read_cell
from harness.store.migrate import Raw, migrate
from harness.store.records import CurvePoint
from harness.store.sealed import checksum
from harness.store.stages import stages
from harness.store.store import ENCODER, HEADS, Store
from tests.store.conftest import FAILURE, monitor, pretraining

SPEC = pretraining()
OLD = SPEC.id


def step(raw: Raw) -> Raw:
    """From version 2 to the made-up 3: evaluations say how many images they scored under another name, and questions
    have another precision by default."""
    for body in raw.evaluations.values():
        body["images"] = body.pop("pictures")
    for body in (*raw.evaluations.values(), *raw.curves.values()):
        spec = body.get("spec") or body.get("monitor")
        if spec is not None:
            spec["precision"] = "bfloat16"
    raw.pretraining["spec"]["settings"]["pieces"] = 3
    return raw


@pytest.fixture
def filled(shelf, make_cell):
    """A cell of version 2 that is done, as version 2 wrote it, with everything there is."""
    cell = make_cell(SPEC, monitors={"near": monitor()})
    record = shelf.trained(SPEC, encoder=b"weights", monitors=(monitor().id,))
    shelf.store.write_heads(OLD, b"heads")
    shelf.store.begin(SPEC)
    shelf.monitored(record, monitor(), CurvePoint(epoch=1, step=10, values={"top1": 50.0}))
    shelf.described(record)
    for asked in cell.evaluations.values():
        shelf.evaluated(record, asked)
    for path in (shelf.store.directory(OLD) / "evaluations").iterdir():
        change(path, lambda body: body.update(pictures=body.pop("images")))
    return cell


def change(path, how):
    body = json.loads(path.read_text())
    del body["sha256"]
    how(body)
    path.write_text(json.dumps({"sha256": checksum(body), **body}))


@pytest.fixture
def third(monkeypatch):
    """The harness of version 3."""

    def begin():
        monkeypatch.setattr(identity, "SCHEMA_VERSION", 3)
        monkeypatch.setattr(room, "MIGRATIONS", {2: step})

    return begin


def forward(make_cell):
    """The same cell in version 3. To be called when that version is in force."""
    spec = pretraining(settings={"sub_batch_size": 64, "pieces": 3})
    cell = make_cell(spec, monitors={"near": monitor(precision="bfloat16")})
    asked = {
        name: models.Evaluation(**{**old.model_dump(), "precision": "bfloat16"})
        for name, old in cell.evaluations.items()
    }
    return cell.model_copy(update={"evaluations": asked})


def left(store, cell):
    return stages(store, cell.pretraining, cell.evaluations.values(), cell.monitors.values(), for_curves=True)


def test_ids_move_numbers_stay_and_nothing_is_left_to_do(store, filled, third, make_cell):
    before = read_cell_of_version_2(store)
    third()
    cell = forward(make_cell)
    assert cell.pretraining.id != OLD
    assert read_cell(store, cell) is None
    done = migrate(store)
    assert (done.moved, done.left, done.of_first_version) == ({OLD: cell.pretraining.id}, {}, 0)
    assert store.ids() == [cell.pretraining.id]
    assert left(store, cell).nothing
    found = read_cell(store, cell)
    assert found.status == "done"
    assert found.metrics == {"knn5_top1": 75.0, "linear_top1": 75.0}
    assert found.cost.train_seconds == 10.0
    assert found.description.diagnostics["h_rankme"] == 6.0
    assert found.spectra == {"h": [2.0, 1.0]}
    assert found.sample.labels == (0, 1, 0, 1)
    np.testing.assert_array_equal(found.hits("knn5_top1"), [True, True, False, True])
    assert [point.values for point in found.curves] == [{"loss": 1.5, "near_top1": 50.0}]
    assert found.provenance.model_dump(mode="json") == before["provenance"]
    assert store.read_encoder(found.pretraining) == b"weights"
    assert store.read_heads(found.id) == b"heads"
    assert json.loads((store.directory(found.id) / "spec.json").read_text())["id"] == found.id
    assert {answer.encoder for answer in found.evaluations.values()} == {found.pretraining.encoder.sha256}
    assert migrate(store).moved == {}


def read_cell_of_version_2(store):
    return json.loads((store.directory(OLD) / "pretraining.json").read_text())


def test_a_dry_run_says_the_same_and_writes_nothing(store, filled, third, make_cell):
    third()
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    assert migrate(store, dry_run=True).moved == {OLD: forward(make_cell).pretraining.id}
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_results_of_this_version_are_left_alone(store, filled):
    before = {path: path.read_bytes() for path in store.root.rglob("*.json")}
    assert migrate(store).moved == migrate(store).left == {}
    assert {path: path.read_bytes() for path in store.root.rglob("*.json")} == before


@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_what_did_not_end_well_moves_too(shelf, store, third, status):
    shelf.ended(status, SPEC)
    third()
    (new,) = migrate(store).moved.values()
    assert store.state(new) == status
    assert (store.pretraining(new).failure == FAILURE) is (status == "failed")


@pytest.mark.parametrize(
    "dropped", [ENCODER, HEADS, "description.json", "evaluations", "curves", "arrays", "spec.json"]
)
def test_what_is_not_there_need_not_be(store, filled, third, dropped):
    path = store.directory(OLD) / dropped
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    third()
    done = migrate(store)
    assert (list(done.moved), done.left) == ([OLD], {})


def test_a_monitor_without_its_curve_is_lacking(store, filled, third, make_cell):
    (store.directory(OLD) / "curves" / f"{monitor().id}.json").unlink()
    third()
    migrate(store)
    cell = forward(make_cell)
    assert left(store, cell).lacking_curves == (cell.monitors["near"].id,)


# What is damaged stays


@pytest.mark.parametrize("name", ["pretraining.json", "evaluations", "description.json"])
def test_what_is_damaged_is_left_and_named(store, filled, third, name):
    path = store.directory(OLD) / name
    path = next(iter(sorted(path.iterdir()))) if path.is_dir() else path
    damaged = path.read_text().replace("10.0", "11.0").replace("75.0", "76.0").replace("0.9", "0.8")
    path.write_text(damaged)
    third()
    done = migrate(store)
    place = OLD if name == "pretraining.json" else path.relative_to(store.root).as_posix()
    assert done.left == {place: f"{path.name} is damaged: its content does not fit its checksum"}
    assert path.read_text() == damaged
    assert len(done.moved) == (name != "pretraining.json")
    for new in done.moved.values():
        assert store.state(new) == "done"
        assert len(store.evaluation_ids(new)) == (1 if name == "evaluations" else 2)
    assert migrate(store).left == done.left  # the second time nothing more happens
    assert len(store.ids()) == 1 + len(done.moved)


def test_content_of_another_id_is_left_and_named(store, filled, third):
    folder = store.directory(OLD) / "evaluations"
    first = min(folder.iterdir())
    shutil.copy(first, folder / f"{'0' * 20}.json")
    third()
    done = migrate(store)
    assert done.left == {f"{OLD}/evaluations/{'0' * 20}.json": f"{'0' * 20}.json is another one's: {first.stem}"}


def test_a_step_that_fails_leaves_that_directory_and_moves_the_others(shelf, store, filled, third):
    shelf.trained(pretraining(seed=1, settings={}))
    third()
    room.MIGRATIONS = {2: lambda raw: step(raw) if raw.pretraining["spec"]["settings"] else 1 / 0}
    done = migrate(store)
    assert list(done.moved) == [OLD]
    assert list(done.left.values()) == ["it cannot be brought forward: ZeroDivisionError: division by zero"]


def test_a_step_whose_outcome_does_not_fit_writes_nothing(store, filled, third, monkeypatch):
    third()
    monkeypatch.setattr(room, "MIGRATIONS", {2: lambda raw: raw})  # `pictures` stays
    done = migrate(store)
    assert store.ids() == [OLD]
    assert "EvaluationRecord" in done.left[OLD]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (4, "it is of schema version 4, and this harness reads 3"),
        ("x", "it is of schema version 'x', and this harness reads 3"),
        (1, "it is of schema version 1, and there is no step from version 1"),
    ],
)
def test_a_version_without_a_step_is_left_and_named(store, filled, third, version, said):
    change(store.directory(OLD) / "pretraining.json", lambda body: body.update(version=version))
    third()
    done = migrate(store)
    assert (done.moved, done.left) == ({}, {OLD: said})


def test_versions_are_walked_one_by_one(store, filled, monkeypatch):
    def second(raw):
        assert raw.pretraining["spec"]["settings"]["pieces"] == 3
        raw.pretraining["spec"]["settings"]["pieces"] = 4
        return raw

    monkeypatch.setattr(identity, "SCHEMA_VERSION", 4)
    monkeypatch.setattr(room, "MIGRATIONS", {3: second, 2: step})
    (new,) = migrate(store).moved.values()
    assert store.pretraining(new).spec.settings["pieces"] == 4
    assert store.pretraining(new).version == 4


def test_results_of_version_1_are_counted(store, filled):
    for digit in "01":
        (store.root / (digit * 20)).mkdir()
        (store.root / (digit * 20) / "result.json").write_text("{}")
    assert migrate(store).of_first_version == 2


# Others


def test_a_result_that_is_there_already_is_kept(shelf, store, filled, third, make_cell):
    third()
    cell = forward(make_cell)
    there = shelf.trained(cell.pretraining, encoder=b"another run")
    done = migrate(store)
    assert done.left == {OLD: f"{there.id}, to which it belongs now, has a result of another run"}
    assert store.pretraining(there.id) == there
    assert store.ids() == sorted([OLD, there.id])


def test_what_a_live_process_holds_is_left(store, filled, third):
    third()
    with store.lock(OLD):
        done = migrate(store)
    assert "is being worked on by another process" in done.left[OLD]
    assert store.ids() == [OLD]
    assert list(migrate(store).moved) == [OLD]


def test_a_file_system_without_second_names_gets_a_copy(store, filled, third, monkeypatch):
    def refused(*args):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    third()
    (new,) = migrate(store).moved.values()
    assert store.read_encoder(store.pretraining(new)) == b"weights"


# Kill -9


def _killed_at(root, call):
    """Migrate in a child that is killed before a numbered operation that changes a name on the disk; how it ended."""
    child = os.fork()
    if child == 0:
        count = itertools.count(1)

        def dying(operation):
            def run(*args, **kwargs):
                if next(count) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return operation(*args, **kwargs)

            return run

        for name in ("replace", "link", "unlink", "rmdir", "rename"):
            setattr(os, name, dying(getattr(os, name)))
        migrate(Store(root))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_at_any_point_the_next_call_finishes(store, filled, third, make_cell, tmp_path):
    third()
    cell = forward(make_cell)
    whole = shutil.copytree(store.root, tmp_path / "whole")
    migrate(Store(whole))
    for call in itertools.count(1):
        root = shutil.copytree(store.root, tmp_path / str(call))
        ended = _killed_at(root, call)
        assert ended == (-signal.SIGKILL if ended else 0)
        complete = (root / OLD / "pretraining.json").exists() and (root / OLD / ENCODER).exists()
        assert complete or left(Store(root), cell).nothing, f"killed at {call}, neither directory is complete"
        migrate(Store(root))
        assert left(Store(root), cell).nothing
        assert _content(root) == _content(whole), f"killed at {call}"
        if not ended:
            break
    assert call > 20


def _content(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
