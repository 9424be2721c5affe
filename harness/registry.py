"""Where methods, probes and datasets are found: built in, registered by an installed distribution, or in a user's file.

Owns one call a kind; their contracts are the rooms' own. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.datasets import DATASETS, DatasetInfo
from harness.evaluation.probes import ProbeEntry, probe_sources, probes
from methods import catalogue, method_sources

if TYPE_CHECKING:
    from methods.entry import MethodEntry


def all_methods(files: Iterable[Path] = ()) -> dict[str, MethodEntry]:
    """Every method by name. MethodFileError where one of the users' own `files` cannot be used."""
    return catalogue(files)


def all_probes() -> dict[str, ProbeEntry]:
    """Every probe by name."""
    return probes()


def all_datasets() -> Mapping[str, DatasetInfo]:
    """Every dataset by name."""
    return DATASETS


def extension_sources(files: Iterable[Path] = ()) -> dict[str, Path]:
    """The file of each extension, by kind and name: `method w_mse`, `probe knn`."""
    found = {f"method {name}": path for name, path in method_sources(files).items()}
    return found | {f"probe {name}": path for name, path in probe_sources().items()}
