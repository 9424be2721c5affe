import os
import pickle

import numpy as np
import pytest
from torchvision import datasets as tv

from harness.data.cifar import read_cifar, read_pickle
from harness.data.datasets import DataError


def test_cifar10_is_what_torchvision_reads(cifar10, monkeypatch, gathered):
    folder, planes, labels = cifar10
    classes, splits = gathered(read_cifar(folder, "cifar10"))
    assert np.array_equal(splits["train"][0], planes[:20].transpose(0, 2, 3, 1))
    assert np.array_equal(splits["test"][0], planes[20:].transpose(0, 2, 3, 1))
    assert splits["train"][1].tolist() == labels[:20]
    assert splits["test"][1].tolist() == labels[20:]
    monkeypatch.setattr(tv.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    for split, train in (("train", True), ("test", False)):
        reference = tv.CIFAR10(folder.parent, train)
        assert tuple(reference.classes) == classes
        assert np.array_equal(reference.data, splits[split][0])
        assert reference.targets == splits[split][1].tolist()


def test_cifar100_fine_labels_are_what_torchvision_reads(cifar100, monkeypatch, gathered):
    folder, planes, labels = cifar100
    classes, splits = gathered(read_cifar(folder, "cifar100"))
    assert np.array_equal(splits["train"][0], planes[:200].transpose(0, 2, 3, 1))
    assert splits["test"][1].tolist() == labels[200:]
    monkeypatch.setattr(tv.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    reference = tv.CIFAR100(folder.parent, train=False)
    assert tuple(reference.classes) == classes
    assert np.array_equal(reference.data, splits["test"][0])
    assert reference.targets == splits["test"][1].tolist()


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_something_is_refused_and_not_run(tmp_path, protocol):
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": Malicious(tmp_path / "run")}, protocol))
    with pytest.raises(DataError, match=r"data_batch_1: it asks for \w+.system, which no CIFAR file needs: refused"):
        read_pickle(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "value", [np.array([None, {}], dtype=object), np.float64(1), np.zeros(3, dtype=[("a", "u1")]), np.zeros(3)]
)
def test_arrays_of_anything_but_bytes_are_refused(cifar10, value, gathered):
    folder, *_ = cifar10
    (folder / "test_batch").write_bytes(pickle.dumps({"labels": [1, 2, 3], "data": value}, 2))
    with pytest.raises(DataError, match="test_batch"):
        gathered(read_cifar(folder, "cifar10"))


def test_an_array_larger_than_its_bytes_is_refused(cifar10, gathered):
    folder, *_ = cifar10
    path = folder / "test_batch"
    # The shape in the pickle's state: 6 images become 2,000 million.
    data = path.read_bytes()
    assert data.count(b"J\x06\0\0\0J\x00\x0c\0\0t") == 1
    path.write_bytes(data.replace(b"J\x06\0\0\0J\x00\x0c\0\0t", b"J\xff\xff\xff\x7fJ\x00\x0c\0\0t"))
    with pytest.raises(DataError, match="test_batch is damaged or not a CIFAR file"):
        gathered(read_cifar(folder, "cifar10"))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "is damaged or not a CIFAR file"),
        (b"\x80\x02}(", "is damaged or not a CIFAR file"),
        (pickle.dumps([1, 2]), "it holds a list, not a dictionary"),
        (pickle.dumps({"labels": [1]}), "is damaged or not a CIFAR file"),
        (pickle.dumps({"data": b"x" * 3072, "labels": [1]}), "is damaged or not a CIFAR file"),
    ],
)
def test_damaged_batches(cifar10, data, error, gathered):
    folder, *_ = cifar10
    (folder / "test_batch").write_bytes(data)
    with pytest.raises(DataError, match=error):
        gathered(read_cifar(folder, "cifar10"))


def test_truncated_and_missing_batches(cifar10, gathered):
    folder, *_ = cifar10
    path = folder / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="data_batch_3 is damaged or not a CIFAR file"):
        gathered(read_cifar(folder, "cifar10"))
    path.unlink()
    with pytest.raises(DataError, match="data_batch_3 is missing: the copy is incomplete"):
        gathered(read_cifar(folder, "cifar10"))


def test_class_names_must_be_there(cifar10):
    folder, *_ = cifar10
    (folder / "batches.meta").write_bytes(pickle.dumps({"other": 1}))
    with pytest.raises(DataError, match=r"batches.meta has no label_names: not cifar10\?"):
        read_cifar(folder, "cifar10")
