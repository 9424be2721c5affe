import subprocess
import sys

import numpy as np
import pytest

from harness.data.datasets import DATASETS, DataError
from harness.data.facts import DatasetFacts, SplitFacts, dataset_facts, training_count
from harness.data.packed import PackedWriter, building, manifest_of
from harness.spec.models import Source


def test_of_digits_which_are_packed_on_first_use(tmp_path):
    facts = dataset_facts("digits", tmp_path)
    assert facts.here
    assert facts.classes == 10
    manifest = manifest_of("digits", tmp_path)
    for split, count in (("train", 1437), ("test", 360)):
        assert facts.splits[split] == SplitFacts(count, manifest.images[split], manifest.labels[split])


def test_of_a_copy_they_are_the_copys(tmp_path):
    with building("fashion_mnist", tmp_path) as directory:
        writer = PackedWriter(directory, "fashion_mnist", (3, 1, 1, 1), ("cat", "dog"))
        writer.add("train", np.zeros((2, 1, 1, 1), np.uint8), np.array([0, 1]))
        writer.add("test", np.ones((1, 1, 1, 1), np.uint8), np.array([1]))
        manifest = writer.close()
    (tmp_path / "fashion_mnist" / "pixels.npy").unlink()  # not read
    assert dataset_facts("fashion_mnist", tmp_path) == DatasetFacts(
        here=True,
        splits={
            "train": SplitFacts(2, manifest.images["train"], manifest.labels["train"]),
            "test": SplitFacts(1, manifest.images["test"], manifest.labels["test"]),
        },
        classes=2,
    )


def test_without_a_copy_they_are_the_catalogues(tmp_path):
    facts = dataset_facts("fashion_mnist", tmp_path)
    assert not facts.here
    assert facts.classes == 10
    assert facts.splits["test"] == SplitFacts(10_000, *DATASETS["fashion_mnist"].fingerprints["test"])
    assert dataset_facts("stl10", tmp_path).splits == {
        "train": SplitFacts(5_000, None, None),
        "unlabeled": SplitFacts(100_000, None, None),
        "test": SplitFacts(8_000, None, None),
    }
    assert list(tmp_path.iterdir()) == []


def test_of_a_users_own_images_nothing_is_known_before_they_are_here(tmp_path):
    unknown = SplitFacts(None, None, None)
    assert dataset_facts("image_folder", tmp_path) == DatasetFacts(False, {"train": unknown, "test": unknown}, None)


def test_unknown_dataset(tmp_path):
    with pytest.raises(DataError, match="unknown dataset 'cifar'; known: digits,"):
        dataset_facts("cifar", tmp_path)


COUNTS = {"train": 5_001, "unlabeled": 100_000, "test": None}


@pytest.mark.parametrize(
    ("splits", "changes", "count"),
    [
        (("train",), {}, 5_001),
        (("train", "unlabeled"), {}, 105_001),
        (("train",), {"validation_fraction": 0.1}, 4_501),  # 500.1 are held out
        (("train", "unlabeled"), {"validation_fraction": 0.1}, 104_501),  # of the labelled ones only
        (("train",), {"train_images": 7, "validation_fraction": 0.1}, 7),
        (("test",), {}, None),
        (("train", "test"), {}, None),
        (("elsewhere",), {}, None),
        (("test",), {"train_images": 7}, 7),
    ],
)
def test_training_count(splits, changes, count):
    assert training_count(Source(name="stl10", splits=splits, **changes), COUNTS) == count


def test_knows_nothing_of_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from harness.data.facts import dataset_facts; "
        "dataset_facts('cifar10', Path(sys.argv[1])); dataset_facts('digits', Path(sys.argv[1])); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 0
