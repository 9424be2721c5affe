import errno
import json
import multiprocessing
import os

import numpy as np
import pytest
from sklearn.datasets import load_digits

from harness.data import packed
from harness.data.datasets import DataError, DataMissing
from harness.data.packed import (
    PackedWriter,
    building,
    fingerprint,
    manifest_of,
    open_packed,
    read_manifest,
    verify_packed,
)

PIXELS = np.arange(6 * 2 * 2 * 3, dtype=np.uint8).reshape(6, 2, 2, 3)
LABELS = np.array([0, 1, 0, -1, 1, 0])


def pack(data_dir, pixels=PIXELS, labels=LABELS, train=4):
    with building("cifar10", data_dir) as directory:
        writer = PackedWriter(directory, "cifar10", pixels.shape, ("cat", "dog"))
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


def test_fingerprint_sees_every_pixel_label_and_split(tmp_path):
    pixel, label = PIXELS.copy(), LABELS.copy()
    pixel[5, 1, 1, 2] += 1
    label[3] = 0
    prints = [
        pack(tmp_path / "same").fingerprint,
        pack(tmp_path / "pixel", pixels=pixel).fingerprint,
        pack(tmp_path / "label", labels=label).fingerprint,
        pack(tmp_path / "split", train=5).fingerprint,
        pack(tmp_path / "shape", pixels=PIXELS.reshape(6, 2, 6, 1)).fingerprint,
    ]
    assert len(set(prints)) == 5
    assert pack(tmp_path / "again").fingerprint == prints[0] == fingerprint("cifar10", tmp_path / "same")
    assert len(prints[0]) == 64


def test_fingerprint_does_not_read_the_pixels_again(tmp_path):
    manifest = pack(tmp_path)
    (tmp_path / "cifar10" / "pixels.npy").unlink()
    assert fingerprint("cifar10", tmp_path) == manifest.fingerprint
    with pytest.raises(DataError, match=r"is damaged .*: delete it and prepare it again"):
        open_packed(manifest, tmp_path)


def test_nothing_prepared(tmp_path):
    assert fingerprint("cifar10", tmp_path / "none") is None
    with pytest.raises(DataMissing, match="CIFAR-10 is not prepared: nothing at"):
        manifest_of("cifar10", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_digits_are_packed_on_first_use(tmp_path):
    bunch = load_digits()
    assert fingerprint("digits", tmp_path) == manifest_of("digits", tmp_path).fingerprint
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


def test_the_map_can_be_written_to_without_changing_the_files(tmp_path):
    manifest = pack(tmp_path)
    open_packed(manifest, tmp_path)[0][...] = 0
    verify_packed(manifest, tmp_path)


def test_verify_finds_one_changed_byte(tmp_path):
    manifest = pack(tmp_path)
    verify_packed(manifest, tmp_path)
    path = tmp_path / "cifar10" / "pixels.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="has changed since it was packed: delete it and prepare it again"):
        verify_packed(manifest, tmp_path)


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
    ("text", "error"), [("{", "is damaged"), ("{}", "is damaged"), ('{"format": 99}', "has format 99, not 1: delete")]
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
