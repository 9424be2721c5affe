"""What a suite knows of a method, and how its module is found when it is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from methods.composed import Composed
from methods.entry import Build, MethodEntry, MethodFileError, Settings


def entry(build: str | Build | None) -> MethodEntry:
    return MethodEntry(name="own", summary="mine", source="me", settings=Settings, build=build)


def test_a_method_is_built_by_name_or_by_the_class_itself():
    assert entry("methods.composed:Composed").builder() is Composed
    assert entry(Composed).builder() is Composed
    assert entry(Composed).trains
    assert not entry(None).trains


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("methods.composed", "says build='methods.composed'; write it as 'module:Class', or give the class itself"),
        ("methods.composed:", "write it as 'module:Class'"),
        (":Composed", "write it as 'module:Class'"),
        ("methods.gone:Gone", "but methods.gone cannot be imported: No module named 'methods.gone'"),
        ("methods.composed:Gone", "but methods.composed has no 'Gone'; name a subclass of Method in it"),
        ("methods.w_mse:METHOD", "but methods.w_mse cannot call its 'METHOD'; name a subclass of Method in it"),
    ],
)
def test_a_build_that_leads_nowhere(build: str, message: str):
    with pytest.raises(MethodFileError, match=f"the method 'own' .*{re.escape(message)}"):
        entry(build).builder()


def test_a_module_whose_own_import_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "half_a_method.py").write_text("import not_a_module")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MethodFileError, match="half_a_method cannot be imported: No module named 'not_a_module'"):
        entry("half_a_method:Own").builder()


@pytest.mark.parametrize("wrong", [{"another": 1}, {"size": float("nan")}, {"size": "large"}])
def test_settings_refuse_what_they_do_not_know(wrong: dict[str, Any]):
    class Sized(Settings):
        size: float = 1.0
        """How large."""

    with pytest.raises(ValueError, match="1 validation error for Sized"):
        Sized(**wrong)
    assert Sized.model_fields["size"].description == "How large."
    with pytest.raises(ValueError, match="frozen"):
        Sized().size = 2.0
