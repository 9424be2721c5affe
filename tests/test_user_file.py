"""How a user's own file becomes a module, which neighbours it may import, and what it is told when it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.registry import METHOD, ExtensionError, all_methods, find
from methods.method import Batch, Step

OWN = """
from typing import Literal

from methods.composed import Composed
from methods.composition import Composition
from methods.entry import MethodEntry


class OwnSettings(Composition):
    mood: Literal["plain", "odd"] = "plain"


METHOD = MethodEntry(name="own", summary="mine", source="me", settings=OwnSettings, build=Composed)
"""
WITH_HELPER = "from helper import MOOD\n" + OWN.replace('= "plain"', "= MOOD")
BY_NAME = OWN.replace("build=Composed", 'build="own_parts:Own"').replace("from methods.composed import Composed\n", "")
PARTS = "from methods.composed import Composed as Own"


@pytest.fixture(autouse=True)
def _own_modules_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What a test makes Python know is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def folder_with(folder: Path, **texts: str) -> Path:
    """A folder with one Python file a name."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_users_file_becomes_a_method(tmp_path: Path):
    file = tmp_path / "own.py"
    file.write_text(f"from __future__ import annotations\n{OWN}")
    entry = all_methods([file])["own"]
    assert entry.settings.model_validate({"mood": "odd"}).model_dump()["mood"] == "odd"
    method = entry.builder()(entry.settings(), nn.Flatten(), 12, 10)
    batch = Batch((torch.randn(2, 8, 3, 2, 2),), torch.zeros(8), torch.arange(8))
    assert method.loss(batch, Step(0, 1, 0, 1, torch.Generator())).total.isfinite()
    assert "own" not in all_methods()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1",
            "own.py: defines no METHOD, PROBE, DATASET, BACKBONE, LOGGER; a file of extensions ends with METHOD =",
        ),
        ("METHOD = 'own'", "own.py: METHOD holds a str, not a MethodEntry; write METHOD = MethodEntry(name=..., ...)"),
        ("import not_a_module", "own.py: cannot be imported: ModuleNotFoundError: No module named 'not_a_module'"),
        ("def f(:", "own.py: cannot be imported: SyntaxError"),
        (OWN.replace('"own"', '"byol"'), "own.py: the method name 'byol' is already taken by the package; give METHOD"),
    ],
)
def test_a_users_file_that_cannot_be_used(tmp_path: Path, text: str, message: str):
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(ExtensionError) as caught:
        all_methods([file])
    assert message in str(caught.value)


def test_two_users_files_of_one_name(tmp_path: Path):
    files = [folder_with(tmp_path / name, own=OWN) / "own.py" for name in ("a", "b")]
    with pytest.raises(ExtensionError, match=r"b/own.py: the method name 'own' is already taken by .*a/own.py"):
        all_methods(files)


def test_a_missing_file_and_one_that_is_no_python(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ExtensionError, match=r"gone\.py: no such file"):
        all_methods([tmp_path / "gone.py"])
    with pytest.raises(ExtensionError, match=r"notes\.txt: not a Python file"):
        all_methods([tmp_path / "notes.txt"])


def test_a_file_is_imported_once_until_it_is_edited(tmp_path: Path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    first = all_methods([file])["own"]
    assert find(METHOD, [file])["own"].entry is first
    file.write_text(OWN.replace('summary="mine"', 'summary="edited"'))
    assert all_methods([file])["own"].summary == "edited"


# Neighbours


def test_a_users_file_imports_its_neighbours(tmp_path: Path):
    texts = {"own": WITH_HELPER, "helper": "from deeper import MOOD", "deeper": "MOOD = 'odd'"}
    file = folder_with(tmp_path / "a", **texts) / "own.py"
    for _ in range(2):  # the second time they are there already
        assert all_methods([file])["own"].settings().model_dump()["mood"] == "odd"


def test_a_neighbour_may_be_a_package(tmp_path: Path):
    folder = folder_with(tmp_path / "a", own=OWN.replace("methods.composed", "parts.whole"))
    folder_with(folder / "parts", __init__="", whole="from methods.composed import Composed")
    assert all_methods([folder / "own.py"])["own"].builder() is sys.modules["parts.whole"].Composed
    other = folder_with(tmp_path / "b", own=OWN.replace("methods.composed", "parts.whole"))
    folder_with(other / "parts", __init__="", whole="")
    with pytest.raises(ExtensionError, match=r"beside .*b/parts/.*, but in this process .* is .*a/parts/"):
        all_methods([other / "own.py"])


def test_two_files_share_a_neighbour(tmp_path: Path):
    other = WITH_HELPER.replace('"own"', '"own_2"')
    folder = folder_with(tmp_path / "a", own=WITH_HELPER, other=other, helper="MOOD = 'odd'")
    assert {"own", "own_2"} <= set(all_methods([folder / "own.py", folder / "other.py"]))


def test_neighbours_of_one_name_in_two_folders(tmp_path: Path):
    first = folder_with(tmp_path / "a", own=WITH_HELPER, helper="MOOD = 'odd'")
    second = folder_with(tmp_path / "b", own=WITH_HELPER, helper="MOOD = 'plain'")
    all_methods([first / "own.py"])
    with pytest.raises(ExtensionError) as caught:
        all_methods([second / "own.py"])
    assert str(caught.value) == (
        f"{second}/own.py: imports 'helper' and lies beside {second}/helper.py, but in this process 'helper' is "
        f"{first}/helper.py; rename the module beside your file"
    )


def test_neighbours_of_neighbours_of_one_name(tmp_path: Path):
    first = folder_with(tmp_path / "a", own=WITH_HELPER, helper="MOOD = 'odd'")
    text = OWN.replace("methods.composed", "parts")
    parts = "from methods.composed import Composed\n\ndef later():\n    import helper"
    second = folder_with(tmp_path / "b", own=text, parts=parts, helper="")
    all_methods([first / "own.py"])
    with pytest.raises(ExtensionError, match=r"b/own.py: imports 'helper' and .*b/helper.py.* is .*a/helper.py"):
        all_methods([second / "own.py"])


def test_a_build_by_name_may_be_a_neighbour(tmp_path: Path):
    first = folder_with(tmp_path / "a", own=BY_NAME, own_parts=PARTS)
    entry = all_methods([first / "own.py"])["own"]
    assert "own_parts" not in sys.modules
    second = folder_with(tmp_path / "b", own=BY_NAME, own_parts=PARTS)
    with pytest.raises(ExtensionError, match=r"imports 'own_parts'.*b/own_parts.py.* is .*a/own_parts.py"):
        all_methods([second / "own.py"])
    assert entry.builder() is sys.modules["own_parts"].Own


@pytest.mark.parametrize("name", ["string", "pydantic", "time"])
def test_a_neighbour_named_like_a_library(tmp_path: Path, name: str):
    """The library keeps its name, for everyone; the file is told, and not given the library in silence."""
    folder = folder_with(tmp_path / "a", own=f"import {name}\n{OWN}", **{name: ""})
    with pytest.raises(
        ExtensionError, match=rf"imports '{name}' and lies beside .*a/{name}\.py, but .* is .*; rename the"
    ):
        all_methods([folder / "own.py"])


def test_files_that_are_not_imported_do_not_matter(tmp_path: Path):
    for name in ("a", "b"):
        text = OWN.replace('"own"', f'"own_{name}"')
        folder_with(tmp_path / name, own=text, helper="1 / 0", string="", torch="1 / 0", methods="1 / 0")
    assert {"own_a", "own_b"} <= set(all_methods([tmp_path / "a" / "own.py", tmp_path / "b" / "own.py"]))
