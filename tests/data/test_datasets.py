import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from harness.data import datasets
from harness.data.datasets import DATASETS, DataError, DataMissing, data_directory, dataset_info, missing
from harness.data.prepare import prepare

NAMES = ["digits", "fashion_mnist", "cifar10", "cifar100", "stl10", "tiny_imagenet"]
NAMES += ["imagenet100", "imagenet", "image_folder"]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# W-MSE, released code: mean, std, training size, shorter edge in evaluation.
PROTOCOL = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 32, None),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), 32, None),
    "stl10": ((0.43, 0.42, 0.39), (0.27, 0.26, 0.27), 64, 70),
    "tiny_imagenet": ((0.480, 0.448, 0.398), (0.277, 0.269, 0.282), 64, None),
    "imagenet100": (*IMAGENET, 224, 256),
    "imagenet": (*IMAGENET, 224, 256),
    "image_folder": (*IMAGENET, 224, 256),
}


def test_every_dataset_is_there_under_its_own_name():
    assert list(DATASETS) == NAMES
    assert all(
        info.name == name and len(info.mean) == len(info.std) == info.channels for name, info in DATASETS.items()
    )


@pytest.mark.parametrize("name", PROTOCOL)
def test_normalisation_and_sizes_of_the_protocol(name):
    info = DATASETS[name]
    assert (info.mean, info.std, info.image_size, info.eval_resize) == PROTOCOL[name]


def test_splits_of_the_protocol():
    assert DATASETS["stl10"].pretrain == ("train", "unlabeled")
    assert sum(DATASETS["stl10"].splits[split] for split in DATASETS["stl10"].pretrain) == 105_000
    assert [DATASETS[name].pretrain for name in NAMES if name != "stl10"] == [("train",)] * 8
    assert DATASETS["tiny_imagenet"].splits == {"train": 100_000, "test": 10_000}
    assert DATASETS["imagenet"].splits == {"train": 1_281_167, "test": 50_000}


def test_digits_statistics_are_those_of_the_training_pixels():
    train = np.round(load_digits().images[:1437] * 255 / 16) / 255
    assert DATASETS["digits"].mean == pytest.approx([train.mean()], abs=5e-5)
    assert DATASETS["digits"].std == pytest.approx([train.std()], abs=5e-5)


def test_data_directory_is_explicit_then_environment_then_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "env"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_directory(tmp_path / "flag") == tmp_path / "flag"
    assert data_directory() == tmp_path / "env"
    monkeypatch.delenv("HARNESS_DATA")
    assert data_directory() == tmp_path / "cache" / "ssl-harness"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert data_directory() == Path.home() / ".cache" / "ssl-harness"
    monkeypatch.chdir(tmp_path)
    assert data_directory("here") == tmp_path / "here"


def test_unknown_dataset_names_the_known_ones():
    with pytest.raises(DataError, match=r"unknown dataset 'cifar'; known: digits, fashion_mnist, cifar10,"):
        dataset_info("cifar")


def test_missing_says_what_to_fetch_where_and_how(tmp_path):
    text = str(missing("stl10", tmp_path))
    assert isinstance(missing("stl10", tmp_path), DataMissing)
    for part in (
        "STL-10",
        str(tmp_path / "stl10"),
        "stl10_binary.tar.gz",
        "harness data prepare stl10`",
        "--from PATH",
    ):
        assert part in text
    assert "harness data prepare imagenet100 --from PATH --classes imagenet100.txt" in str(
        missing("imagenet100", tmp_path)
    )
    assert not re.search(r"prepare imagenet`", str(missing("imagenet", tmp_path)))  # nothing to download


FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not FASHION.exists(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fingerprints_of_fashion_mnist(tmp_path):
    manifest = prepare("fashion_mnist", tmp_path, FASHION)
    found = {split: (manifest.images[split], manifest.labels[split]) for split in ("train", "test")}
    assert DATASETS["fashion_mnist"].fingerprints == found


def test_fingerprints_are_of_splits_that_there_are():
    for info in DATASETS.values():
        assert set(info.fingerprints) in (set(), set(info.splits))
        for pair in info.fingerprints.values():
            assert all(re.fullmatch("[0-9a-f]{64}", fingerprint) for fingerprint in pair)


def test_knows_nothing_of_torch():
    code = "import sys, harness.data.datasets, harness.data.packed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_room_knows_nothing_of_suites():
    sources = list(Path(datasets.__file__).parent.rglob("*.py"))
    assert len(sources) > 20
    assert [path.name for path in sources if "harness.suite" in path.read_text()] == []
