"""What is measured on one cell's encoder: features, neighbours and collapse on the way, everything at the end.

Owns which images are shown to the encoder and in what order; the arithmetic is `harness.evaluation`'s. The split a cell
is scored on is used for nothing else.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.images import AnyImages
from harness.data.loading import Dataset
from harness.data.views import ViewStream, clean
from harness.evaluation.collapse import collapsed, diagnose
from harness.evaluation.evaluate import Evaluation, Labelled, evaluate
from harness.evaluation.features import extract
from harness.evaluation.sample import principal_sample, sample_rows
from harness.store.result import Sample
from harness.streams import stream
from harness.suite.cell import Cell
from methods.method import Method


@dataclass
class Measurer:
    """Measures one cell; `method` is None where nothing is trained."""

    cell: Cell
    dataset: Dataset
    encoder: nn.Module
    """What is evaluated: the trained encoder, a random one, or `nn.Flatten` for pixels."""
    method: Method | None
    device: torch.device
    finish_seconds: float = 0.0
    """That `finish` took."""
    sample: Sample | None = None
    """Of the features of the scored split; set by `finish`."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Collapse diagnostics at each reading, oldest first; on resuming, those of the curve are put back."""

    def due(self, epochs_done: int) -> bool:
        """Whether the curve gets a reading now: at the cadence, but not after the last epoch (`finish` measures it)."""
        knn = self.cell.evaluation.knn
        every = knn.every_epochs if knn else 0
        return bool(every) and epochs_done % every == 0 and epochs_done != self.cell.epochs

    def on_the_way(self, epochs_done: int) -> dict[str, float]:
        """k-NN accuracy and collapse diagnostics for the curve, {} where none is due."""
        if not self.due(epochs_done):
            return {}
        probe, scored = self.labelled(self.dataset.probe), self.labelled(self.scored)
        knn_only = self.cell.evaluation.model_copy(update={"linear": None, "lbfgs": None})
        outcome = evaluate(probe, scored, knn_only, self.dataset.classes, self.cell.seed)
        diagnostics = self._diagnostics(probe.features[self._sample_rows()], None)
        values = {name: float(value) for name, value in diagnostics.items() if not isinstance(value, list)}
        self.history.append(values)
        return outcome.metrics | values

    def finish(self) -> Evaluation:
        """Every metric of the cell, and the diagnostics of h and v with the collapse flag."""
        began = time.monotonic()
        probe, scored = self.labelled(self.dataset.probe), self.labelled(self.scored)
        rows = self._sample_rows()
        diagnostics = self._diagnostics(probe.features[rows], self._two_views(rows))
        # an encoder that was not trained has not collapsed, whatever its spectrum is like
        trained = self.method is not None
        diagnostics["collapsed"] = trained and collapsed([*self.history, diagnostics], self.cell.evaluation.collapse)
        outcome = evaluate(probe, scored, self.cell.evaluation, self.dataset.classes, self.cell.seed)
        shown = sample_rows(len(scored.labels))
        self.sample = principal_sample(scored.features[shown.to(scored.features.device)], scored.labels[shown])
        self.finish_seconds = time.monotonic() - began
        return dataclasses.replace(outcome, diagnostics=diagnostics | outcome.diagnostics)

    @property
    def scored(self) -> AnyImages:
        """The images of the split that the cell is scored on."""
        if self.cell.evaluation.split == "test":
            return self.dataset.test
        assert self.dataset.validation is not None
        return self.dataset.validation

    def labelled(self, images: AnyImages) -> Labelled:
        """h (N, F) of clean images, and their labels."""
        batches = clean(images, self.cell.dataset, self.device)
        features = extract(self.encoder, batches, self.device, self.cell.precision)
        return Labelled(features, torch.from_numpy(np.array(images.labels)))

    def _diagnostics(self, h: Tensor, views: tuple[Tensor, Tensor] | None) -> dict[str, Any]:
        """Of encoder outputs h (n, F) and, with a head, its outputs v; `views` are h of two augmented views."""
        found = diagnose(h, views).record("h")
        v = self._embed(h)
        if v is not None:
            first, second = (self._embed(views[0]), self._embed(views[1])) if views else (None, None)
            found |= diagnose(v, None if first is None or second is None else (first, second)).record("v")
        return found

    def _sample_rows(self) -> Tensor:
        """Rows of the probe split that the diagnostics look at: drawn once, the same for every method and seed."""
        count = min(self.cell.evaluation.collapse.sample_images, len(self.dataset.probe))
        return torch.randperm(len(self.dataset.probe), generator=stream(0, "collapse sample"))[:count]

    def _two_views(self, rows: Tensor) -> tuple[Tensor, Tensor] | None:
        """h of two augmented views of the sampled images, for alignment; None where nothing is augmented."""
        if self.cell.augmentation is None:
            return None
        images = self.dataset.probe.take(rows.numpy())
        size = min(256, len(images))
        stream_of_pairs = ViewStream(
            images, self.cell.dataset, self.cell.augmentation, 2, size, self.cell.seed, self.device
        )
        pairs = [batch.views for batch in stream_of_pairs.epoch(0)]
        first, second = (
            extract(self.encoder, (pair[side] for pair in pairs), self.device, self.cell.precision) for side in (0, 1)
        )
        return first, second

    def _embed(self, features: Tensor) -> Tensor | None:
        """v of encoder outputs h, in eval mode; None where there is no head."""
        if self.method is None:
            return None
        training = self.method.training
        with torch.inference_mode():
            embedded = self.method.eval().embed(features)
        self.method.train(training)
        return embedded
