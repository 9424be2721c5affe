"""A small catalogue without torch, and suites from text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from harness.suite.cell import DatasetSpec
from harness.suite.expand import expand
from harness.suite.nodes import SuiteError
from harness.suite.planned import Expansion
from harness.suite.suite import Suite, load_suite


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    def problem(self, views: int, batch_size: int) -> str | None:
        return None


class Head(Settings):
    hidden: tuple[PositiveInt, ...] = (1024,)
    """Widths."""
    embedding: PositiveInt = 64


class Whitening(Settings):
    kind: Literal["whitening"] = "whitening"
    sub_batch_size: PositiveInt = 128
    slicing_iterations: PositiveInt = 1
    eps: float = 0.0


class Norm(Settings):
    kind: Literal["norm"] = "norm"
    affine: bool = True


Transform = Annotated[Whitening | Norm, Field(discriminator="kind")]


class WhitenSettings(Settings):
    head: Head = Head()
    transform: Transform | None = Whitening()

    def problem(self, views: int, batch_size: int) -> str | None:
        if isinstance(self.transform, Whitening) and batch_size % self.transform.sub_batch_size:
            return f"a batch of {batch_size} cannot be cut into slices of {self.transform.sub_batch_size}"
        return None


class ContrastSettings(Settings):
    head: Head = Head()
    transform: Transform | None = Norm()
    temperature: PositiveFloat = 0.5


class ChaseSettings(Settings):
    head: Head = Head()
    transform: Transform | None = None
    momentum: float = 0.99


class NoSettings(Settings):
    pass


UNTRAINED = frozenset({"views", "augmentation", "optimiser", "schedule", "epochs", "batch_size"})


@dataclass(frozen=True)
class Entry:
    name: str
    settings: type[Settings]
    min_views: int = 2
    unused: frozenset[str] = frozenset()
    summary: str = "A method of these tests."


@dataclass(frozen=True)
class Info:
    name: str
    splits: Mapping[str, int]
    channels: int = 3
    image_size: int = 32
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    eval_resize: int | None = None
    pretrain: tuple[str, ...] = ("train",)


CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry("whiten", WhitenSettings),
        Entry("contrast", ContrastSettings),
        Entry("chase", ChaseSettings),
        Entry("untrained", NoSettings, 1, UNTRAINED),
        Entry("pixels", NoSettings, 1, UNTRAINED | {"backbone"}),
    )
}
DATASETS = {
    info.name: info
    for info in (
        Info("cifar", {"train": 50_000, "test": 10_000}),
        Info("stl", {"train": 5_000, "unlabeled": 100_000, "test": 8_000}, image_size=64, eval_resize=70,
             pretrain=("train", "unlabeled")),
        Info("grey", {"train": 1_000, "test": 100}, channels=1, image_size=8, mean=(0.3,), std=(0.4,)),
        Info("folder", {}),
    )
}  # fmt: skip
Expand = Callable[..., Expansion]
Load = Callable[..., Suite]


@pytest.fixture
def catalogue() -> dict[str, Entry]:
    return CATALOGUE


@pytest.fixture
def datasets() -> dict[str, Info]:
    return DATASETS


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
    """cells(text, preset=None, settings=(), fingerprint=...) -> what the text stands for."""

    def expand_text(
        text: str,
        preset: str | None = None,
        settings: tuple[str, ...] = (),
        fingerprint: Callable[[DatasetSpec], str | None] = lambda spec: "f" * 8,
    ) -> Expansion:
        return expand(load(text, preset, settings), CATALOGUE, DATASETS, fingerprint)

    return expand_text


@pytest.fixture
def errors(cells: Expand) -> Callable[..., list[str]]:
    """The lines of the error that a text gives."""

    def lines(text: str, preset: str | None = None, settings: tuple[str, ...] = ()) -> list[str]:
        with pytest.raises(SuiteError) as caught:
            cells(text, preset, settings)
        return str(caught.value).splitlines()

    return lines
