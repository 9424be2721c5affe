"""From a cell's dataset to the images of each role: pretraining, probe, test, validation.

Owns the held-out validation part and the training subset, which are drawn once and are the same for every seed. Never
prepares a dataset (the embedded digits excepted) and never changes a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.datasets import DataError, dataset_info
from harness.data.folders import open_streamed
from harness.data.images import AnyImages, Images, StreamedImages
from harness.data.packed import Labels, Manifest, manifest_of, open_packed
from harness.streams import stream_seed
from harness.suite.cell import DatasetSpec


@dataclass(frozen=True)
class Dataset:
    """The images of each role."""

    spec: DatasetSpec
    classes: int
    class_names: tuple[str, ...]
    pretrain: AnyImages
    probe: AnyImages
    """The labelled training images; without the validation part, as `pretrain` is."""
    test: AnyImages
    validation: AnyImages | None
    """None unless the spec holds some out."""


def load(spec: DatasetSpec, data_dir: Path) -> Dataset:
    """The dataset of a cell.

    Raises DataMissing if it is not prepared, DataError if the local copy is not the one the spec names by
    fingerprint, has other channels, or cannot be split as asked.
    """
    info = dataset_info(spec.name)
    manifest = manifest_of(spec.name, data_dir)
    if spec.fingerprint not in (None, manifest.fingerprint):
        raise DataError(
            f"{spec.name}: the copy in {data_dir / spec.name} has fingerprint {manifest.fingerprint[:12]}, the cell "
            f"was planned with {str(spec.fingerprint)[:12]}: plan again, or use the data directory it was planned with"
        )
    images = _open(manifest, data_dir, spec)
    first, last = _span(manifest, info.pretrain)
    train_first, train_last = manifest.splits["train"]
    training, labelled = images.take(slice(first, last)), (train_first - first, train_last - first)
    validation, rows = training_rows(training.labels, labelled, spec)
    probe = training.take(slice(*labelled))
    if rows is not None:
        probe = training.take(rows[(rows >= labelled[0]) & (rows < labelled[1])])
    if not len(probe):
        raise DataError(f"{spec.name}: none of the {spec.train_images} training images drawn has a label; use more")
    return Dataset(
        spec=spec,
        classes=len(manifest.classes),
        class_names=manifest.classes,
        pretrain=training if rows is None else training.take(rows),
        probe=probe,
        test=images.take(slice(*manifest.splits["test"])),
        validation=None if validation is None else training.take(validation),
    )


def _open(manifest: Manifest, data_dir: Path, spec: DatasetSpec) -> AnyImages:
    """All images of a prepared dataset."""
    if dataset_info(manifest.name).storage == "streamed":
        root, files, labels = open_streamed(manifest, data_dir)
        return StreamedImages(root, files, labels, spec.channels)
    pixels, labels = open_packed(manifest, data_dir)
    if pixels.shape[-1] != spec.channels:
        raise DataError(f"{spec.name} has {pixels.shape[-1]} channels, not the {spec.channels} asked for")
    return Images(pixels, labels)


def _span(manifest: Manifest, splits: tuple[str, ...]) -> tuple[int, int]:
    """The rows of splits that follow each other."""
    first, last = manifest.splits[splits[0]]
    for split in splits[1:]:
        assert manifest.splits[split][0] == last, f"{manifest.name}: {splits} are not contiguous"
        last = manifest.splits[split][1]
    return first, last


def training_rows(
    labels: Labels, labelled: tuple[int, int], spec: DatasetSpec
) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64] | None]:
    """Rows held out for validation, and rows of the training images kept; None where nothing is held out, all is kept.

    `labels` are those of the pretraining images, `labelled` the range of them that the probe may use. Validation is
    drawn from the labelled images first; the subset from what is left, where unlabelled images count as one more
    class.
    """
    rows = np.arange(len(labels))
    validation = None
    if spec.validation_fraction > 0:
        first, last = labelled
        count = round((last - first) * spec.validation_fraction)
        if not 0 < count < last - first:
            asked = f"validation_fraction {spec.validation_fraction} of {last - first} images"
            raise DataError(f"{spec.name}: {asked} holds out {count}; choose another fraction")
        validation = first + stratified(labels[first:last], count, stream_seed(0, "validation", spec.name))
        rows = np.setdiff1d(rows, validation)
    if spec.train_images is not None:
        if spec.train_images > len(rows):
            raise DataError(f"{spec.name}: train_images is {spec.train_images}, but there are only {len(rows)}")
        rows = rows[stratified(labels[rows], spec.train_images, stream_seed(0, "train_images", spec.name))]
    return validation, None if len(rows) == len(labels) else rows


def stratified(labels: Labels, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Sorted positions of `count` images, each class in proportion to its share (largest remainders, ties by label)."""
    draw = np.random.default_rng(seed)
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    take, remainders = np.divmod(sizes * count, len(labels))
    take[np.argsort(-remainders, kind="stable")[: count - take.sum()]] += 1
    chosen = [draw.permutation(np.flatnonzero(inverse == index))[: take[index]] for index in range(len(classes))]
    return np.sort(np.concatenate(chosen))
