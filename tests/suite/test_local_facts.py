"""Where the content of a name is looked up, and what is remembered of backbones."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import harness.backbones
from harness.data.datasets import DATASETS
from harness.data.facts import SplitFacts
from harness.data.packed import PackedWriter, building
from harness.spec.models import Backbone, Evaluation, Input, Pretraining, Source, Transform
from harness.store.records import EvaluationRecord, PretrainingRecord, Provenance
from harness.store.store import Store
from harness.suite.facts import WeightsMissing
from harness.suite.local_facts import VERDICTS, LocalFacts
from tests.suite.fakes import sha

FED = Input(size=8, channels=1, mean=(0.3,), std=(0.4,))
SMALL = Backbone(name="resnet18", stem="small", width=4)
PROVENANCE = Provenance(
    code={},
    commit=None,
    dirty=None,
    versions={},
    device="cpu",
    threads=1,
    host="h",
    platform="p",
    started="",
    finished="",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cells")


def source(name: str, split: str, content: str | None, labels: str | None = None) -> Source:
    return Source(
        name=name,
        splits=(split,),
        images=(sha(content),) if content else None,
        labels=(sha(labels),) if labels else None,
    )


def record(store: Store, trained: Source, *asked: tuple[Source, Source]) -> Pretraining:
    """A finished pretraining on a source, with an evaluation of each pair of sources."""
    spec = Pretraining(
        method="w_mse", settings={}, input=FED, source=trained, backbone=None, training=None, seed=len(store.ids())
    )
    store.save_pretraining(PretrainingRecord(id=spec.id, spec=spec, status="done", provenance=PROVENANCE))
    for train, scored in asked:
        question = Evaluation(
            pretraining=spec.id,
            probe="knn",
            settings={"k": 5},
            train=train,
            scored=scored,
            split="test",
            transform=Transform(),
            precision="float32",
            seed=None,
        )
        store.save_evaluation(
            EvaluationRecord(id=question.id, spec=question, encoder=None, status="done", provenance=PROVENANCE)
        )
    return spec


def pack(name: str, data_dir: Path) -> None:
    """A copy of a dataset of three images, as if it had been prepared."""
    with building(name, data_dir) as directory:
        writer = PackedWriter(directory, name, (3, 1, 1, 1), ("cat", "dog"))
        writer.add("train", np.zeros((2, 1, 1, 1), np.uint8), np.array([0, 1]))
        writer.add("test", np.ones((1, 1, 1, 1), np.uint8), np.array([1]))
        writer.close()


def test_what_is_here_is_asked_first_then_the_catalogue(tmp_path: Path, store: Store) -> None:
    record(store, source("fashion_mnist", "train", "of another copy"))
    published = LocalFacts(tmp_path, store).dataset("fashion_mnist")
    assert not published.here
    images, labels = DATASETS["fashion_mnist"].fingerprints["train"]
    assert published.splits["train"] == SplitFacts(60_000, images, labels)
    pack("fashion_mnist", tmp_path)
    here = LocalFacts(tmp_path, store).dataset("fashion_mnist")
    assert (here.here, here.classes, here.splits["train"].count) == (True, 2, 2)
    assert here.splits["train"].images not in (images, sha("of another copy"), None)


def test_what_nobody_published_is_known_from_what_was_run(tmp_path: Path, store: Store) -> None:
    nothing = SplitFacts(50_000, None, None)
    assert LocalFacts(tmp_path, store).dataset("cifar10").splits["train"] == nothing
    train, test = source("cifar10", "train", "pixels", "names"), source("cifar10", "test", "others", "other names")
    record(store, source("cifar10", "train", "pixels"))
    assert LocalFacts(tmp_path, store).dataset("cifar10").splits["train"] == SplitFacts(50_000, sha("pixels"), None)
    record(store, source("cifar10", "train", "pixels"), (train, test))
    facts = LocalFacts(tmp_path, store).dataset("cifar10")
    assert not facts.here
    assert facts.splits["train"] == SplitFacts(50_000, sha("pixels"), sha("names"))
    assert facts.splits["test"] == SplitFacts(10_000, sha("others"), sha("other names"))
    assert LocalFacts(tmp_path, store).dataset("cifar100").splits["train"] == nothing


def test_of_two_contents_under_one_name_neither_is_believed(tmp_path: Path, store: Store) -> None:
    test = source("cifar10", "test", "others", "names")
    record(store, source("cifar10", "train", "pixels"), (source("cifar10", "train", "pixels", "names"), test))
    record(store, source("cifar10", "train", "other pixels"))
    splits = LocalFacts(tmp_path, store).dataset("cifar10").splits
    assert splits["train"] == SplitFacts(50_000, None, sha("names"))
    assert splits["test"].images == sha("others")


def test_what_was_run_on_a_mere_name_says_nothing(tmp_path: Path, store: Store) -> None:
    record(store, source("cifar10", "train", None))
    assert LocalFacts(tmp_path, store).dataset("cifar10").splits["train"] == SplitFacts(50_000, None, None)


def test_every_split_of_a_source_is_told_apart(tmp_path: Path, store: Store) -> None:
    both = Source(name="stl10", splits=("train", "unlabeled"), images=(sha("a"), sha("b")))
    record(store, both)
    splits = LocalFacts(tmp_path, store).dataset("stl10").splits
    assert [splits[name].images for name in ("train", "unlabeled", "test")] == [sha("a"), sha("b"), None]


def test_weights_are_named_by_their_content(tmp_path: Path, store: Store) -> None:
    for name, content in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(content)
    facts = LocalFacts(tmp_path, store)
    one, other, third = (facts.weights(str(tmp_path / name)) for name in ("a.pt", "b.pt", "c.pt"))
    assert one == other == hashlib.sha256(b"one").hexdigest()
    assert third == hashlib.sha256(b"two").hexdigest()
    assert facts.weight_files[third] == tmp_path / "c.pt"
    assert facts.weight_files[one].read_bytes() == b"one"


def test_weights_that_cannot_be_read_say_so(tmp_path: Path, store: Store) -> None:
    facts = LocalFacts(tmp_path, store)
    with pytest.raises(WeightsMissing) as caught:
        facts.weights(f"{tmp_path}/none.pt")
    assert str(caught.value) == f"backbone.weights: {tmp_path}/none.pt cannot be read: No such file or directory"
    with pytest.raises(WeightsMissing, match="cannot be read: Is a directory"):
        facts.weights(str(tmp_path))


class Tries:
    """Stands for `try_backbone`, and counts."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, backbone: Backbone, fed: Input) -> str | None:
        assert backbone.weights is None
        self.asked.append((backbone.name, fed.size))
        return None if backbone.name == "resnet18" else f"no {backbone.name} at {fed.size}"


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Tries:
    stand_in = Tries()
    monkeypatch.setattr(harness.backbones, "try_backbone", stand_in)
    return stand_in


def test_a_backbone_is_tried_once_and_remembered(
    tmp_path: Path, store: Store, tries: Tries, monkeypatch: pytest.MonkeyPatch
) -> None:
    vit = Backbone(name="vit", weights="a" * 64)
    larger = FED.model_copy(update={"size": 28})
    facts = LocalFacts(tmp_path, store, try_backbones=True)
    for _ in range(2):
        assert facts.backbone_problem(SMALL, FED) is None
        assert facts.backbone_problem(vit, FED) == "no vit at 8"
    assert facts.backbone_problem(vit, larger) == "no vit at 28"
    assert facts.backbone_problem(vit.model_copy(update={"weights": "b" * 64}), larger) == "no vit at 28"
    assert tries.asked == [("resnet18", 8), ("vit", 8), ("vit", 28)]

    again = LocalFacts(tmp_path, store, try_backbones=True)
    assert (again.backbone_problem(SMALL, FED), again.backbone_problem(vit, FED)) == (None, "no vit at 8")
    normalised = FED.model_copy(update={"mean": (0.9,)})  # of no interest to an encoder
    assert again.backbone_problem(vit, normalised) == "no vit at 8"
    assert len(tries.asked) == 3

    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "9.9.9" if name == "timm" else version(name))
    another_release = LocalFacts(tmp_path, store, try_backbones=True)
    assert another_release.backbone_problem(vit, FED) == "no vit at 8"
    assert len(tries.asked) == 4


def test_without_trying_only_what_is_remembered_is_said(tmp_path: Path, store: Store, tries: Tries) -> None:
    vit = Backbone(name="vit")
    assert LocalFacts(tmp_path, store).backbone_problem(vit, FED) is None
    assert tries.asked == []
    LocalFacts(tmp_path, store, try_backbones=True).backbone_problem(vit, FED)
    assert LocalFacts(tmp_path, store).backbone_problem(vit, FED) == "no vit at 8"
    assert len(tries.asked) == 1


@pytest.mark.parametrize("broken", [b"", b"[]", b'{"a": ', b"\xff"])
def test_what_was_remembered_may_be_lost(tmp_path: Path, store: Store, tries: Tries, broken: bytes) -> None:
    (tmp_path / VERDICTS).write_bytes(broken)
    facts = LocalFacts(tmp_path, store, try_backbones=True)
    assert facts.backbone_problem(Backbone(name="vit"), FED) == "no vit at 8"
    assert "no vit at 8" in json.loads((tmp_path / VERDICTS).read_bytes()).values()


def test_where_nothing_can_be_written_it_is_tried_again(tmp_path: Path, store: Store, tries: Tries) -> None:
    (tmp_path / "file").write_text("")
    facts = LocalFacts(tmp_path / "file" / "data", store, try_backbones=True)
    for _ in range(2):
        assert facts.backbone_problem(Backbone(name="vit"), FED) == "no vit at 8"
    assert len(tries.asked) == 1  # this process knows


def test_real_backbones_are_tried(tmp_path: Path, store: Store) -> None:
    facts = LocalFacts(tmp_path, store, try_backbones=True)
    assert facts.backbone_problem(SMALL, FED) is None
    for name, said in (("resnet81", "timm has no model `resnet81`"), ("vit_tiny_patch16_224", "is no timm ResNet")):
        assert said in str(facts.backbone_problem(Backbone(name=name, stem="small"), FED))


def test_torch_is_imported_only_to_try(tmp_path: Path, store: Store, tries: Tries) -> None:
    LocalFacts(tmp_path, store, try_backbones=True).backbone_problem(SMALL, FED)
    (tmp_path / "w.pt").write_bytes(b"x")
    code = f"""
import sys
from pathlib import Path
from harness.spec.models import Backbone, Input
from harness.store.store import Store
from harness.suite.local_facts import LocalFacts
facts = LocalFacts(Path({str(tmp_path)!r}), Store(Path({str(tmp_path / "cells")!r})), try_backbones=True)
small = Backbone.model_validate_json({SMALL.model_dump_json()!r})
fed = Input.model_validate_json({FED.model_dump_json()!r})
assert facts.backbone_problem(small, fed) is None
facts.weights({str(tmp_path / "w.pt")!r})
facts.dataset("cifar10"), facts.dataset("digits")
print("torch" in sys.modules)
facts.backbone_problem(small.model_copy(update={{"width": 8}}), fed)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
