import errno
import hashlib
import json
import multiprocessing
import os
import struct

import numpy as np
import pytest
from sklearn.datasets import load_digits

from harness.data import packed
from harness.data.datasets import DATASETS, DataError, DataMissing
from harness.data.packed import (
    PackedWriter,
    building,
    manifest_of,
    open_packed,
    read_manifest,
    verify_packed,
)

PIXELS = np.arange(6 * 2 * 2 * 3, dtype=np.uint8).reshape(6, 2, 2, 3)
LABELS = np.array([0, 1, 0, -1, 1, 0])


def pack(data_dir, pixels=PIXELS, labels=LABELS, train=4, name="cifar10"):
    with building(name, data_dir) as directory:
        writer = PackedWriter(directory, name, pixels.shape, ("cat", "dog"))
        writer.add("train", pixels[:1], labels[:1])
        writer.add("train", pixels[1:train], labels[1:train])
        writer.add("test", pixels[train:], labels[train:])
        return writer.close()


def test_what_is_packed_is_read_back(tmp_path):
    manifest = pack(tmp_path)
    assert read_manifest("cifar10", tmp_path) == manifest
    assert manifest.splits == {"train": (0, 4), "test": (4, 6)}
    pixels, labels = open_packed(manifest, tmp_path)
    assert isinstance(pixels, np.memmap)
    assert np.array_equal(pixels, PIXELS)
    assert np.array_equal(labels, LABELS)
    assert labels.dtype == np.int64
    assert sorted(p.name for p in (tmp_path / "cifar10").iterdir()) == ["labels.npy", "manifest.json", "pixels.npy"]
    assert not (tmp_path / ".cifar10.partial").exists()


def changed(first, second):
    """Which fingerprints differ between two manifests, such as `images train`."""
    kinds = (("images", first.images, second.images), ("labels", first.labels, second.labels))
    return [f"{kind} {split}" for kind, ours, theirs in kinds for split in ours if ours[split] != theirs[split]]


def test_fingerprints_by_hand(tmp_path):
    manifest = pack(tmp_path)
    assert manifest.images == {
        "train": hashlib.sha256(b"[2, 2, 3]" + bytes(range(48))).hexdigest(),
        "test": hashlib.sha256(b"[2, 2, 3]" + bytes(range(48, 72))).hexdigest(),
    }
    assert manifest.labels == {
        "train": hashlib.sha256(struct.pack("<4q", 0, 1, 0, -1)).hexdigest(),
        "test": hashlib.sha256(struct.pack("<2q", 1, 0)).hexdigest(),
    }


def test_fingerprints_see_what_has_changed_and_nothing_else(tmp_path):
    first = pack(tmp_path / "here")
    pixel, label = PIXELS.copy(), LABELS.copy()
    pixel[5, 1, 1, 2] += 1
    label[3] = 0
    assert changed(first, pack(tmp_path / "elsewhere")) == []
    assert changed(first, pack(tmp_path / "name", name="cifar100")) == []
    assert changed(first, pack(tmp_path / "pixel", pixels=pixel)) == ["images test"]
    assert changed(first, pack(tmp_path / "label", labels=label)) == ["labels train"]
    reshaped = pack(tmp_path / "shape", pixels=PIXELS.reshape(6, 2, 6, 1))
    assert changed(first, reshaped) == ["images train", "images test"]
    more = pack(tmp_path / "more", pixels=PIXELS[[0, 1, 2, 3, 0, 4, 5]], labels=LABELS[[0, 1, 2, 3, 0, 4, 5]], train=5)
    assert changed(first, more) == ["images train", "labels train"]


def test_the_same_images_have_the_same_fingerprint_in_any_split(tmp_path):
    twice = pack(tmp_path, PIXELS[[0, 1, 0, 1]], LABELS[[0, 1, 0, 1]], train=2)
    assert twice.images["train"] == twice.images["test"]
    assert twice.labels["train"] == twice.labels["test"]


def test_pixels_that_are_gone(tmp_path):
    manifest = pack(tmp_path)
    (tmp_path / "cifar10" / "pixels.npy").unlink()
    with pytest.raises(DataError, match=r"is damaged .*: delete it and prepare it again"):
        open_packed(manifest, tmp_path)


def test_nothing_prepared(tmp_path):
    assert read_manifest("cifar10", tmp_path / "none") is None
    with pytest.raises(DataMissing, match="CIFAR-10 is not prepared: nothing at"):
        manifest_of("cifar10", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_digits_are_packed_on_first_use(tmp_path):
    bunch = load_digits()
    manifest = manifest_of("digits", tmp_path)
    pixels, labels = open_packed(manifest, tmp_path)
    assert manifest.splits == {"train": (0, 1437), "test": (1437, 1797)}
    assert manifest.classes == tuple("0123456789")
    assert pixels.shape == (1797, 8, 8, 1)
    assert np.array_equal(labels, bunch.target)
    # 0..16 comes back exactly from 0..255
    assert np.array_equal(np.round(pixels[..., 0] * (16 / 255)), bunch.images)
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert read_manifest("digits", tmp_path) == manifest
    assert DATASETS["digits"].fingerprints == {split: fingerprints(manifest, split) for split in ("train", "test")}


def fingerprints(manifest, split):
    return manifest.images[split], manifest.labels[split]


def of_format_1(directory):
    """Make a prepared set look as version 1 wrote it."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["images"], manifest["labels"]
    path.write_text(json.dumps({**manifest, "fingerprint": "f" * 64, "format": 1}))


def test_digits_of_an_older_format_are_packed_anew(tmp_path):
    manifest = manifest_of("digits", tmp_path)
    of_format_1(tmp_path / "digits")
    (tmp_path / ".digits.older").mkdir()  # the remains of a process that was killed while it did so
    assert read_manifest("digits", tmp_path) is None
    assert manifest_of("digits", tmp_path) == manifest
    verify_packed(manifest, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".digits.lock", "digits"]


def test_digits_of_a_newer_format_are_left_alone(tmp_path):
    manifest_of("digits", tmp_path)
    path = tmp_path / "digits" / "manifest.json"
    path.write_text(path.read_text().replace(f'"format": {packed.FORMAT}', '"format": 99'))
    with pytest.raises(DataError, match=r"has format 99, not 2: delete .*digits and prepare it again"):
        manifest_of("digits", tmp_path)


def test_an_older_format_of_what_cannot_be_packed_anew_is_told(tmp_path):
    pack(tmp_path)
    of_format_1(tmp_path / "cifar10")
    with pytest.raises(DataError, match=r"has format 1, not 2: delete .*cifar10 and prepare it again"):
        manifest_of("cifar10", tmp_path)
    with pytest.raises(DataError, match="has format 1, not 2"):
        pack(tmp_path)
    assert (tmp_path / "cifar10" / "pixels.npy").exists()


def test_the_map_can_be_written_to_without_changing_the_files(tmp_path):
    manifest = pack(tmp_path)
    open_packed(manifest, tmp_path)[0][...] = 0
    verify_packed(manifest, tmp_path)


@pytest.mark.parametrize("chunk", [1, 3, 4096])
@pytest.mark.parametrize(
    ("file", "byte", "part"),
    [
        ("pixels.npy", -1, "images of split test"),
        ("pixels.npy", -72, "images of split train"),
        ("labels.npy", -9, "labels of split test"),
        ("labels.npy", -17, "labels of split train"),
    ],
)
def test_verify_names_the_split_of_one_changed_byte(tmp_path, file, byte, part, chunk):
    manifest = pack(tmp_path)
    verify_packed(manifest, tmp_path, chunk=chunk)
    path = tmp_path / "cifar10" / file
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=f"cifar10: the {part} have changed since it was packed: delete it and prepare it again"
    ):
        verify_packed(manifest, tmp_path, chunk=chunk)


def test_truncated_pixels_are_refused(tmp_path):
    manifest = pack(tmp_path)
    path = tmp_path / "cifar10" / "pixels.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="is damaged"):
        open_packed(manifest, tmp_path)


def test_other_arrays_than_the_manifest_says_are_refused(tmp_path):
    manifest = pack(tmp_path)
    np.save(tmp_path / "cifar10" / "labels.npy", LABELS[:3])
    with pytest.raises(DataError, match="does not hold what its manifest says"):
        open_packed(manifest, tmp_path)


@pytest.mark.parametrize(
    ("text", "error"), [("{", "is damaged"), ("{}", "is damaged"), ('{"format": 99}', "has format 99, not 2: delete")]
)
def test_unreadable_manifest(tmp_path, text, error):
    pack(tmp_path)
    (tmp_path / "cifar10" / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=error):
        read_manifest("cifar10", tmp_path)


def test_an_error_while_building_leaves_nothing(tmp_path):
    def fail():
        with building("cifar10", tmp_path) as directory:
            (directory / "pixels.npy").write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [p.name for p in tmp_path.iterdir() if p.name != ".cifar10.lock"] == []
    pack(tmp_path)  # and the lock is free


def test_full_disk_is_told(tmp_path):
    with (
        pytest.raises(DataError, match=r"cifar10: no space left in .*; nothing was kept"),
        building("cifar10", tmp_path),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert read_manifest("cifar10", tmp_path) is None


def test_data_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cifar10: cannot write to .*; choose another data directory"):
        pack(tmp_path / "file" / "below")


def test_what_is_in_the_way_is_told_and_left(tmp_path):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="cifar10 is in the way: it is no prepared dataset; move it elsewhere"):
        pack(tmp_path)
    assert (tmp_path / "cifar10" / "notes.txt").read_text() == "mine"


def _killed(data_dir):
    with building("cifar10", data_dir) as directory:
        (directory / "pixels.npy").write_bytes(b"half")
        os.kill(os.getpid(), 9)


def test_remains_of_a_killed_process_are_cleared(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert (tmp_path / ".cifar10.partial" / "pixels.npy").exists()
    assert read_manifest("cifar10", tmp_path) is None
    pack(tmp_path)
    assert not (tmp_path / ".cifar10.partial").exists()


def test_who_waits_finds_it_complete(tmp_path):
    pack(tmp_path)
    with building("cifar10", tmp_path) as directory:
        assert directory is None
    manifest = json.loads((tmp_path / "cifar10" / "manifest.json").read_text())
    assert manifest["format"] == packed.FORMAT
