import numpy as np
import pytest

from harness.data.datasets import DataError, DataMissing
from harness.data.facts import training_count
from harness.data.loading import load_scored, load_training, stratified, training_rows
from harness.data.packed import PackedWriter, building, manifest_of
from harness.spec.models import Source

STL10 = {"train": (0, 20), "unlabeled": (20, 60), "test": (60, 70)}
CHANNELS = {"digits": 1, "stl10": 3, "cifar10": 3}


def pack(name, directory, *splits):
    """An STL-10 of 20 labelled, 40 unlabelled and 10 test images, whose first pixel is their row."""
    pixels = np.zeros((70, 96, 96, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(70)
    labels = np.concatenate([np.arange(20) % 10, np.full(40, -1), np.arange(10)])
    with building(name, directory) as target:
        writer = PackedWriter(target, name, pixels.shape, tuple("abcdefghij"))
        for split, (first, last) in zip(splits or STL10, STL10.values(), strict=True):
            writer.add(split, pixels[first:last], labels[first:last])
        writer.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Digits, a small STL-10, and the same images under other names."""
    directory = tmp_path_factory.mktemp("data")
    pack("stl10", directory)
    pack("cifar10", directory, "first", "second", "third")
    manifest_of("digits", directory)
    return directory


def source(*splits, name="stl10", **changes):
    return Source(name=name, splits=splits or ("train",), **changes)


def training(chosen, data_dir):
    return load_training(chosen, data_dir, CHANNELS[chosen.name]).images


def scored(chosen, split, data_dir):
    return load_scored(chosen, split, data_dir, CHANNELS[chosen.name]).images


def rows(images):
    return images.pixels[:, 0, 0, 0].tolist()


def test_digits(data_dir):
    train = load_training(source(name="digits"), data_dir, 1)
    test = load_scored(source("test", name="digits"), "test", data_dir, 1)
    assert (len(train.images), len(test.images)) == (1437, 360)
    assert train.classes == test.classes == tuple("0123456789")
    assert isinstance(train.images.pixels, np.memmap)  # nothing asked, nothing copied


def test_splits_stand_one_behind_the_other(data_dir):
    assert rows(training(source("train", "unlabeled"), data_dir)) == list(range(60))
    assert rows(training(source("train"), data_dir)) == list(range(20))
    assert rows(training(source("unlabeled", "test"), data_dir)) == list(range(20, 70))
    assert rows(scored(source("test"), "test", data_dir)) == list(range(60, 70))
    assert rows(scored(source("train", "unlabeled", "test"), "test", data_dir)) == list(range(70))
    assert (training(source("unlabeled"), data_dir).labels == -1).all()


def test_validation_is_held_out_of_the_labelled_images_whether_or_not_others_are_there(data_dir):
    few, all_ = (source(*splits, validation_fraction=0.5) for splits in (("train",), ("train", "unlabeled")))
    validation = scored(few, "validation", data_dir)
    held = set(rows(validation))
    assert len(held) == 10
    assert held <= set(range(20))
    assert sorted(validation.labels) == list(range(10))  # one of two of each class
    assert rows(scored(all_, "validation", data_dir)) == rows(validation)
    assert set(rows(training(few, data_dir))) == set(range(20)) - held
    assert set(rows(training(all_, data_dir))) == set(range(60)) - held


def test_subset_keeps_proportions_unlabelled_images_being_a_class(data_dir):
    images = training(source("train", "unlabeled", train_images=30), data_dir)
    assert len(images) == 30
    assert (images.labels == -1).sum() == 20
    assert sorted(images.labels[images.labels >= 0]) == list(range(10))


def test_draws_are_the_same_every_time(data_dir):
    chosen = source(name="digits", train_images=200, validation_fraction=0.1)
    first, second = training(chosen, data_dir), training(chosen, data_dir)
    assert len(first) == 200
    assert np.array_equal(first.pixels, second.pixels)
    validation = scored(chosen, "validation", data_dir)
    assert len(validation) == 144  # a tenth of 1,437
    # the validation images do not depend on the size of the subset
    alone = scored(source(name="digits", validation_fraction=0.1), "validation", data_dir)
    assert np.array_equal(alone.pixels, validation.pixels)


def test_a_name_seeds_no_draw(data_dir):
    asked = {"train_images": 12, "validation_fraction": 0.2}
    ours = source("train", "unlabeled", **asked)
    theirs = source("first", "second", name="cifar10", **asked)
    assert rows(training(ours, data_dir)) == rows(training(theirs, data_dir))
    assert rows(scored(ours, "validation", data_dir)) == rows(scored(theirs, "validation", data_dir))


@pytest.mark.parametrize("splits", [("train",), ("train", "unlabeled")])
@pytest.mark.parametrize(("train_images", "validation_fraction"), [(None, 0.0), (None, 0.33), (9, 0.5)])
def test_training_count_is_how_many_there_are(data_dir, splits, train_images, validation_fraction):
    chosen = source(*splits, train_images=train_images, validation_fraction=validation_fraction)
    counts = {split: last - first for split, (first, last) in STL10.items()}
    assert training_count(chosen, counts) == len(training(chosen, data_dir))


def test_stratified_by_hand():
    labels = np.array([0] * 6 + [1] * 3 + [5] * 1)
    chosen = stratified(labels, 5, seed=1)  # exact shares 3, 1.5, 0.5: the tie goes to the smaller label
    assert np.bincount(labels[chosen], minlength=6).tolist() == [3, 2, 0, 0, 0, 0]
    assert (np.diff(chosen) > 0).all()
    assert stratified(labels, 10, seed=1).tolist() == list(range(10))
    assert not np.array_equal(stratified(labels, 5, seed=1), stratified(labels, 5, seed=2))


def test_nothing_asked_nothing_copied():
    assert training_rows(np.zeros(9, np.int64), source()) is None


@pytest.mark.parametrize(
    ("chosen", "error"),
    [
        (source(train_images=21), "stl10: train_images is 21, but there are only 20"),
        (source(train_images=11, validation_fraction=0.5), "stl10: train_images is 11, but there are only 10"),
        (source(validation_fraction=1e-4), "validation_fraction 0.0001 of 20 images holds out 0; choose another"),
        (
            source("unlabeled", validation_fraction=0.5),
            "validation_fraction 0.5 of 0 images holds out 0; choose another",
        ),
        (source("validation"), "stl10 has no split 'validation'; it has train, unlabeled, test"),
        (
            source("train", "test"),
            "splits train, test do not follow each other; in its order they are train, unlabeled,",
        ),
    ],
)
def test_errors(data_dir, chosen, error):
    with pytest.raises(DataError, match=error):
        training(chosen, data_dir)


def test_validation_of_a_source_that_holds_nothing_out(data_dir):
    with pytest.raises(DataError, match=r"validation_fraction 0\.0 of 20 images holds out 0; choose another fraction"):
        scored(source(), "validation", data_dir)


def test_other_channels(data_dir):
    with pytest.raises(DataError, match="stl10 has 3 channels, not the 1 asked for"):
        load_training(source(), data_dir, 1)
    with pytest.raises(DataError, match="digits has 1 channels, not the 3 asked for"):
        load_scored(source("test", name="digits"), "test", data_dir, 3)


def test_other_content_than_planned(data_dir):
    manifest, other = manifest_of("stl10", data_dir), "f" * 64
    splits = ("train", "unlabeled")
    images, labels = (tuple(part[split] for split in splits) for part in (manifest.images, manifest.labels))
    assert len(training(source(*splits, images=images, labels=labels), data_dir)) == 60
    assert len(training(source(*splits, images=images), data_dir)) == 60
    for changes, error in (
        ({"images": (images[0], other)}, f"the images of split unlabeled in .*stl10 have fingerprint {images[1][:12]}"),
        ({"labels": (other, labels[1])}, f"the labels of split train in .*stl10 have fingerprint {labels[0][:12]}"),
    ):
        text = f"{error}, not ffffffffffff as planned: plan again, or use the data directory it was planned with"
        with pytest.raises(DataError, match=text):
            training(source(*splits, **changes), data_dir)
        with pytest.raises(DataError, match=text):
            scored(source(*splits, **changes), "test", data_dir)


def test_missing(tmp_path):
    with pytest.raises(DataMissing, match="CIFAR-10 is not prepared"):
        load_training(source(name="cifar10"), tmp_path, 3)
    with pytest.raises(DataMissing, match="CIFAR-10 is not prepared"):
        load_scored(source("test", name="cifar10"), "test", tmp_path, 3)
