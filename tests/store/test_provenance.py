"""Where a result comes from, and whether the code that made it has changed since."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy
import pytest

from harness.registry import PROBE, Extension
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


SHARED = Code({**CODE.digests, "training on cuda": "g", "backbone my_net": "1"}, None, None)


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
def test_a_result_rests_on_its_parts(parts, expected):
    assert parts == expected


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
        ({"method w_mse": "m", "backbone my_net": "1"}, "backbone my_net is not here any more"),
        ({"training on mps": "missing"}, None),
    ],
)
def test_stale_says_what_changed(shelf, code, reason):
    assert stale_reason(shelf.trained(provenance=provenance(code=code)), CODE) == reason


def test_an_extension_that_came_later_ages_nothing(shelf):
    assert stale_reason(shelf.trained(), SHARED) is None


def test_an_own_backbone_counts_for_the_results_that_have_it():
    mine, timms = SHARED.with_backbone("my_net"), SHARED.with_backbone("resnet18")
    for of in (lambda code: code.of_training("w_mse", "cpu"), lambda code: code.of_description("w_mse")):
        assert of(mine) == of(SHARED) | {"backbone my_net": "1"}
        assert of(timms) == of(SHARED)
    assert mine.of_evaluation("knn")["backbone my_net"] == "1"


def distribution(version, record):
    return SimpleNamespace(version=version, read_text=lambda name: record if name == "RECORD" else None)


def test_a_registered_distributions_change_ages_what_ran_with_its_extension(shelf, monkeypatch, tmp_path):
    """By its version, or by any of its files."""
    (tmp_path / "extra.py").write_text("PROBE = 1\n")
    installed = {"theirs": Extension(None, tmp_path / "extra.py", "extra", distribution("1.0", "a.py,sha256=1,10"))}
    monkeypatch.setattr("harness.store.provenance.in_use", lambda kind: installed if kind is PROBE else {})

    def read():
        return Code({**CODE.digests, **Code.read().digests}, None, None)

    before = read()
    ran = shelf.trained(provenance=provenance(code=before.of_training("w_mse", "cpu")))
    asked = shelf.evaluated(ran, provenance=provenance(code=before.of_evaluation("theirs")))
    assert stale_reason(asked, read()) is None
    for change in (distribution("1.1", "a.py,sha256=1,10"), distribution("1.0", "a.py,sha256=2,10")):
        installed["theirs"] = replace(installed["theirs"], distribution=change)
        assert stale_reason(ran, read()) is None
        assert stale_reason(asked, read()) == "the code of probe theirs has changed since"
    installed.clear()
    assert stale_reason(asked, read()) == "probe theirs is not here any more"


def test_reading_the_code_of_this_checkout():
    code = Code.read()
    assert all(len(digest) == 64 for digest in code.digests.values())
    assert {"method w_mse", "probe knn", "probe linear", *ROOMS} <= set(code.digests)
