import os
import shutil
import struct
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets as tv

from harness.data.datasets import DataError, DataMissing
from harness.data.loading import load_scored, load_training
from harness.data.packed import read_manifest
from harness.data.prepare import prepare, verify
from harness.spec.models import Source


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def train(**changes):
    return Source(name="image_folder", splits=("train",), **changes)


TEST = Source(name="image_folder", splits=("test",))


def names(images):
    return [name.decode() for name in images.files]


def test_an_image_folder_is_what_torchvision_reads(image_folder, data):
    manifest = prepare("image_folder", data, image_folder)
    assert manifest.classes == ("cat", "dog")
    assert manifest.splits == {"train": (0, 5), "test": (5, 7)}
    assert manifest.root == str(image_folder)
    for loaded, folder in ((load_training(train(), data, 3), "train"), (load_scored(TEST, "test", data, 3), "val")):
        images = loaded.images
        assert loaded.classes == ("cat", "dog")
        reference = tv.ImageFolder(image_folder / folder)
        assert [str(image_folder / name) for name in names(images)] == [path for path, _ in reference.samples]
        assert images.labels.tolist() == reference.targets
        assert all(np.array_equal(images.decode(i), np.asarray(image)) for i, (image, _) in enumerate(reference))


def test_grey_on_request(image_folder, data):
    prepare("image_folder", data, image_folder)
    grey = load_scored(TEST, "test", data, channels=1).images
    assert grey.decode(0).shape == (48, 48, 1)


def test_validation_and_subset(image_folder, data):
    prepare("image_folder", data, image_folder)
    source = train(validation_fraction=0.4, train_images=2)
    validation = load_scored(source, "validation", data, 3).images
    held, kept = set(names(validation)), set(names(load_training(source, data, 3).images))
    assert len(held) == len(kept) == 2
    assert not held & kept
    assert sorted(validation.labels) == [0, 1]


def file_digests(folder, names):
    """SHA-256 of the SHA-256 of each file."""
    return sha256(b"".join(sha256((folder / name).read_bytes()).digest() for name in names)).hexdigest()


def test_fingerprints_by_hand(image_folder, data):
    manifest = prepare("image_folder", data, image_folder)
    names = {
        "train": [f"train/{name}" for name in ("cat/a.jpg", "cat/deep/b.JPG", "dog/c.jpeg", "dog/d.jpg", "dog/e.jpg")],
        "test": ["val/cat/g.jpg", "val/dog/f.jpg"],
    }
    assert manifest.images == {split: file_digests(image_folder, files) for split, files in names.items()}
    labels = {"train": struct.pack("<5q", 0, 0, 1, 1, 1), "test": struct.pack("<2q", 0, 1)}
    assert manifest.labels == {split: sha256(numbers).hexdigest() for split, numbers in labels.items()}


def changed(first, second):
    """Which fingerprints differ between two manifests, such as `images train`."""
    kinds = (("images", first.images, second.images), ("labels", first.labels, second.labels))
    return [f"{kind} {split}" for kind, ours, theirs in kinds for split in ours if ours[split] != theirs[split]]


def test_fingerprints_are_of_contents_not_of_names_and_places(image_folder, data, tmp_path):
    first = prepare("image_folder", data, image_folder)
    moved = shutil.copytree(image_folder, tmp_path / "moved")
    (moved / "train" / "cat" / "a.jpg").rename(moved / "train" / "cat" / "another.jpg")
    (moved / "val").rename(moved / "test")
    assert changed(first, prepare("image_folder", tmp_path / "data2", moved)) == []
    # The second image in the order of names, now in the other class: labels 0 1 1 1 1.
    (moved / "train" / "cat" / "deep" / "b.JPG").rename(moved / "train" / "dog" / "b.JPG")
    assert changed(first, prepare("image_folder", tmp_path / "data3", moved)) == ["labels train"]
    path = image_folder / "val" / "dog" / "f.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    assert changed(first, prepare("image_folder", tmp_path / "data4", image_folder)) == ["images test"]


def test_verify_names_the_split_that_has_changed(image_folder, data):
    prepare("image_folder", data, image_folder)
    path = image_folder / "train" / "dog" / "c.jpeg"
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    with pytest.raises(
        DataError, match=r"pets: the images of split train have changed since image_folder was prepared: delete"
    ):
        verify("image_folder", data)
    path.write_bytes(content)
    np.save(data / "image_folder" / "labels.npy", np.array([0, 0, 1, 1, 1, 1, 1]))
    with pytest.raises(DataError, match=r"pets: the labels of split test have changed since image_folder was prepared"):
        verify("image_folder", data)


def test_verify(image_folder, data):
    seen = []
    manifest = prepare("image_folder", data, image_folder, progress=lambda *step: seen.append(step))
    assert seen == [("reading images", 7, 7)]
    assert verify("image_folder", data) == manifest
    (image_folder / "val" / "dog" / "f.jpg").unlink()
    with pytest.raises(DataError, match=r"f.jpg is missing, or not an image that can be read"):
        verify("image_folder", data)


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("form", ["zip", "gztar", "tar"])
def test_an_archive_is_unpacked_beside_the_manifest(image_folder, data, tmp_path, form, top):
    where = {"root_dir": image_folder.parent, "base_dir": image_folder.name} if top else {"root_dir": image_folder}
    archive = shutil.make_archive(str(tmp_path / "x"), form, **where)
    expected = prepare("image_folder", tmp_path / "data2", image_folder)
    shutil.rmtree(image_folder)
    manifest = prepare("image_folder", data, Path(archive))
    assert changed(manifest, expected) == []
    assert manifest.root is None
    assert load_scored(TEST, "test", data, 3).images.decode(0).shape == (48, 48, 3)
    assert sorted(p.name for p in (data / "image_folder").iterdir()) == [
        "files",
        "files.npy",
        "labels.npy",
        "manifest.json",
    ]


def test_prepared_from_elsewhere(image_folder, data, tmp_path):
    prepare("image_folder", data, image_folder)
    assert prepare("image_folder", data).root == str(image_folder)
    assert prepare("image_folder", data, image_folder).root == str(image_folder)
    other = shutil.copytree(image_folder, tmp_path / "other")
    with pytest.raises(DataError, match=r"was prepared from .*pets: delete it first to prepare it from .*other"):
        prepare("image_folder", data, other)


def test_images_that_have_gone(image_folder, data, tmp_path):
    prepare("image_folder", data, image_folder)
    image_folder.rename(tmp_path / "away")
    with pytest.raises(
        DataError, match=r"the images of image_folder were in .*pets, which is not there: put it back, or"
    ):
        load_training(train(), data, 3)


def remove_test(folder):
    shutil.rmtree(folder / "val")


def remove_train(folder):
    shutil.rmtree(folder / "train")


def empty_class(folder):
    (folder / "train" / "bird").mkdir()


def new_class_in_test(folder):
    shutil.copytree(folder / "val" / "cat", folder / "val" / "bird")


def empty_test(folder):
    for path in (folder / "val").rglob("*.jpg"):
        path.unlink()


def broken_image(folder):
    (folder / "train" / "cat" / "a.jpg").write_text("<html>")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (remove_test, "pets needs a folder train and a folder test or val, each with a folder a class"),
        (remove_train, "pets needs a folder train and a folder test or val"),
        (empty_class, "bird has no images: an unknown class, or an incomplete copy"),
        (new_class_in_test, "val has a class that train has not: bird"),
        (empty_test, "val has no images"),
        (broken_image, r"a\.jpg is missing, or not an image that can be read"),
    ],
)
def test_folders_that_are_no_dataset(image_folder, data, change, error):
    change(image_folder)
    with pytest.raises(DataError, match=error):
        prepare("image_folder", data, image_folder)
    assert read_manifest("image_folder", data) is None
    assert [p.name for p in data.iterdir()] == [".image_folder.lock"]


def test_a_class_may_be_missing_in_test(image_folder, data):
    shutil.rmtree(image_folder / "val" / "cat")
    prepare("image_folder", data, image_folder)
    loaded = load_scored(TEST, "test", data, 3)
    assert loaded.images.labels.tolist() == [1]
    assert loaded.classes == ("cat", "dog")


def test_no_source(data):
    with pytest.raises(
        DataMissing, match="run `harness data prepare image_folder --from PATH`, where PATH is your copy"
    ):
        prepare("image_folder", data)
    assert read_manifest("image_folder", data) is None


def test_linked_class_folders_are_followed(image_folder, data, tmp_path):
    away = tmp_path / "elsewhere"
    (image_folder / "train" / "dog").rename(away)
    os.symlink(away, image_folder / "train" / "dog")
    assert prepare("image_folder", data, image_folder).splits["train"] == (0, 5)
