"""Questions asked of one encoder: its features, extracted once a split where a probe wants them, and what the probes
make of it. Owns which images stand for which split. The scored split is used for nothing else.
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
from harness.evaluation.split import PrivateEncoder, Shown, Split
from harness.registry import all_probes
from harness.spec.identity import identity_of
from harness.spec.models import Input, Question, ScoredSplit, Source
from harness.streams import stream_seed

Role = Literal["train", "test", "validation"]


class Features:
    """Frozen features h of one encoder, each split extracted when it is first asked for, and its splits for probes."""

    def __init__(self, encoder: nn.Module, input: Input, data_dir: Path, device: torch.device) -> None:
        self._encoder, self._input, self._data_dir, self._device = encoder, input, data_dir, device
        self._kept: dict[str, Tensor] = {}

    def train(self, question: Question) -> Split:
        """The images that the probe is fitted on; of few labels, those that the question's seed draws."""
        split = self._split("training", question.train, "train", question)
        if question.label_fraction is None:
            return split
        labels = split.labels.numpy()
        count = max(1, round(len(labels) * question.label_fraction))
        return split.take(torch.from_numpy(stratified(labels, count, stream_seed(question.seed or 0, "few labels"))))

    def scored(self, question: Question) -> Split:
        """The images that it is scored on."""
        return self._split("scored", question.scored, question.split, question)

    def ask(self, question: Question) -> Scores:
        """The question's answer.

        Raises:
            DataError, DataMissing: images that cannot be read, or are not here.
            ValueError: what the probe refuses; see `score`.
        """
        shown = self._shown(question)

        def private() -> PrivateEncoder:
            return PrivateEncoder(self._encoder, question.precision, shown)

        probe, train, scored = all_probes()[question.probe], self.train(question), self.scored(question)
        return score(probe, question.settings, private, train, scored, question.seed or 0)

    def embedded_rows(self, question: Question, rows: Tensor) -> Tensor:
        """h (n, F) of some of the images that the probe is fitted on."""
        features = self._extracted(question.train, "train", question)
        return features[rows.to(features.device)]

    def _split(self, called: str, source: Source, role: Role, question: Question) -> Split:
        loaded = self._loaded(source, role)
        return Split(
            called,
            torch.from_numpy(np.array(loaded.images.labels)),
            loaded.classes,
            lambda: self._extracted(source, role, question),
            loaded.images,
            self._shown(question),
        )

    def _extracted(self, source: Source, role: Role, question: Question) -> Tensor:
        shown = [identity_of(source), role, identity_of(question.transform), question.precision]
        key = json.dumps(shown, sort_keys=True)
        if key not in self._kept:
            images = self._loaded(source, role).images
            batches = clean(images, self._input, question.transform, self._device)
            self._kept[key] = extract(self._encoder, batches, self._device, question.precision)
        return self._kept[key]

    def _loaded(self, source: Source, role: Role) -> Loaded:
        return load_images(source, role, self._data_dir, self._input.channels)

    def _shown(self, question: Question) -> Shown:
        return Shown(self._input, question.transform, self._device)


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
