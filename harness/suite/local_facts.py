"""The content of what suites name, as this machine knows it: datasets, files of weights, verdicts on backbones.

Owns where an answer comes from: a dataset's local copy, else the catalogue, else what the store has recorded under that
name. A verdict on a backbone (one try a backbone, size, release of timm and, of an own one, version of its code) is
remembered in a file of the data directory that may be deleted. Imports no torch unless a backbone has to be tried.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from importlib import metadata
from pathlib import Path

from harness.data.facts import DatasetFacts, SplitFacts, dataset_facts
from harness.registry import BACKBONE, ExtensionError, in_use
from harness.spec.identity import identity_of
from harness.spec.models import Backbone, Input, Source
from harness.store.atomic import StoreError, write_text
from harness.store.digests import digest_of
from harness.store.store import Store
from harness.suite.facts import WeightsMissing

VERDICTS = ".backbones.json"
RELEASES = ("timm", "torch")


class LocalFacts:
    """See `facts.Facts`."""

    def __init__(self, data_dir: Path, store: Store, *, try_backbones: bool = False) -> None:
        """
        Args:
            data_dir: where prepared datasets are.
            store: whose records may describe a dataset that is not on this machine.
            try_backbones: whether a backbone of which nothing is remembered is tried, for which torch is imported;
                otherwise nothing is said against it.
        """
        self._data_dir, self._store, self._try_backbones = data_dir, store, try_backbones
        self._datasets: dict[str, DatasetFacts] = {}
        self._weights: dict[str, str] = {}
        self.weight_files: dict[str, Path] = {}
        """SHA-256 -> file, of the weights asked for so far."""

    def dataset(self, name: str) -> DatasetFacts:
        """Splits with their sizes and fingerprints, as far as they are known."""
        if name not in self._datasets:
            facts = dataset_facts(name, self._data_dir)
            if any(split.images is None for split in facts.splits.values()):
                facts = DatasetFacts(facts.here, self._recorded(name, facts.splits), facts.classes)
            self._datasets[name] = facts
        return self._datasets[name]

    def weights(self, path: str) -> str:
        """SHA-256 of a file of weights."""
        if path not in self._weights:
            try:
                with Path(path).open("rb") as file:
                    self._weights[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise WeightsMissing(f"backbone.weights: {path} cannot be read: {error.strerror or error}") from error
            self.weight_files[self._weights[path]] = Path(path)
        return self._weights[path]

    def backbone_problem(self, backbone: Backbone, encoder_input: Input) -> str | None:
        """Why an encoder cannot be built for such an input; None if it can, or nobody has tried."""
        built = backbone.model_copy(update={"weights": None})
        own = in_use(BACKBONE).get(built.name)
        code = [digest_of(own)] if own else []
        question = [self._releases, *code, identity_of(built), encoder_input.size, encoder_input.channels]
        key = json.dumps(question, sort_keys=True)
        if key not in self._verdicts and self._try_backbones:
            from harness.backbones import BackboneError, try_backbone
            from harness.own_backbones import register_with_timm

            try:
                register_with_timm(built.name)
                self._verdicts[key] = try_backbone(built, encoder_input)
            except (BackboneError, ExtensionError) as error:
                self._verdicts[key] = str(error)
            with contextlib.suppress(StoreError):  # it is tried again next time
                write_text(self._data_dir / VERDICTS, json.dumps(self._verdicts, indent=0, sort_keys=True))
        return self._verdicts.get(key)

    @cached_property
    def _releases(self) -> list[str]:
        return [f"{name} {metadata.version(name)}" for name in RELEASES]

    @cached_property
    def _verdicts(self) -> dict[str, str | None]:
        try:
            stored = json.loads((self._data_dir / VERDICTS).read_bytes())
        except (OSError, ValueError):
            return {}
        return stored if isinstance(stored, dict) else {}

    def _recorded(self, name: str, splits: Mapping[str, SplitFacts]) -> dict[str, SplitFacts]:
        """The splits, with the fingerprints of what stands under this name in the store, if that is one content."""
        recorded: dict[tuple[str, str], set[str]] = {}
        for source in self._sources:
            if source.name == name:
                for kind, shas in (("images", source.images), ("labels", source.labels)):
                    for split, sha in zip(source.splits, shas or (), strict=False):
                        recorded.setdefault((split, kind), set()).add(sha)

        def only(split: str, kind: str, known: str | None) -> str | None:
            shas = recorded.get((split, kind), set())
            return known or (next(iter(shas)) if len(shas) == 1 else None)

        return {
            name: SplitFacts(split.count, only(name, "images", split.images), only(name, "labels", split.labels))
            for name, split in splits.items()
        }

    @cached_property
    def _sources(self) -> list[Source]:
        """Every source that the store has a record of."""
        sources = []
        for record in self._store.pretrainings():
            sources += [record.spec.source] if record.spec.source else []
            for evaluation in self._store.evaluation_ids(record.id):
                answer = self._store.read_evaluation(record.id, evaluation).record
                sources += [answer.spec.train, answer.spec.scored] if answer else []
        return sources
