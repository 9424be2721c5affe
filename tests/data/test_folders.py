import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets as tv

from harness.data.datasets import DATASETS, DataError, DataMissing
from harness.data.loading import load
from harness.data.packed import fingerprint, read_manifest
from harness.data.prepare import prepare, verify
from harness.suite.cell import DatasetSpec


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def spec(name="image_folder", **changes):
    info = DATASETS[name]
    fields = {"image_size": 32, "channels": 3, "mean": info.mean, "std": info.std, "eval_resize": 36}
    return DatasetSpec(name=name, **{**fields, **changes})


def names(images):
    return [name.decode() for name in images.files]


def test_an_image_folder_is_what_torchvision_reads(image_folder, data):
    manifest = prepare("image_folder", data, image_folder)
    assert manifest.classes == ("cat", "dog")
    assert manifest.splits == {"train": (0, 5), "test": (5, 7)}
    assert manifest.root == str(image_folder)
    loaded = load(spec(), data)
    assert loaded.classes == 2
    for images, folder in ((loaded.pretrain, "train"), (loaded.probe, "train"), (loaded.test, "val")):
        reference = tv.ImageFolder(image_folder / folder)
        assert [str(image_folder / name) for name in names(images)] == [path for path, _ in reference.samples]
        assert images.labels.tolist() == reference.targets
        assert all(np.array_equal(images.decode(i), np.asarray(image)) for i, (image, _) in enumerate(reference))


def test_grey_on_request(image_folder, data):
    prepare("image_folder", data, image_folder)
    grey = load(spec(channels=1, mean=(0.5,), std=(0.5,)), data).test
    assert grey.decode(0).shape == (48, 48, 1)


def test_validation_and_subset(image_folder, data):
    prepare("image_folder", data, image_folder)
    loaded = load(spec(validation_fraction=0.4, train_images=2), data)
    held, kept = set(names(loaded.validation)), set(names(loaded.pretrain))
    assert len(held) == len(kept) == 2
    assert not held & kept
    assert sorted(loaded.validation.labels) == [0, 1]
    assert names(loaded.probe) == names(loaded.pretrain)


def test_fingerprint_is_of_contents_and_labels_not_of_names_and_places(image_folder, data, tmp_path):
    first = prepare("image_folder", data, image_folder).fingerprint
    moved = shutil.copytree(image_folder, tmp_path / "moved")
    (moved / "train" / "cat" / "a.jpg").rename(moved / "train" / "cat" / "another.jpg")
    (moved / "val").rename(moved / "test")
    assert prepare("image_folder", tmp_path / "data2", moved).fingerprint == first
    (moved / "train" / "cat" / "another.jpg").rename(moved / "train" / "dog" / "another.jpg")
    assert prepare("image_folder", tmp_path / "data3", moved).fingerprint != first
    path = image_folder / "train" / "dog" / "c.jpeg"
    path.write_bytes(path.read_bytes() + b"\0")
    assert prepare("image_folder", tmp_path / "data4", image_folder).fingerprint != first
    assert fingerprint("image_folder", data) == first
    with pytest.raises(DataError, match=r"pets has changed since image_folder was prepared: delete"):
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
    expected = prepare("image_folder", tmp_path / "data2", image_folder).fingerprint
    shutil.rmtree(image_folder)
    manifest = prepare("image_folder", data, Path(archive))
    assert manifest.fingerprint == expected
    assert manifest.root is None
    assert load(spec(), data).test.decode(0).shape == (48, 48, 3)
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
        load(spec(), data)


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
    loaded = load(spec(), data)
    assert loaded.test.labels.tolist() == [1]
    assert loaded.classes == 2


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
