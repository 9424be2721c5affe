"""Results as a commit has them."""

import subprocess

import pytest

from harness.store.commits import CommitError, checkout_results


def _git(root, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, timeout=30)
    return done.stdout.decode().strip()


@pytest.fixture
def committed(shelf):
    """A repository that has a pretraining with an evaluation, and its commit."""
    record = shelf.trained()
    shelf.described(record)
    answer = shelf.evaluated(record)
    top = shelf.store.root.parent
    (shelf.store.root / "notes.md").write_text("not ours")
    old = shelf.store.root / ("0" * 20)
    old.mkdir()
    (old / "result.json").write_text("{}")
    _git(top, "init", "-q")
    _git(top, "add", ".")
    _git(top, "commit", "-qm", "first")
    return record, answer, _git(top, "rev-parse", "HEAD")


def test_all_records_of_a_commit_are_read_as_they_were(shelf, committed, tmp_path_factory):
    record, answer, commit = committed
    before = shelf.store.read_description(record.id).record
    shelf.trained(encoder=b"WEIGHTS")  # the work tree goes on
    store, found = checkout_results("HEAD", shelf.store.root, tmp_path_factory.mktemp("scratch"))
    assert found == commit
    assert store.ids() == ["0" * 20, record.id]
    assert store.pretraining(record.id) == record
    assert store.read_description(record.id).record == before
    assert store.read_evaluation(record.id, answer.id).record == answer
    assert store.read_curve(record.id).record is not None
    assert store.read_arrays(record.id, f"hits-{answer.id}", answer.id).record is not None
    assert store.ids_of_first_version() == ["0" * 20]
    left_out = {path.name for path in store.root.rglob("*")} & {"notes.md", "encoder.safetensors"}
    assert left_out == set()


def test_what_is_no_commit_is_refused(shelf, committed, tmp_path):
    with pytest.raises(CommitError, match="no such commit"):
        checkout_results("nowhere", shelf.store.root, tmp_path / "scratch")
