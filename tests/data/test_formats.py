import struct

import numpy as np
import pytest
from torchvision import datasets as tv

from harness.data.datasets import DataError
from harness.data.formats import decode, read_fashion_mnist, read_idx, read_stl10, read_tiny_imagenet


def test_fashion_mnist(fashion, gathered):
    folder, pixels, labels = fashion
    classes, splits = gathered(read_fashion_mnist(folder))
    assert list(classes) == tv.FashionMNIST.classes
    assert list(splits) == ["train", "test"]
    assert np.array_equal(splits["train"][0][..., 0], pixels[:30])
    assert np.array_equal(splits["test"][0][..., 0], pixels[30:])
    assert np.array_equal(splits["train"][1], labels[:30])
    assert np.array_equal(splits["test"][1], labels[30:])
    assert splits["train"][1].dtype == np.int64


def test_idx_not_gzipped(tmp_path):
    (tmp_path / "a").write_bytes(struct.pack(">HBBII", 0, 8, 2, 2, 3) + bytes(range(6)))
    assert read_idx(tmp_path / "a").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "is not an IDX file of unsigned bytes"),
        (struct.pack(">HBBI", 0, 13, 1, 0), "is not an IDX file of unsigned bytes"),
        (struct.pack(">HBB", 0, 8, 3) + b"\0\0", "is not an IDX file of unsigned bytes"),
        (struct.pack(">HBBI", 0, 8, 1, 5) + b"1234", r"damaged or incomplete: 4 bytes where its header says \(5,\)"),
        (struct.pack(">HBBII", 0, 8, 2, 2**32 - 1, 2**32 - 1) + b"1", "damaged or incomplete"),
        (b"\x1f\x8b\x08\0", "is damaged or incomplete"),
    ],
)
def test_damaged_idx(tmp_path, data, error):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match=error):
        read_idx(tmp_path / "a")


def test_fashion_mnist_with_a_label_too_few(fashion, gathered):
    folder, *_ = fashion
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 29) + bytes(29))
    with pytest.raises(DataError, match=r"images of shape \(30, 28, 28\) with labels of shape \(29,\)"):
        gathered(read_fashion_mnist(folder))


def test_stl10_is_what_torchvision_reads(stl10, monkeypatch, gathered):
    folder, pixels, labels = stl10
    classes, splits = gathered(read_stl10(folder))
    assert list(splits) == ["train", "unlabeled", "test"]
    monkeypatch.setattr(tv.STL10, "_check_integrity", lambda self: True)
    for split, rows in (("train", slice(0, 10)), ("unlabeled", slice(10, 22)), ("test", slice(22, 28))):
        assert np.array_equal(splits[split][0], pixels[rows])
        assert np.array_equal(splits[split][1], labels[rows])
        reference = tv.STL10(folder.parent, split)
        assert tuple(reference.classes) == classes
        image, label = reference[1]
        assert np.array_equal(np.asarray(image), splits[split][0][1])
        assert label == splits[split][1][1]


@pytest.mark.parametrize(
    ("file", "change", "error"),
    [
        ("test_X.bin", lambda d: d[:-1], "not a whole number of 96x96 images"),
        ("test_X.bin", lambda d: d[:-27648], "test has 5 images but 6 labels"),
        ("test_y.bin", lambda d: d[:-1], "test has more images than its 5 labels"),
    ],
)
def test_damaged_stl10(stl10, file, change, error, gathered):
    path = stl10[0] / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=error):
        gathered(read_stl10(stl10[0]))


def test_incomplete_stl10(stl10, gathered):
    (stl10[0] / "unlabeled_X.bin").unlink()
    with pytest.raises(DataError, match=r"unlabeled_X.bin is missing: the copy is incomplete"):
        gathered(read_stl10(stl10[0]))


def resorted(folder):
    """The validation images as many scripts sort them: a folder a class."""
    for line in (folder / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        (folder / "val" / wnid).mkdir(exist_ok=True)
        (folder / "val" / "images" / name).rename(folder / "val" / wnid / name)
    (folder / "val" / "images").rmdir()


def test_tiny_imagenet_is_what_image_folder_reads(tiny, gathered):
    classes, splits = gathered(read_tiny_imagenet(tiny))
    assert classes == ("n01000000", "n02000000", "n03000000")
    assert list(splits) == ["train", "test"]
    assert splits["test"][1].tolist() == [0, 0, 1, 1, 2, 2]
    resorted(tiny)
    again = gathered(read_tiny_imagenet(tiny))[1]
    assert all(np.array_equal(a, b) for a, b in zip(again["test"], splits["test"], strict=True))
    for split, name in (("train", "train"), ("test", "val")):
        reference = tv.ImageFolder(tiny / name)
        assert tuple(reference.classes) == classes
        assert splits[split][1].tolist() == reference.targets
        assert np.array_equal(splits[split][0], np.stack([np.asarray(image) for image, _ in reference]))


def test_tiny_imagenet_annotations_are_checked(tiny, gathered):
    path = tiny / "val" / "val_annotations.txt"
    whole = path.read_text()
    for line in ("../wnids.txt\tn01000000\t0", "val_0.JPEG\tn99999999\t0", "val_0.JPEG", ""):
        path.write_text(whole + line + "\n")
        with pytest.raises(DataError, match=r"val_annotations.txt:7: not a file and one of the 3 classes"):
            gathered(read_tiny_imagenet(tiny))


def test_tiny_imagenet_with_a_class_missing(tiny, gathered):
    (tiny / "train" / "n03000000").rename(tiny / "elsewhere")
    with pytest.raises(DataError, match="n03000000 has no images: the copy is incomplete"):
        gathered(read_tiny_imagenet(tiny))


def test_tiny_imagenet_with_odd_class_ids(tiny):
    (tiny / "wnids.txt").write_text("../etc\n")
    with pytest.raises(DataError, match=r"wnids.txt holds something other than class ids such as n01443537"):
        read_tiny_imagenet(tiny)


def test_tiny_imagenet_with_an_image_of_another_size(tiny, image_folder, gathered):
    (tiny / "val" / "images" / "val_3.JPEG").write_bytes((image_folder / "train/cat/a.jpg").read_bytes())
    with pytest.raises(DataError, match=r"val_3.JPEG is not 64x64 pixels"):
        gathered(read_tiny_imagenet(tiny))


def test_images_that_cannot_be_decoded(tiny):
    path = tiny / "val" / "images" / "val_3.JPEG"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match=r"val_3.JPEG is missing, or not an image that can be read"):
        decode(path, 3)
    path.write_text("<html>")
    with pytest.raises(DataError, match=r"val_3.JPEG is missing, or not an image that can be read"):
        decode(path, 3)


def test_grey_and_colour(tiny):
    grey = tiny / "train" / "n01000000" / "images" / "n01000000_3.JPEG"
    assert decode(grey, 1).shape == (64, 64, 1)
    colour = decode(grey, 3)
    assert colour.shape == (64, 64, 3)
    assert np.array_equal(colour[..., 0], decode(grey, 1)[..., 0])
