"""What is known of a dataset before an image is read: whether it is here, its images and classes, its fingerprints.

Owns which answer counts: a prepared copy's manifest, else the catalogue. Quick, and knows nothing of torch; never reads
a pixel, and prepares nothing but the embedded digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.data.datasets import UNLABELED, DatasetInfo, dataset_info
from harness.data.packed import Manifest, manifest_of, read_manifest
from harness.spec.models import Source


@dataclass(frozen=True)
class SplitFacts:
    """What is known of one split; None where it is not."""

    count: int | None
    """Number of images."""
    images: str | None
    """Fingerprint of the images, as in `packed.Manifest`."""
    labels: str | None
    """Fingerprint of the labels, likewise."""


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of one dataset."""

    here: bool
    """Whether it is prepared in the data directory."""
    splits: Mapping[str, SplitFacts]
    """By name; `train` and `test` always."""
    classes: int | None
    """None where the user's own images decide, and are not here."""


def dataset_facts(name: str, data_dir: Path) -> DatasetFacts:
    """From the manifest where the dataset is prepared, else from the catalogue.

    Digits are packed on first use. DataError for an unknown name, or a copy of a format that cannot be read.
    """
    info = dataset_info(name)
    manifest = manifest_of(name, data_dir) if info.get == "embedded" else read_manifest(name, data_dir)
    return _published(info) if manifest is None else _prepared(manifest)


def _prepared(manifest: Manifest) -> DatasetFacts:
    splits = {
        split: SplitFacts(last - first, manifest.images[split], manifest.labels[split])
        for split, (first, last) in manifest.splits.items()
    }
    return DatasetFacts(here=True, splits=splits, classes=len(manifest.classes))


def _published(info: DatasetInfo) -> DatasetFacts:
    splits = {
        split: SplitFacts(info.splits.get(split), *info.fingerprints.get(split, (None, None)))
        for split in info.splits or ("train", "test")
    }
    return DatasetFacts(here=False, splits=splits, classes=info.classes)


def training_count(source: Source, counts: Mapping[str, int | None]) -> int | None:
    """How many images `loading.load_training` gives, from the images in each split; None where that is not known."""
    if source.train_images is not None:
        return source.train_images
    total = labelled = 0
    for split in source.splits:
        count = counts.get(split)
        if count is None:
            return None
        total += count
        labelled += 0 if split == UNLABELED else count
    return total - round(labelled * source.validation_fraction)
