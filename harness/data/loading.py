"""From a source to its images: those that are trained on, those that are scored.

Owns the held-out validation part and the training subset, which are drawn once and are the same for every seed and
under every name. Never prepares a dataset (the embedded digits excepted) and never changes a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.datasets import DataError, dataset_info
from harness.data.folders import open_streamed
from harness.data.images import AnyImages, Images, StreamedImages
from harness.data.packed import Labels, Manifest, manifest_of, open_packed
from harness.spec.models import ScoredSplit, Source
from harness.streams import stream_seed

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Loaded:
    """Images with their labels, and what the labels are called."""

    images: AnyImages
    classes: tuple[str, ...]
    """Names in the order of the labels."""


def load_training(source: Source, data_dir: Path, channels: int) -> Loaded:
    """The images of all splits of the source, one behind the other, without its validation part; or its subset of them.

    Raises DataMissing if the dataset is not prepared, DataError if the local copy is not the content that the source
    names, has other channels than `channels`, or cannot be split as asked.
    """
    images, manifest = _open(source, data_dir, channels)
    rows = training_rows(images.labels, source)
    return Loaded(images if rows is None else images.take(rows), manifest.classes)


def load_scored(source: Source, split: ScoredSplit, data_dir: Path, channels: int) -> Loaded:
    """What is scored: `test`, all images of the source's splits; `validation`, those of them that it holds out.

    Raises as `load_training` does.
    """
    images, manifest = _open(source, data_dir, channels)
    if split == "validation":
        images = images.take(validation_rows(images.labels, source))
    return Loaded(images, manifest.classes)


def _open(source: Source, data_dir: Path, channels: int) -> tuple[AnyImages, Manifest]:
    """All images of the source's splits, and the manifest of the dataset."""
    manifest = manifest_of(source.name, data_dir)
    rows = _span(manifest, source.splits)
    _check_content(manifest, source, data_dir)
    if dataset_info(manifest.name).storage == "streamed":
        root, files, labels = open_streamed(manifest, data_dir)
        return StreamedImages(root, files, labels, channels).take(rows), manifest
    pixels, labels = open_packed(manifest, data_dir)
    if pixels.shape[-1] != channels:
        raise DataError(f"{source.name} has {pixels.shape[-1]} channels, not the {channels} asked for")
    return Images(pixels, labels).take(rows), manifest


def _span(manifest: Manifest, splits: tuple[str, ...]) -> slice:
    """The rows of splits that follow each other."""
    for split in splits:
        if split not in manifest.splits:
            raise DataError(f"{manifest.name} has no split {split!r}; it has {', '.join(manifest.splits)}")
    ranges = [manifest.splits[split] for split in splits]
    for (_, last), (first, _) in pairwise(ranges):
        if first != last:
            raise DataError(
                f"{manifest.name}: the splits {', '.join(splits)} do not follow each other; in its order they are "
                f"{', '.join(manifest.splits)}"
            )
    return slice(ranges[0][0], ranges[-1][1])


def _check_content(manifest: Manifest, source: Source, data_dir: Path) -> None:
    """DataError unless images and labels are those that the source names by their fingerprints."""
    parts = (("images", source.images, manifest.images), ("labels", source.labels, manifest.labels))
    for kind, planned, actual in parts:
        if planned is None:
            continue
        for split, sha in zip(source.splits, planned, strict=True):
            if sha != actual[split]:
                raise DataError(
                    f"{source.name}: the {kind} of split {split} in {data_dir / source.name} have fingerprint "
                    f"{actual[split][:12]}, not {sha[:12]} as planned: plan again, or use the data directory it was "
                    "planned with"
                )


def validation_rows(labels: Labels, source: Source) -> Positions:
    """Sorted positions of the images held out, in proportion to their classes, of those that have a label.

    Unlabelled images do not enter the draw: with them and without, a source holds out the same images.
    """
    labelled = np.flatnonzero(labels >= 0)
    count = round(len(labelled) * source.validation_fraction)
    if not 0 < count < len(labelled):
        asked = f"validation_fraction {source.validation_fraction} of {len(labelled)} images"
        raise DataError(f"{source.name}: {asked} holds out {count}; choose another fraction")
    return labelled[stratified(labels[labelled], count, stream_seed(0, "validation"))]


def training_rows(labels: Labels, source: Source) -> Positions | None:
    """Sorted positions of the images that are trained on; None: all of them.

    The subset is drawn from what is not held out, and unlabelled images count as one more class.
    """
    rows = np.arange(len(labels))
    if source.validation_fraction > 0:
        rows = np.setdiff1d(rows, validation_rows(labels, source))
    if source.train_images is not None:
        if source.train_images > len(rows):
            raise DataError(f"{source.name}: train_images is {source.train_images}, but there are only {len(rows)}")
        rows = rows[stratified(labels[rows], source.train_images, stream_seed(0, "train_images"))]
    return None if len(rows) == len(labels) else rows


def stratified(labels: Labels, count: int, seed: int) -> Positions:
    """Sorted positions of `count` images, each class in proportion to its share (largest remainders, ties by label)."""
    draw = np.random.default_rng(seed)
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    take, remainders = np.divmod(sizes * count, len(labels))
    take[np.argsort(-remainders, kind="stable")[: count - take.sum()]] += 1
    chosen = [draw.permutation(np.flatnonzero(inverse == index))[: take[index]] for index in range(len(classes))]
    return np.sort(np.concatenate(chosen))
