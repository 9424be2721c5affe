import pytest
from torchvision import datasets as tv

from harness.data.datasets import DATASETS
from harness.data.imagenet import DEVKIT, SUMS, TRAIN, VAL
from harness.data.recipes import RECIPES


def test_every_packed_dataset_has_a_recipe():
    assert set(RECIPES) == {name for name, info in DATASETS.items() if info.storage == "packed" and name != "digits"}
    assert all(DATASETS[name].get == "download" for name in RECIPES)


@pytest.mark.parametrize(
    ("name", "reference"), [("cifar10", tv.CIFAR10), ("cifar100", tv.CIFAR100), ("stl10", tv.STL10)]
)
def test_addresses_and_sums_are_torchvision_s(name, reference):
    (download,) = RECIPES[name].downloads
    assert (download.url, download.md5) == (reference.url, reference.tgz_md5)
    sums = dict(reference.train_list + reference.test_list)
    if name != "stl10":
        sums[reference.meta["filename"]] = reference.meta["md5"]
    assert RECIPES[name].sums == sums


def test_fashion_mnist_s_are_torchvision_s():
    downloads = RECIPES["fashion_mnist"].downloads
    assert [(item.file, item.md5) for item in downloads] == tv.FashionMNIST.resources
    assert {item.url.removesuffix(item.file) for item in downloads} == set(tv.FashionMNIST.mirrors)


def test_imagenet_s_are_torchvision_s():
    assert {TRAIN: SUMS[TRAIN], VAL: SUMS[VAL], DEVKIT: SUMS[DEVKIT]} == dict(tv.imagenet.ARCHIVE_META.values())
