"""Which methods there are, and how a user's own file becomes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from methods import MethodFileError, catalogue
from methods.supervised import Supervised, SupervisedSettings

OWN = """
from __future__ import annotations

from typing import Literal

from methods.composed import Composed
from methods.composition import Composition
from methods.method import MethodEntry


class OwnSettings(Composition):
    mood: Literal["plain", "odd"] = "plain"


METHOD = MethodEntry(name="own", summary="mine", source="me", settings=OwnSettings, build=Composed)
"""


def test_every_method_of_the_mission_is_found_under_its_file_name():
    entries = catalogue()
    assert set(entries) == {
        "w_mse",
        "contrastive",
        "byol",
        "simsiam",
        "whitened_contrastive",
        "vicreg",
        "barlow_twins",
        "plain_mse",
        "untrained",
        "pixels",
        "supervised",
    }
    assert all(entry.name == name for name, entry in entries.items())
    controls = {name for name, entry in entries.items() if entry.kind == "control"}
    assert controls == {"plain_mse", "untrained", "pixels", "supervised"}


def test_controls_leave_out_what_they_do_not_use():
    entries = catalogue()
    idle = {"views", "augmentation", "optimiser", "schedule", "epochs", "batch_size"}
    assert (entries["untrained"].unused, entries["untrained"].build) == (idle, None)
    assert entries["pixels"].unused == idle | {"backbone"}
    assert entries["pixels"].represents == "pixels"
    assert {name for name, entry in entries.items() if entry.min_views == 1} == {"untrained", "pixels", "supervised"}


def test_importing_the_package_imports_no_torch():
    code = "import methods, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_users_file_becomes_a_method(tmp_path: Path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    entry = catalogue([file])["own"]
    assert entry.settings(mood="odd").mood == "odd"
    method = entry.build(entry.settings(), nn.Flatten(), 12, 10)
    assert method.loss(torch.randn(2, 8, 3, 2, 2), torch.zeros(8), torch.Generator()).isfinite()
    assert "own" not in catalogue()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "own.py: defines no METHOD; a method file ends with METHOD = MethodEntry"),
        ("METHOD = 'own'", "own.py: defines METHOD as a str; a method file"),
        ("import not_a_module", "own.py: cannot be imported: ModuleNotFoundError: No module named 'not_a_module'"),
        ("def f(:", "own.py: cannot be imported: SyntaxError"),
        (OWN.replace('"own"', '"byol"'), "own.py: the method name 'byol' is already taken by the package; give METHOD"),
    ],
)
def test_a_users_file_that_cannot_be_used(tmp_path: Path, text: str, message: str):
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(MethodFileError) as caught:
        catalogue([file])
    assert message in str(caught.value)


def test_two_users_files_of_one_name(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text(OWN)
    with pytest.raises(MethodFileError, match=r"b/own.py: the method name 'own' is already taken by .*a/own.py"):
        catalogue([tmp_path / "a" / "own.py", tmp_path / "b" / "own.py"])


def test_a_missing_file_and_one_that_is_no_python(tmp_path: Path):
    with pytest.raises(MethodFileError, match=r"gone\.py: no such file"):
        catalogue([tmp_path / "gone.py"])
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(MethodFileError, match=r"notes\.txt: not a Python file"):
        catalogue([tmp_path / "notes.txt"])


def test_supervised_reads_every_view_and_has_no_head():
    torch.manual_seed(0)
    method = Supervised(SupervisedSettings(), nn.Flatten(), 12, 5)
    views = torch.randn(3, 8, 3, 2, 2, requires_grad=True)
    labels = torch.arange(8) % 5
    loss = method.loss(views, labels, torch.Generator())
    loss.backward()
    logits = torch.cat([method.classifier(view.flatten(1)) for view in views])
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels.repeat(3)))
    assert (views.grad.abs().amax((1, 2, 3, 4)) > 0).all()
    assert method.embed(torch.randn(2, 12)) is None
