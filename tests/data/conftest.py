"""Small datasets in the formats that the real ones are published in, and a catalogue that expects their sizes."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from harness.data import datasets, recipes

CIFAR10_NAMES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]


@pytest.fixture
def gathered():
    def gather(contents):
        """Class names, and by split the pixels and labels of all chunks."""
        classes, chunks = contents
        splits = {}
        for split, pixels, labels in chunks:
            splits.setdefault(split, []).append((pixels, labels))
        return classes, {s: [np.concatenate(part) for part in zip(*parts, strict=True)] for s, parts in splits.items()}

    return gather


def random_pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def sizes(monkeypatch):
    """Expect other split sizes (and classes) of a dataset than the published ones."""

    def change(name, classes=None, **splits):
        info = datasets.DATASETS[name]
        changed = replace(info, splits=splits, classes=classes or info.classes)
        monkeypatch.setattr(datasets, "DATASETS", {**datasets.DATASETS, name: changed})

    return change


@pytest.fixture
def sums(monkeypatch):
    """Expect the checksums of the files in a folder; without a folder, none."""

    def change(name, folder=None):
        recipe = recipes.RECIPES[name]
        found = {file: md5(plain(folder, file)) for file in recipe.sums} if folder else {}
        monkeypatch.setitem(recipes.RECIPES, name, replace(recipe, sums=found))

    return change


def plain(folder, file):
    path = folder / file
    return path.read_bytes() if path.exists() else gzip.decompress((folder / f"{file}.gz").read_bytes())


def md5(data):
    return hashlib.md5(data).hexdigest()


def tar_gz(folder, archive):
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def zipped(folder, archive):
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(folder.rglob("*")):
            target.write(path, path.relative_to(folder.parent))
    return archive


def python2(value):
    """Pickled as Python 2 did for CIFAR: protocol 2, text as byte strings. Only what CIFAR's dictionaries hold."""
    out = io.BytesIO(b"")
    out.write(b"\x80\x02")

    def put(item):
        if isinstance(item, dict):
            out.write(b"}(")
            for key, content in item.items():
                put(key)
                put(content)
            out.write(b"u")
        elif isinstance(item, list):
            out.write(b"](")
            for content in item:
                put(content)
            out.write(b"e")
        elif isinstance(item, int):
            out.write(b"J" + struct.pack("<i", item))
        elif isinstance(item, bytes):
            out.write(b"T" + struct.pack("<i", len(item)) + item)
        else:  # an array: reconstruct, then its state (version, shape, dtype, order, bytes)
            out.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01(")
            for side in item.shape:
                put(side)
            out.write(
                b"tcnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            )
            put(item.tobytes())
            out.write(b"tb")

    put(value)
    out.write(b".")
    return out.getvalue()


@pytest.fixture
def cifar10(tmp_path):
    """The folder of 5 x 4 training and 6 test images, its pixels (26, 3, 32, 32) and its labels."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    planes, labels = random_pixels(0, 26, 3, 32, 32), [(3 * i) % 10 for i in range(26)]
    (folder / "batches.meta").write_bytes(python2({b"label_names": CIFAR10_NAMES, b"num_vis": 3072}))
    for number in range(6):
        name = f"data_batch_{number + 1}" if number < 5 else "test_batch"
        rows = slice(4 * number, 4 * number + 4) if number < 5 else slice(20, 26)
        batch = {b"batch_label": name.encode(), b"labels": labels[rows], b"data": planes[rows].reshape(-1, 3072)}
        (folder / name).write_bytes(python2(batch))
    return folder, planes, labels


@pytest.fixture
def cifar100(tmp_path):
    """The folder of 200 training and 100 test images, pickled by Python 3; pixels and fine labels."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    planes, labels = random_pixels(1, 300, 3, 32, 32), [(7 * i) % 100 for i in range(300)]
    names = [f"class {i:02}" for i in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": ["x"] * 20}, 2))
    for name, rows in (("train", slice(0, 200)), ("test", slice(200, 300))):
        batch = {"fine_labels": labels[rows], "coarse_labels": [0] * len(labels[rows])}
        batch["data"] = planes[rows].reshape(-1, 3072)
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    return folder, planes, labels


@pytest.fixture
def fashion(tmp_path):
    """The folder of gzipped IDX files, 30 training and 20 test images; pixels (50, 28, 28) and labels."""
    folder = tmp_path / "fashion"
    folder.mkdir()
    pixels, labels = random_pixels(2, 50, 28, 28), np.arange(50, dtype=np.uint8) % 10
    for prefix, rows in (("train", slice(0, 30)), ("t10k", slice(30, 50))):
        count = rows.stop - rows.start
        images = struct.pack(">HBBIII", 0, 8, 3, count, 28, 28) + pixels[rows].tobytes()
        numbers = struct.pack(">HBBI", 0, 8, 1, count) + labels[rows].tobytes()
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(numbers))
    return folder, pixels, labels


@pytest.fixture
def stl10(tmp_path):
    """The folder of 10 training, 12 unlabelled and 6 test images; pixels (28, 96, 96, 3) and labels, -1 where none."""
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    pixels = random_pixels(3, 28, 96, 96, 3)
    labels = np.concatenate([np.arange(10)[::-1], np.full(12, -1), np.arange(6)])
    for split, rows in (("train", slice(0, 10)), ("unlabeled", slice(10, 22)), ("test", slice(22, 28))):
        # Three planes an image, each column by column.
        (folder / f"{split}_X.bin").write_bytes(pixels[rows].transpose(0, 3, 2, 1).tobytes())
        if split != "unlabeled":
            (folder / f"{split}_y.bin").write_bytes((labels[rows] + 1).astype(np.uint8).tobytes())
    names = "airplane bird car cat deer dog horse monkey ship truck"
    (folder / "class_names.txt").write_text(names.replace(" ", "\n") + "\n")
    return folder, pixels, labels


def save_jpeg(path, seed, size=(64, 64), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = random_pixels(seed, 8, 8, 3)
    image = Image.fromarray(grid).convert(mode).resize(size, Image.Resampling.BICUBIC)
    image.save(path, "JPEG")


@pytest.fixture
def tiny(tmp_path):
    """Tiny ImageNet's folder with 3 classes (ids not in order in wnids.txt) of 4 training and 2 validation images."""
    folder = tmp_path / "tiny-imagenet-200"
    wnids = ["n02000000", "n01000000", "n03000000"]
    for c, wnid in enumerate(wnids):
        for i in range(4):
            # One of the images is grey, as some of the real ones are.
            save_jpeg(
                folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 10 * c + i, mode="L" if i == 3 else "RGB"
            )
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t63\t63\n")
    lines = []
    for i in range(6):
        save_jpeg(folder / "val" / "images" / f"val_{i}.JPEG", 100 + i)
        lines.append(f"val_{i}.JPEG\t{wnids[i % 3]}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    save_jpeg(folder / "test" / "images" / "test_0.JPEG", 200)
    (folder / "wnids.txt").write_text("\n".join(wnids) + "\n")
    return folder


@pytest.fixture
def image_folder(tmp_path):
    """A user's folder: two classes, images of different sizes and kinds, one of them grey."""
    folder = tmp_path / "pets"
    for number, (name, size) in enumerate(
        [("train/cat/a.jpg", (50, 40)), ("train/cat/deep/b.JPG", (33, 60)), ("train/dog/c.jpeg", (40, 40))]
    ):
        save_jpeg(folder / name, number, size, mode="L" if number == 1 else "RGB")
    save_jpeg(folder / "train/dog/d.jpg", 3, (70, 30))
    save_jpeg(folder / "train/dog/e.jpg", 4, (30, 31))
    save_jpeg(folder / "val/dog/f.jpg", 5, (64, 48))
    save_jpeg(folder / "val/cat/g.jpg", 6, (48, 48))
    (folder / "train" / "cat" / "notes.txt").write_text("not an image")
    return folder
