"""The datasets by name: splits, sizes, normalisation and crops of the protocol, and where their files live.

Owns no pixels and reads no dataset: it is quick to import and knows nothing of torch. Another file of this folder may
end with `DATASET = DatasetInfo(...)` too, as may a user's own (`harness.registry`). A loader's code ages no result: the
fingerprints of the images and labels that it gave stand in every id.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from harness.registry import DATASET, all_datasets, in_use

HOME_VARIABLE = "HARNESS_DATA"
UNLABELED = "unlabeled"  # the split whose images have no labels: -1 stands for them
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DataError(ValueError):
    """A dataset that cannot be used as asked: what is wrong with it, where, and what to do."""


class DataMissing(DataError):
    """A dataset that is not on this machine: what to fetch, where to put it, and the command."""


Load = Callable[[str, Path], Any]
"""(split, folder) -> images (N, H, W, C) or (N, H, W) uint8 and labels (N,), -1 where there is none; or a dataset as
torchvision has them: a sequence of pairs of an image and its label, whose attribute `classes` may name the classes.
`folder` is what `--from` names, else a temporary one to download to."""


@dataclass(frozen=True)
class DatasetInfo:
    """What the protocol says of one dataset; None where the user's own images decide."""

    name: str
    title: str
    classes: int | None
    channels: Literal[1, 3]
    native_size: int | None
    """Side in pixels of the square images as published; None where they differ."""
    image_size: int
    """Side in pixels of training views and evaluation images in the protocol."""
    mean: tuple[float, ...]
    """Per channel, of pixels in [0, 1]."""
    std: tuple[float, ...]
    splits: Mapping[str, int]
    """Images in each split; empty where the user's own images decide."""
    source: str
    """What to fetch and where it comes from, for messages."""
    storage: Literal["packed", "streamed"] = "packed"
    """One memory-mapped uint8 array, or JPEG files decoded as they are needed."""
    get: Literal["embedded", "download", "copy"] = "download"
    """Packed on first use from an installed library; downloaded on request; or only from a copy that the user has."""
    load: str | Load | None = None
    """Of a dataset that is not built in: what reads a split when it is prepared, or its "module:function"."""
    pretrain: tuple[str, ...] = ("train",)
    """Splits shown to the self-supervised method; the probe trains on `train` and is scored on `test`."""
    eval_resize: int | None = None
    """Shorter edge before the centre crop to `image_size` in evaluation; None: resized straight where sizes differ."""
    fingerprints: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Of images and labels as prepared, by split (see `packed.Manifest`), so that who has no copy can name them too;
    empty where we have had none."""


_ALL = (
    DatasetInfo(
        # Real, in every scikit-learn: the test part of UCI's optical digits, in their order. The last fifth is kept
        # apart as test, because shuffling would put the same writers' digits on both sides. Mean and std are of the
        # 1,437 others.
        name="digits",
        title="Digits (scikit-learn, 8x8)",
        classes=10,
        channels=1,
        native_size=8,
        image_size=8,
        mean=(0.3054,),
        std=(0.3753,),
        splits={"train": 1437, "test": 360},
        fingerprints={
            "train": (
                "6b3f696fa254f0c65f19e8193af9d5006a604914be0b1bfb808751d76bd5e4d7",
                "cb6863cc760a900d01be551594691a090fd43e24c11ee63feaaf73315ad5e1d7",
            ),
            "test": (
                "0f7387e7cbde2a921c23fc3301eb05451767d0bf4e27365a151683428a5f4a72",
                "58c508427633b2936fa428117304c0906777e34c1db2e8cfbc37b8531f38a22e",
            ),
        },
        storage="packed",
        source="comes with scikit-learn",
        get="embedded",
    ),
    DatasetInfo(
        name="fashion_mnist",
        title="Fashion-MNIST",
        classes=10,
        channels=1,
        native_size=28,
        image_size=28,
        mean=(0.2860,),
        std=(0.3530,),
        splits={"train": 60_000, "test": 10_000},
        fingerprints={
            "train": (
                "85b131b111375558fe7e25aebe03a90a54b508c6dadd57ed9f2a807d78561cee",
                "e3245b63f7c40d1c8b652835f19744d970c1613b40ddac6bcfc87b9c46e16a0b",
            ),
            "test": (
                "bee21c5b53fb4382726e3e07c0d41da37a9081277e21bb66b58193b8eefd6c87",
                "d51d859896c55775b9e9e219b77ff03bcec1b6ac322f313544dc3f9e7bc94fae",
            ),
        },
        storage="packed",
        source="the four idx*-ubyte.gz files of Fashion-MNIST (Debian: package dataset-fashion-mnist)",
        get="download",
    ),
    DatasetInfo(
        name="cifar10",
        title="CIFAR-10",
        classes=10,
        channels=3,
        native_size=32,
        image_size=32,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        splits={"train": 50_000, "test": 10_000},
        storage="packed",
        source="cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
        get="download",
    ),
    DatasetInfo(
        name="cifar100",
        title="CIFAR-100",
        classes=100,
        channels=3,
        native_size=32,
        image_size=32,
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
        splits={"train": 50_000, "test": 10_000},
        storage="packed",
        source="cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
        get="download",
    ),
    DatasetInfo(
        name="stl10",
        title="STL-10",
        classes=10,
        channels=3,
        native_size=96,
        image_size=64,
        eval_resize=70,
        mean=(0.43, 0.42, 0.39),
        std=(0.27, 0.26, 0.27),
        splits={"train": 5_000, "unlabeled": 100_000, "test": 8_000},
        pretrain=("train", "unlabeled"),
        storage="packed",
        source="stl10_binary.tar.gz from https://cs.stanford.edu/~acoates/stl10",
        get="download",
    ),
    DatasetInfo(
        # The published test set has no labels: `test` is the official validation set.
        name="tiny_imagenet",
        title="Tiny ImageNet",
        classes=200,
        channels=3,
        native_size=64,
        image_size=64,
        mean=(0.480, 0.448, 0.398),
        std=(0.277, 0.269, 0.282),
        splits={"train": 100_000, "test": 10_000},
        storage="packed",
        source="tiny-imagenet-200.zip from http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        get="download",
    ),
    DatasetInfo(
        name="imagenet100",
        title="ImageNet-100",
        classes=100,
        channels=3,
        native_size=None,
        image_size=224,
        eval_resize=256,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        splits={"train": 126_689, "test": 5_000},
        storage="streamed",
        source="a copy of ImageNet (ILSVRC 2012), and the list of 100 classes published with CMC (imagenet100.txt)",
        get="copy",
    ),
    DatasetInfo(
        name="imagenet",
        title="ImageNet (ILSVRC 2012)",
        classes=1000,
        channels=3,
        native_size=None,
        image_size=224,
        eval_resize=256,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        splits={"train": 1_281_167, "test": 50_000},
        storage="streamed",
        source="ILSVRC 2012's train and val images from https://image-net.org (an account is needed)",
        get="copy",
    ),
    DatasetInfo(
        name="image_folder",
        title="A folder of images",
        classes=None,
        channels=3,
        native_size=None,
        image_size=224,
        eval_resize=256,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        splits={},
        storage="streamed",
        source="your own images as train/CLASS/*.jpg and test/CLASS/*.jpg",
        get="copy",
    ),
)

DATASETS: Mapping[str, DatasetInfo] = MappingProxyType({info.name: info for info in _ALL})


def dataset_info(name: str) -> DatasetInfo:
    """The dataset of that name; DataError with the known names if there is none."""
    if name in DATASETS:
        return DATASETS[name]
    known = all_datasets()
    if name not in known:
        raise DataError(f"unknown dataset {name!r}; known: {', '.join(known)}")
    return known[name]


def prepare_command(name: str) -> str:
    """`harness data prepare NAME`, with the user's file that defines the dataset, if one does."""
    extension = in_use(DATASET).get(name)
    return f"harness data prepare {name}" + (f" --extensions {extension.file}" if extension and extension.user else "")


def data_directory(explicit: str | Path | None = None) -> Path:
    """Where prepared datasets live: explicitly set, else $HARNESS_DATA, else `ssl-harness` in the user's cache."""
    chosen = explicit or os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification has relative paths ignored.
    return (Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache") / "ssl-harness"


def missing(name: str, data_dir: Path) -> DataMissing:
    """The error for a dataset that has not been prepared in `data_dir`."""
    info = dataset_info(name)
    extra = " --classes imagenet100.txt" if name == "imagenet100" else ""
    command = prepare_command(name)
    copy = f"{command} --from PATH{extra}"
    ways = f"run `{copy}`, where PATH is your copy"
    if info.get == "download":
        ways = f"run `{command}` to download it, or `{copy}`, where PATH is a copy you have"
    return DataMissing(
        f"{info.title} is not prepared: nothing at {data_dir / name}. What to fetch: {info.source}. Then {ways}. "
        f"The data directory is set by --data-dir or ${HOME_VARIABLE}."
    )
