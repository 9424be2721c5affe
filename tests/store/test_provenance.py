import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy
import pytest

from harness.store.provenance import Code, collect, git_state, is_stale, utc_now, versions

CODE = Code(shared="s", methods={"w_mse": "m"}, commit="c", dirty=False)


def _git(root, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "a.py").write_text("x = 1\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table.md").write_text("1\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_commit_and_whether_the_code_differs_from_it(checkout):
    commit, dirty = git_state(checkout)
    assert len(commit) == 40
    assert dirty is False
    (checkout / "results" / "table.md").write_text("2\n")
    (checkout / "harness" / "new.py").write_text("not tracked\n")
    assert git_state(checkout) == (commit, False)
    (checkout / "harness" / "a.py").write_text("x = 2\n")
    assert git_state(checkout) == (commit, True)


def test_no_commit_outside_a_checkout_or_in_somebody_elses(checkout, tmp_path_factory):
    assert git_state(tmp_path_factory.mktemp("plain")) == (None, None)
    installed = checkout / "site-packages"
    (installed / "harness").mkdir(parents=True)
    (installed / "harness" / "a.py").write_text("x = 1\n")
    assert git_state(installed) == (None, None)


def test_no_commit_where_git_is_missing(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) == (None, None)


def test_versions_without_importing_torch():
    found = versions()
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert found["numpy"] == numpy.__version__
    assert list(found) == ["python", "torch", "torchvision", "timm", "numpy", "scikit-learn"]
    program = (
        "import sys, harness.store.provenance as p, harness.store.store; p.versions(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"


def test_collect_states_what_it_was_given_and_when_it_ended():
    started = utc_now()
    provenance = collect(CODE, "w_mse", device="cpu", threads=2, started=started, resumed=1)
    assert (provenance.method_digest, provenance.shared_digest, provenance.commit) == ("m", "s", "c")
    assert (provenance.device, provenance.threads, provenance.resumed) == ("cpu", 2, 1)
    ended = datetime.fromisoformat(provenance.finished)
    assert ended.tzinfo == UTC
    assert timedelta(0) <= ended - datetime.fromisoformat(started) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("method", "shared", "reason"),
    [
        ("m", "s", None),
        ("old", "s", "the code of the method w_mse has changed since"),
        ("m", "old", "the code shared by all methods has changed since"),
        (
            "old",
            "old",
            "the code of the method w_mse has changed since; the code shared by all methods has changed since",
        ),
    ],
)
def test_stale_says_what_changed(make_result, make_provenance, method, shared, reason):
    result = make_result(provenance=make_provenance(method_digest=method, shared_digest=shared))
    assert is_stale(result, CODE) == reason


def test_a_method_that_is_gone_is_stale(make_result, make_cell, make_provenance):
    result = make_result(make_cell(method="old"), provenance=make_provenance(method_digest="m", shared_digest="s"))
    assert is_stale(result, CODE) == "the file of the method old is gone"


def test_reading_the_code_of_this_checkout():
    code = Code.read()
    assert len(code.shared) == 64
    assert all(len(digest) == 64 for digest in code.methods.values())
