"""Where a result comes from, and whether the code that made it has changed since."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy
import pytest

from harness.store.digests import ROOMS
from harness.store.provenance import Code, collect, git_state, stale_reason, utc_now, versions
from tests.store.conftest import CODE, provenance


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
    parts = CODE.of_training("w_mse", "cpu")
    provenance = collect(CODE, parts, device="cpu", threads=2, started=started, resumed=1)
    assert provenance.code == {"method w_mse": "m", "training on cpu": "t"}
    assert (provenance.commit, provenance.dirty) == ("c", False)
    assert (provenance.device, provenance.threads, provenance.resumed) == ("cpu", 2, 1)
    ended = datetime.fromisoformat(provenance.finished)
    assert ended.tzinfo == UTC
    assert timedelta(0) <= ended - datetime.fromisoformat(started) < timedelta(minutes=1)


SHARED = Code({**CODE.digests, "training on cuda": "g", "distribution extra": "1"}, None, None)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (SHARED.of_training("w_mse", "cpu"), {"method w_mse": "m", "training on cpu": "t"}),
        (SHARED.of_training("w_mse", "cuda: NVIDIA H100 80GB HBM3"), {"method w_mse": "m", "training on cuda": "g"}),
        (SHARED.of_description("w_mse"), {"method w_mse": "m", "description": "x"}),
        (SHARED.of_evaluation("knn"), {"probe knn": "k", "evaluation": "e"}),
        (SHARED.of_training("gone", "cpu"), {"method gone": "missing", "training on cpu": "t"}),
    ],
)
def test_a_result_rests_on_its_parts_and_on_every_registered_distribution(parts, expected):
    assert parts == expected | {"distribution extra": "1"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ({"method w_mse": "m", "training on cpu": "t"}, None),
        ({"method w_mse": "old", "training on cpu": "t"}, "the code of method w_mse has changed since"),
        ({"method w_mse": "m", "training on cpu": "old"}, "the code of training on cpu has changed since"),
        (
            {"method w_mse": "old", "training on cpu": "old"},
            "the code of method w_mse has changed since; the code of training on cpu has changed since",
        ),
        ({"method mine": "m"}, "method mine is not here any more"),
        ({"method w_mse": "m", "distribution extra": "1"}, "distribution extra is not here any more"),
        ({"training on mps": "missing"}, None),
    ],
)
def test_stale_says_what_changed(shelf, code, reason):
    assert stale_reason(shelf.trained(provenance=provenance(code=code)), CODE) == reason


def test_a_distribution_that_came_later_ages_nothing(shelf):
    assert stale_reason(shelf.trained(), SHARED) is None


class Distribution:
    def __init__(self, name, version, record):
        self.name, self.version, self.record = name, version, record

    def read_text(self, name):
        return self.record if name == "RECORD" else None


def test_a_registered_distributions_change_ages_everything_that_ran_with_it(shelf, monkeypatch):
    """By its version, or by any of its files."""
    installed = [Distribution("extra", "1.0", "a.py,sha256=1,10")]

    def entry_points(group):
        return [SimpleNamespace(dist=dist) for dist in installed if group == "ssl_harness.probes"]

    monkeypatch.setattr("harness.store.digests.metadata.entry_points", entry_points)
    monkeypatch.setattr("harness.store.provenance.extension_sources", lambda files: {})

    def read():
        return Code({**CODE.digests, **Code.read().digests}, None, None)

    before = read()
    ran = shelf.trained(provenance=provenance(code=before.of_training("w_mse", "cpu")))
    asked = shelf.evaluated(ran, provenance=provenance(code=before.of_evaluation("knn")))
    assert stale_reason(ran, read()) is None
    for change in (Distribution("extra", "1.1", "a.py,sha256=1,10"), Distribution("extra", "1.0", "a.py,sha256=2,10")):
        installed[:] = [change]
        assert stale_reason(ran, read()) == "the code of distribution extra has changed since"
        assert stale_reason(asked, read()) == "the code of distribution extra has changed since"
    installed.clear()
    assert stale_reason(ran, read()) == "distribution extra is not here any more"


def test_reading_the_code_of_this_checkout():
    code = Code.read()
    assert all(len(digest) == 64 for digest in code.digests.values())
    assert {"method w_mse", "probe knn", "probe linear", *ROOMS} <= set(code.digests)
