import hashlib
import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from harness.data import imagenet
from harness.data.datasets import DataError, DataMissing
from harness.data.imagenet import DEVKIT, TRAIN, VAL, read_class_list
from harness.data.loading import load_scored, load_training
from harness.data.packed import read_manifest
from harness.data.prepare import prepare
from harness.spec.models import Source

WNIDS = [f"n{i:08}" for i in range(1, 121)]  # 120 classes, of which a list takes 100
WNIDS.remove("n00000020")


def jpeg(number):
    stream = io.BytesIO()
    Image.new("RGB", (8 + number % 3, 8), (number % 256, 0, 0)).save(stream, "JPEG")
    return stream.getvalue()


JPEGS = [jpeg(number) for number in range(3)]


@pytest.fixture
def folder(tmp_path):
    """An ImageNet of 119 classes with one training and one validation image each."""
    root = tmp_path / "ILSVRC"
    for number, wnid in enumerate(WNIDS):
        for part, name in (("train", f"{wnid}_1.JPEG"), ("val", f"ILSVRC2012_val_{number + 1:08}.JPEG")):
            (root / part / wnid).mkdir(parents=True)
            (root / part / wnid / name).write_bytes(JPEGS[number % 3])
    return root


@pytest.fixture
def listed(tmp_path):
    """A class list, not in order, in the form of the published one."""
    path = tmp_path / "imagenet100.txt"
    path.write_text("\n".join(WNIDS[109:9:-1]) + "\n")
    return path


@pytest.fixture
def small(monkeypatch, sizes):
    """One validation image a class, and an ImageNet of 119 classes."""
    monkeypatch.setattr(imagenet, "VAL_IMAGES_PER_CLASS", 1)
    sizes("imagenet", classes=119, train=119, test=119)


def training(name, data):
    return load_training(Source(name=name, splits=("train",)), data, 3)


def scored(name, data):
    return load_scored(Source(name=name, splits=("test",)), "test", data, 3)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def test_class_list(listed):
    assert read_class_list(listed) == tuple(WNIDS[10:110])
    listed.write_text("\n\n".join(f"{wnid} tench, Tinca tinca" for wnid in WNIDS[:100]))
    assert read_class_list(listed) == tuple(WNIDS[:100])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("n01440764\nn01443537\n", "imagenet100.txt names 2 classes, not 100"),
        ("n01440764\ntench\n", "imagenet100.txt:2: 'tench' is no class id; expected one a line, such as n01440764"),
        ("n01440764\n\nn01440764\n", "imagenet100.txt:3: n01440764 is there twice"),
        ("n01440764\n" * 10_000, "is too large for a list of 100 class ids"),
        (b"\xff\xfe", "cannot read the class list"),
    ],
)
def test_wrong_class_lists(listed, text, error):
    listed.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=error):
        read_class_list(listed)


def test_imagenet100_is_cut_from_a_folder(folder, listed, data, small):
    manifest = prepare("imagenet100", data, folder, class_list=listed)
    assert manifest.classes == tuple(WNIDS[10:110])
    assert manifest.splits == {"train": (0, 100), "test": (100, 200)}
    assert scored("imagenet100", data).classes == tuple(WNIDS[10:110])
    assert scored("imagenet100", data).images.labels.tolist() == list(range(100))
    assert training("imagenet100", data).images.files[3].decode() == f"train/{WNIDS[13]}/{WNIDS[13]}_1.JPEG"
    assert prepare("imagenet100", data) == manifest
    listed.write_text("\n".join(WNIDS[:100]))
    with pytest.raises(DataError, match="was prepared with other classes: delete it first"):
        prepare("imagenet100", data, class_list=listed)


def test_imagenet100_is_cut_from_a_prepared_imagenet(folder, listed, data, small):
    whole = prepare("imagenet", data, folder)
    assert whole.classes == tuple(WNIDS)
    assert len(training("imagenet", data).images) == 119
    assert prepare("imagenet100", data, class_list=listed).root == str(folder)


def test_imagenet100_needs_a_list_and_a_source(folder, listed, data):
    for given in ({"source": folder}, {"class_list": listed}, {}):
        with pytest.raises(DataMissing, match=r"the list of 100 classes published with CMC.*--classes imagenet100.txt"):
            prepare("imagenet100", data, **given)


def test_a_class_that_imagenet_has_not(folder, listed, data, small):
    listed.write_text("\n".join([*WNIDS[:99], "n00000020"]))
    with pytest.raises(DataError, match="train/n00000020 has no images: an unknown class, or an incomplete copy"):
        prepare("imagenet100", data, folder, class_list=listed)
    assert read_manifest("imagenet100", data) is None


def test_incomplete_copies(folder, listed, data):
    with pytest.raises(DataError, match="ILSVRC has 100 test images, ImageNet-100 5,000: an incomplete copy"):
        prepare("imagenet100", data, folder, class_list=listed)
    with pytest.raises(DataError, match=r"train has 119 class folders; ImageNet .* has 1000, such as n01440764"):
        prepare("imagenet", data, folder)


def add(tar, name, contents):
    info = tarfile.TarInfo(name)
    info.size = len(contents)
    tar.addfile(info, io.BytesIO(contents))


def tar_bytes(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, contents in members:
            add(tar, name, contents)
    return stream.getvalue()


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """The three archives as published, of 3 classes; the kit says that images 1..4 are of classes 3, 1, 1, 2."""
    root = tmp_path / "archives"
    root.mkdir()
    wnids = ["n00000007", "n00000005", "n00000009"]
    classes = [(f"{w}.tar", tar_bytes([(f"{w}_{i}.JPEG", JPEGS[i]) for i in range(2)])) for w in wnids]
    (root / TRAIN).write_bytes(tar_bytes(classes))
    (root / VAL).write_bytes(tar_bytes([(f"ILSVRC2012_val_{i:08}.JPEG", JPEGS[i % 3]) for i in (2, 1, 3, 4)]))
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    synsets = np.empty(4, dtype=fields)
    for row, (wnid, children) in enumerate([*((w, 0) for w in wnids), ("n00001740", 3)]):
        synsets[row] = (row + 1, wnid, "words", "gloss", children)
    savemat(tmp_path / "meta.mat", {"synsets": synsets})
    with tarfile.open(root / DEVKIT, "w:gz") as tar:
        base = "ILSVRC2012_devkit_t12/data"
        add(tar, f"{base}/meta.mat", (tmp_path / "meta.mat").read_bytes())
        add(tar, f"{base}/ILSVRC2012_validation_ground_truth.txt", b"3\n1\n1\n2\n")
    renew_sums(root, monkeypatch)
    return root


def renew_sums(root, monkeypatch):
    sums = {name: hashlib.md5((root / name).read_bytes()).hexdigest() for name in (TRAIN, VAL, DEVKIT)}
    monkeypatch.setattr(imagenet, "SUMS", sums)


def test_archives(archives, data, sizes):
    sizes("imagenet", classes=3, train=6, test=4)
    manifest = prepare("imagenet", data, archives)
    assert manifest.classes == ("n00000005", "n00000007", "n00000009")
    assert manifest.root is None
    images = scored("imagenet", data).images
    assert [name.decode() for name in images.files] == [
        "val/n00000005/ILSVRC2012_val_00000004.JPEG",
        "val/n00000007/ILSVRC2012_val_00000002.JPEG",
        "val/n00000007/ILSVRC2012_val_00000003.JPEG",
        "val/n00000009/ILSVRC2012_val_00000001.JPEG",
    ]
    assert images.labels.tolist() == [0, 1, 1, 2]
    assert (data / "imagenet" / "files" / "train" / "n00000009" / "n00000009_1.JPEG").read_bytes() == JPEGS[1]
    assert sorted(p.name for p in (data / "imagenet").iterdir()) == [
        "files",
        "files.npy",
        "labels.npy",
        "manifest.json",
    ]


@pytest.mark.parametrize("name", [TRAIN, VAL, DEVKIT])
def test_archives_with_other_sums(archives, data, name):
    with (archives / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match=f"{name} has MD5 .* as published: damaged, or another file"):
        prepare("imagenet", data, archives)
    assert [p.name for p in data.iterdir()] == [".imagenet.lock"]


@pytest.mark.parametrize("name", [VAL, DEVKIT])
def test_archives_incomplete(archives, data, name):
    (archives / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing: all three archives are needed"):
        prepare("imagenet", data, archives)


@pytest.mark.parametrize(
    ("name", "member", "error"),
    [
        (TRAIN, "../n00000001.tar", "would be written elsewhere"),
        (TRAIN, "evil.sh", "holds evil.sh, which is no archive of a class: refused"),
        (VAL, "ILSVRC2012_val_00000005.JPEG", "which is no validation image: refused"),
        (VAL, "evil.sh", "which is no validation image: refused"),
    ],
)
def test_archives_with_something_else_in_them(archives, data, monkeypatch, name, member, error):
    (archives / name).write_bytes(tar_bytes([(member, b"x")]))
    renew_sums(archives, monkeypatch)
    with pytest.raises(DataError, match=error):
        prepare("imagenet", data, archives)
    assert [p.name for p in data.iterdir()] == [".imagenet.lock"]


def test_a_class_s_archive_that_leads_elsewhere(archives, data, monkeypatch):
    (archives / TRAIN).write_bytes(tar_bytes([("n00000005.tar", tar_bytes([("../../evil", b"x")]))]))
    renew_sums(archives, monkeypatch)
    with pytest.raises(DataError, match=r"n00000005.tar holds a file that would be written elsewhere"):
        prepare("imagenet", data, archives)
    assert not list(data.rglob("evil"))


def test_one_archive_alone_is_not_enough(archives, data):
    with pytest.raises(DataError, match="is one file: pass the folder that holds ILSVRC 2012's train and val images"):
        prepare("imagenet", data, archives / TRAIN)
