"""Questions asked of one encoder: its features, extracted once a split, and what the probes make of them. Owns which
images are shown to the encoder and in what order. The scored split is used for nothing else.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.loading import Loaded, load_scored, load_training, stratified
from harness.data.views import clean
from harness.evaluation.evaluate import Scores, score
from harness.evaluation.features import extract
from harness.evaluation.probes import Labelled
from harness.registry import all_probes
from harness.spec.identity import identity_of
from harness.spec.models import Input, Precision, Question, ScoredSplit, Source, Transform
from harness.streams import stream_seed

Role = Literal["train", "test", "validation"]


class Features:
    """Frozen features h of one encoder, each split extracted when it is first asked for."""

    def __init__(self, encoder: nn.Module, fed: Input, data_dir: Path, device: torch.device) -> None:
        self._encoder, self._input, self._data_dir, self._device = encoder, fed, data_dir, device
        self._kept: dict[str, Labelled] = {}

    def train(self, question: Question) -> Labelled:
        """Of the images that the probe is fitted on; of few labels, those that the question's seed draws."""
        labelled = self._labelled(question.train, "train", question.transform, question.precision)
        if question.label_fraction is None:
            return labelled
        labels = labelled.labels.numpy()
        count = max(1, round(len(labels) * question.label_fraction))
        rows = torch.from_numpy(stratified(labels, count, stream_seed(question.seed or 0, "few labels")))
        return Labelled(labelled.features[rows.to(labelled.features.device)], labelled.labels[rows])

    def scored(self, question: Question) -> Labelled:
        """Of the images that it is scored on."""
        return self._labelled(question.scored, question.split, question.transform, question.precision)

    def classes(self, question: Question) -> int:
        """Of the dataset that is asked about."""
        return len(self._loaded(question.scored, question.split).classes)

    def ask(self, question: Question) -> Scores:
        """The question's answer.

        Raises:
            DataError, DataMissing: images that cannot be read, or are not here.
            ValueError: what the probe refuses; see `score`.
        """
        train, scored = self.train(question), self.scored(question)
        probe = all_probes()[question.probe]
        return score(probe, question.settings, train, scored, self.classes(question), question.seed or 0)

    def _labelled(self, source: Source, role: Role, transform: Transform, precision: Precision) -> Labelled:
        key = json.dumps([identity_of(source), role, identity_of(transform), precision], sort_keys=True)
        if key not in self._kept:
            images = self._loaded(source, role).images
            batches = clean(images, self._input, transform, self._device)
            features = extract(self._encoder, batches, self._device, precision)
            self._kept[key] = Labelled(features, torch.from_numpy(np.array(images.labels)))
        return self._kept[key]

    def _loaded(self, source: Source, role: Role) -> Loaded:
        return load_images(source, role, self._data_dir, self._input.channels)

    def embedded_rows(self, question: Question, rows: Tensor) -> Tensor:
        """h (n, F) of some of the images that the probe is fitted on, all of whose features are at hand."""
        features = self._labelled(question.train, "train", question.transform, question.precision).features
        return features[rows.to(features.device)]


def load_images(source: Source, role: Role, data_dir: Path, channels: int) -> Loaded:
    """A source's images in one role, read once for neighbouring tasks that share them."""
    return _load_cached(source.model_dump_json(), role, data_dir, channels)


@lru_cache(maxsize=6)
def _load_cached(source: str, role: Role, data_dir: Path, channels: int) -> Loaded:
    spec = Source.model_validate_json(source)
    if role == "train":
        return load_training(spec, data_dir, channels)
    split: ScoredSplit = role
    return load_scored(spec, split, data_dir, channels)
