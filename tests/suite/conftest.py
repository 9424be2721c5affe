"""Suites from text, over the catalogue of `fakes`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.suite.expand import expand
from harness.suite.facts import Facts
from harness.suite.nodes import SuiteError
from harness.suite.planned import Expansion
from harness.suite.suite import Suite, load_suite
from tests.suite.fakes import CATALOGUE, FakeFacts

Expand = Callable[..., Expansion]
Load = Callable[..., Suite]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """load(text, preset=None, settings=()) of the file `s.yaml` in the current directory."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, preset: str | None = None, settings: tuple[str, ...] = ()) -> Suite:
        Path("s.yaml").write_text(text)
        return load_suite("s.yaml", preset, settings)

    return load_text


@pytest.fixture
def cells(load: Load) -> Expand:
    """cells(text, preset=None, settings=(), facts=None) -> what the text stands for."""

    def expand_text(
        text: str, preset: str | None = None, settings: tuple[str, ...] = (), facts: Facts | None = None
    ) -> Expansion:
        return expand(load(text, preset, settings), CATALOGUE, facts or FakeFacts())

    return expand_text


@pytest.fixture
def errors(cells: Expand) -> Callable[..., list[str]]:
    """The lines of the error that a text gives."""

    def lines(text: str, preset: str | None = None, settings: tuple[str, ...] = ()) -> list[str]:
        with pytest.raises(SuiteError) as caught:
            cells(text, preset, settings)
        return str(caught.value).splitlines()

    return lines
