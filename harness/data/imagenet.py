"""What is particular to ImageNet (ILSVRC 2012): its archives, its classes, and the 100 of ImageNet-100.

Owns the way from the three archives as published to folders of classes, and the checks that a copy is whole. Never
lists or decodes images.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.data.archives import BLOCK, Limits, Progress, Readable, intact, quiet, tar_members, unpack, unpack_tar
from harness.data.datasets import DataError, DatasetInfo
from harness.data.formats import WNID

GIB = 1 << 30
LIST_CLASSES, LIST_BYTES = 100, 1 << 16
VAL_IMAGES_PER_CLASS = 50
TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
# As torchvision carries them.
SUMS = {
    TRAIN: "1d675b47d978889d74fa0da5fadfb00e",
    VAL: "29b22e2961454d5413ddabcf34fc5622",
    DEVKIT: "fa75699e90414af021442c21a62c3abf",
}
CLASS_LIMITS = Limits(GIB, 10_000)
LIMITS = {TRAIN: Limits(200 * GIB, 2000), VAL: Limits(20 * GIB, 100_000), DEVKIT: Limits(GIB, 1000)}


def read_class_list(path: Path) -> tuple[str, ...]:
    """The 100 class ids of a list with one a line, sorted. What follows an id on its line is not read."""
    try:
        if path.stat().st_size > LIST_BYTES:
            raise DataError(f"{path} is too large for a list of {LIST_CLASSES} class ids")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the class list {path} ({error})") from error
    wnids: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        wnid = line.split()[0]
        if not WNID.fullmatch(wnid):
            raise DataError(f"{path}:{number}: {wnid!r} is no class id; expected one a line, such as n01440764")
        if wnid in wnids:
            raise DataError(f"{path}:{number}: {wnid} is there twice")
        wnids.append(wnid)
    if len(wnids) != LIST_CLASSES:
        raise DataError(f"{path} names {len(wnids)} classes, not {LIST_CLASSES}")
    return tuple(sorted(wnids))


def check_imagenet(info: DatasetInfo, root: Path, classes: tuple[str, ...], counts: Mapping[str, int]) -> None:
    """DataError unless a folder holds the classes and images of ImageNet, or of 100 of its classes.

    How many training images 100 classes have depends on the list; that every class has its 50 test images does not.
    """
    if len(classes) != info.classes or not all(WNID.fullmatch(wnid) for wnid in classes):
        raise DataError(
            f"{root}/train has {len(classes)} class folders; {info.title} has {info.classes}, such as n01440764"
        )
    expected = dict(info.splits)
    if info.name == "imagenet100":
        expected = {"test": VAL_IMAGES_PER_CLASS * len(classes)}
    for split, count in expected.items():
        if counts[split] != count:
            raise DataError(f"{root} has {counts[split]:,} {split} images, {info.title} {count:,}: an incomplete copy?")


def has_archives(folder: Path) -> bool:
    """Whether the folder holds ImageNet's archives rather than its images."""
    return (folder / TRAIN).is_file()


class _Summed:
    """A stream whose MD5 is taken as it is read, since reading 150 GB twice takes as long again."""

    def __init__(self, stream: Readable) -> None:
        self._stream, self._digest = stream, hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        return data

    def md5(self) -> str:
        while self.read(BLOCK):
            pass
        return self._digest.hexdigest()


def unpack_imagenet(folder: Path, into: Path, progress: Progress = quiet) -> None:
    """Unpack the three archives into `train/<class>/` and `val/<class>/`, checking their sums."""
    for name in (TRAIN, VAL, DEVKIT):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing: all three archives are needed ({TRAIN}, {VAL}, {DEVKIT})")
    wnids = _val_classes(folder / DEVKIT, into.with_name("devkit"))
    with (folder / VAL).open("rb") as file, intact(folder / VAL):
        val = _Summed(file)
        for member, _, contents in tar_members(val, LIMITS[VAL], VAL, progress):
            number = member.stem.rsplit("_", 1)[-1]
            if not number.isdigit() or not 1 <= int(number) <= len(wnids):
                raise DataError(f"{VAL} holds {member}, which is no validation image: refused")
            target = into / "val" / wnids[int(number) - 1] / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(contents.read())
        _check(VAL, val)
    with (folder / TRAIN).open("rb") as file, intact(folder / TRAIN):
        train = _Summed(file)
        for member, _, contents in tar_members(train, LIMITS[TRAIN], TRAIN, progress):
            if not WNID.fullmatch(member.stem) or member.suffix != ".tar":
                raise DataError(f"{TRAIN} holds {member}, which is no archive of a class: refused")
            target = into / "train" / member.stem
            target.mkdir(parents=True)
            unpack_tar(contents, target, CLASS_LIMITS, member.name)
        _check(TRAIN, train)


def _check(name: str, stream: _Summed) -> None:
    actual = stream.md5()
    if actual != SUMS[name]:
        raise DataError(
            f"{name} has MD5 {actual}, not {SUMS[name]} as published: damaged, or another file. Fetch it again"
        )


def _val_classes(archive: Path, scratch: Path) -> list[str]:
    """Class id of each validation image, in the order of their numbers, from the development kit."""
    from scipy.io import loadmat

    with archive.open("rb") as file:
        _check(DEVKIT, _Summed(file))
    scratch.mkdir()
    unpack(archive, scratch, LIMITS[DEVKIT])
    data = scratch / "ILSVRC2012_devkit_t12" / "data"
    synsets = loadmat(data / "meta.mat", squeeze_me=True)["synsets"]
    # Inner nodes of the hierarchy have children, classes have none.
    wnids = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets if int(s["num_children"]) == 0}
    numbers = (data / "ILSVRC2012_validation_ground_truth.txt").read_text().split()
    shutil.rmtree(scratch)
    return [wnids[int(number)] for number in numbers]
