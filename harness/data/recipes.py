"""Where the packed datasets come from: addresses, published checksums, how large they may be, and which reader reads
them.

Owns no code that reads or writes. Addresses and sums are those torchvision carries (Tiny ImageNet's: its authors'
address, and the sum that its loaders agree on); Fashion-MNIST's are of the unzipped files, because copies are zipped
anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.data.archives import Limits
from harness.data.cifar import read_cifar
from harness.data.formats import read_fashion_mnist, read_stl10, read_tiny_imagenet
from harness.data.packed import Chunk

MIB = 1 << 20
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


@dataclass(frozen=True)
class Download:
    """One published file."""

    url: str
    md5: str
    limit: int
    """Bytes, with room to spare."""

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Recipe:
    """How one dataset is fetched, recognised, checked and read."""

    downloads: tuple[Download, ...]
    marker: str
    """The file by which a folder is recognised; .gz may follow."""
    limits: Limits
    """Of the unpacked files."""
    read: Callable[[Path], tuple[tuple[str, ...], Iterator[Chunk]]]
    sums: Mapping[str, str] = field(default_factory=dict)
    """MD5 of files in the folder, unzipped."""


RECIPES: Mapping[str, Recipe] = {
    "fashion_mnist": Recipe(
        downloads=(
            Download(FASHION + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 40 * MIB),
            Download(FASHION + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", MIB),
            Download(FASHION + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 10 * MIB),
            Download(FASHION + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", MIB),
        ),
        marker="train-images-idx3-ubyte",
        limits=Limits(100 * MIB, 100),
        read=read_fashion_mnist,
        sums={
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
    ),
    "cifar10": Recipe(
        downloads=(
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "c58f30108f718f92721af3b95e74349a",
                250 * MIB,
            ),
        ),
        marker="batches.meta",
        limits=Limits(300 * MIB, 100),
        read=partial(read_cifar, name="cifar10"),
        sums={
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
    ),
    "cifar100": Recipe(
        downloads=(
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                "eb9058c3a382ffc7106e4002c42a8d85",
                250 * MIB,
            ),
        ),
        marker="meta",
        limits=Limits(300 * MIB, 100),
        read=partial(read_cifar, name="cifar100"),
        sums={
            "meta": "7973b15100ade9c7d40fb424638fde48",
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        },
    ),
    "stl10": Recipe(
        downloads=(
            Download(
                "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
                "91f7769df0f17e558f3565bffb0c7dfb",
                3500 * MIB,
            ),
        ),
        marker="train_X.bin",
        limits=Limits(4000 * MIB, 100),
        read=read_stl10,
        sums={
            "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
            "train_y.bin": "5a34089d4802c674881badbb80307741",
            "unlabeled_X.bin": "5242ba1fed5e4be9e1e742405eb56ca4",
            "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
            "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
        },
    ),
    "tiny_imagenet": Recipe(
        downloads=(
            Download(
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                "90528d7ca1a48142e341f4ef8d21d0de",
                400 * MIB,
            ),
        ),
        marker="wnids.txt",
        limits=Limits(1000 * MIB, 200_000),
        read=read_tiny_imagenet,
    ),
}
