"""The suites of past failures, in today's keys: each stands for its cells, and says why a cell cannot run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.datasets import DATASETS
from harness.registry import all_methods, all_probes
from harness.store.store import Store
from harness.suite.expand import expand
from harness.suite.facts import Catalogue
from harness.suite.local_facts import LocalFacts
from harness.suite.nodes import SuiteError
from harness.suite.planned import Expansion
from harness.suite.suite import load_suite
from tests.cases.folder import write_class_folder
from tests.suite.fakes import FakeFacts

HERE = Path(__file__).parent
CATALOGUE = Catalogue(all_methods(), all_probes(), DATASETS)
TRAINED = [name for name, entry in CATALOGUE.methods.items() if entry.trains]


def planned(name: str, *settings: str, facts: FakeFacts | LocalFacts | None = None) -> Expansion:
    return expand(load_suite(HERE / f"{name}.yaml", None, settings), CATALOGUE, facts or FakeFacts(DATASETS))


def reasons(found: Expansion) -> dict[str, str]:
    return {here.label: here.reason for here in found.skipped}


def test_the_edge_suite_has_every_method_that_needs_no_file() -> None:
    found = planned("edge")
    assert {here.label for here in found.planned} == {*CATALOGUE.methods} - {"given_weights"}
    assert found.skipped == ()
    assert {here.cell.evaluations["linear"].settings["epochs"] for here in found.planned} == {3}


def test_the_folder_suite_has_three_rows() -> None:
    found = planned("folder", facts=FakeFacts(DATASETS, absent=["image_folder"]))
    assert [here.label for here in found.planned] == ["w_mse", "vicreg", "pixels"]
    assert {here.missing_data for here in found.planned} == {
        "image_folder is not on this machine: `harness data prepare image_folder`"
    }


def test_more_neighbours_than_images_are_refused() -> None:  # case 14
    found = planned("edge", "k=200")
    assert found.planned == ()
    assert set(reasons(found).values()) == {"knn200 needs at least 200 training images, and there are 96"}


def test_a_batch_larger_than_the_images_is_refused() -> None:  # case 14
    counts = {"image_folder train": 10, "image_folder test": 4}
    found = planned("folder", facts=FakeFacts(DATASETS, counts=counts))
    assert reasons(found) == dict.fromkeys(
        ["w_mse", "vicreg"], "a batch of 16 images is larger than the 10 that image_folder is trained on"
    )


@pytest.mark.parametrize("name", ["resnet81", "vit_tiny_patch16_224"])
def test_a_backbone_that_cannot_be_built_is_refused_by_the_plan(name: str, tmp_path: Path) -> None:  # cases 4 and 30
    facts = LocalFacts(tmp_path, Store(tmp_path / "cells"), try_backbones=True)
    found = planned("edge", f"backbone.name={name}", facts=facts)
    assert [here.label for here in found.planned] == ["pixels"]
    assert sorted(reasons(found)) == sorted([*TRAINED, "untrained"])
    (reason,) = set(reasons(found).values())  # one reason for all
    assert reason.startswith("backbone")
    assert name in reason


def test_a_claim_on_a_metric_that_there_is_not_is_refused(tmp_path: Path) -> None:  # case 31
    suite = tmp_path / "s.yaml"
    suite.write_text(f"include: {HERE / 'edge.yaml'}\nclaims:\n  - w_mse > vicreg on knn20_top1\n")
    with pytest.raises(SuiteError) as caught:
        expand(load_suite(suite), CATALOGUE, FakeFacts(DATASETS))
    assert str(caught.value) == (
        f"{suite}:3: claims[0]: no evaluation of this suite gives `knn20_top1`; did you mean `knn5_top1`?"
    )


def test_a_suite_of_controls_may_have_settings_of_methods(tmp_path: Path) -> None:  # case 32
    suite = tmp_path / "s.yaml"
    suite.write_text(f"include: {HERE / 'edge.yaml'}\nmethods: [untrained, pixels]\n")
    found = expand(load_suite(suite), CATALOGUE, FakeFacts(DATASETS))
    assert [here.label for here in found.planned] == ["untrained", "pixels"]


def test_the_class_folder_is_the_same_every_time(tmp_path: Path) -> None:
    write_class_folder(tmp_path / "a")
    command = [sys.executable, str(HERE / "folder.py"), str(tmp_path / "b"), "2", "3", "1"]
    subprocess.run(command, check=True)
    found = {
        kind: sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a" / kind).rglob("*.png"))
        for kind in ("train", "test")
    }
    assert [len(files) for files in found.values()] == [5 * 12, 5 * 4]
    assert len(list((tmp_path / "b").rglob("*.png"))) == 2 * (3 + 1)
    write_class_folder(tmp_path / "c")
    for files in found.values():
        for file in files:
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "c" / file).read_bytes()
    with Image.open(tmp_path / "a" / "train" / "c0" / "im000.png") as image:
        assert (image.size, np.asarray(image).shape) == ((40, 30), (30, 40, 3))
