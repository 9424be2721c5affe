import numpy as np
import pytest

from harness.data.datasets import DATASETS, DataError, DataMissing
from harness.data.loading import load, stratified, training_rows
from harness.data.packed import PackedWriter, building, fingerprint
from harness.suite.cell import DatasetSpec


def spec(name="digits", **changes):
    info = DATASETS[name]
    fields = {"image_size": info.image_size, "channels": info.channels, "mean": info.mean, "std": info.std}
    return DatasetSpec(name=name, **{**fields, **changes})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Digits, and an STL-10 of 20 labelled, 40 unlabelled and 10 test images, whose first pixel is their row."""
    directory = tmp_path_factory.mktemp("data")
    pixels = np.zeros((70, 96, 96, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(70)
    with building("stl10", directory) as target:
        writer = PackedWriter(target, "stl10", pixels.shape, tuple("abcdefghij"))
        writer.add("train", pixels[:20], np.arange(20) % 10)
        writer.add("unlabeled", pixels[20:60], np.full(40, -1))
        writer.add("test", pixels[60:], np.arange(10))
        writer.close()
    fingerprint("digits", directory)
    return directory


def rows(images):
    return images.pixels[:, 0, 0, 0].tolist()


def test_digits(data_dir):
    data = load(spec(), data_dir)
    assert (len(data.pretrain), len(data.probe), len(data.test), data.validation) == (1437, 1437, 360, None)
    assert data.classes == 10
    assert isinstance(data.pretrain.pixels, np.memmap)
    assert np.shares_memory(data.pretrain.pixels, data.probe.pixels)


def test_stl10_pretrains_on_train_and_unlabelled_and_probes_on_train(data_dir):
    data = load(spec("stl10"), data_dir)
    assert rows(data.pretrain) == list(range(60))
    assert rows(data.probe) == list(range(20))
    assert rows(data.test) == list(range(60, 70))
    assert (data.pretrain.labels[20:] == -1).all()
    assert (data.probe.labels >= 0).all()


def test_validation_is_in_neither_pretraining_nor_probe_and_only_of_labelled_images(data_dir):
    data = load(spec("stl10", validation_fraction=0.5), data_dir)
    held = set(rows(data.validation))
    assert len(held) == 10
    assert held <= set(range(20))
    assert sorted(data.validation.labels) == list(range(10))  # one of two of each class
    assert set(rows(data.pretrain)) == set(range(60)) - held
    assert set(rows(data.probe)) == set(range(20)) - held


def test_subset_keeps_proportions_unlabelled_images_being_a_class(data_dir):
    data = load(spec("stl10", train_images=30), data_dir)
    assert len(data.pretrain) == 30
    assert (data.pretrain.labels == -1).sum() == 20
    assert sorted(data.probe.labels) == list(range(10))
    assert set(rows(data.probe)) == {row for row in rows(data.pretrain) if row < 20}
    assert len(data.test) == 10


def test_splits_are_the_same_every_time(data_dir):
    chosen = spec(train_images=200, validation_fraction=0.1)
    first, second = load(chosen, data_dir), load(chosen, data_dir)
    assert np.array_equal(first.pretrain.pixels, second.pretrain.pixels)
    assert np.array_equal(first.validation.pixels, second.validation.pixels)
    # the validation images do not depend on the size of the subset
    assert np.array_equal(load(spec(validation_fraction=0.1), data_dir).validation.pixels, first.validation.pixels)
    assert len(first.validation) == 144  # a tenth of 1,437
    assert len(first.pretrain) == len(first.probe) == 200


def test_stratified_by_hand():
    labels = np.array([0] * 6 + [1] * 3 + [5] * 1)
    chosen = stratified(labels, 5, seed=1)  # exact shares 3, 1.5, 0.5: the tie goes to the smaller label
    assert np.bincount(labels[chosen], minlength=6).tolist() == [3, 2, 0, 0, 0, 0]
    assert (np.diff(chosen) > 0).all()
    assert stratified(labels, 10, seed=1).tolist() == list(range(10))
    assert not np.array_equal(stratified(labels, 5, seed=1), stratified(labels, 5, seed=2))


def test_nothing_asked_nothing_copied():
    assert training_rows(np.zeros(9, np.int64), (0, 9), spec()) == (None, None)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"train_images": 1438}, "train_images is 1438, but there are only 1437"),
        ({"validation_fraction": 1e-4}, "validation_fraction 0.0001 of 1437 images holds out 0; choose another"),
        ({"channels": 3, "mean": (0.5,) * 3, "std": (0.5,) * 3}, "digits has 1 channels, not the 3 asked for"),
        ({"fingerprint": "f" * 64}, "the cell was planned with ffffffffffff: plan again"),
    ],
)
def test_errors(data_dir, changes, error):
    with pytest.raises(DataError, match=error):
        load(spec(**changes), data_dir)


def test_subset_without_labels(data_dir):
    with pytest.raises(DataError, match="none of the 1 training images drawn has a label; use more"):
        load(spec("stl10", train_images=1), data_dir)


def test_the_right_fingerprint_is_accepted(data_dir):
    assert len(load(spec(fingerprint=fingerprint("digits", data_dir)), data_dir).test) == 360


def test_missing(tmp_path):
    with pytest.raises(DataMissing, match="CIFAR-10 is not prepared"):
        load(spec("cifar10"), tmp_path)
