"""Every evaluation row runs, on small features, and counts its work."""

import pytest
import torch

from harness.bench import evaluation
from harness.bench.timing import measure

NAMES = [row.name for row in evaluation.rows(torch.device("cpu"))]


@pytest.fixture
def small(monkeypatch):
    whole = evaluation.features
    monkeypatch.setattr(evaluation, "features", lambda machine, *sizes: whole(machine, 120, 30, 8))


@pytest.mark.parametrize("place", range(len(NAMES)), ids=NAMES)
def test_a_row_runs(place, small, machine):
    row = evaluation.rows(machine.device)[place]
    found = measure(row, machine, 0.01)
    assert found.reason == ""
    assert (len(found.conventional) > 0) == (row.conventional is not None)


def test_neighbours_agree_with_scikit_learn(small, machine):
    row = next(row for row in evaluation.rows(machine.device) if row.values)
    ours, theirs = row.values(machine)
    assert torch.equal(ours, theirs)
    assert len(set(ours.tolist())) > 1


def test_work_of_probes(small, machine):
    assert evaluation.probes(8)(machine).turn() == 8 * 2 / 500  # trainings of 500 epochs
    assert evaluation.probes(1, per_epoch=True)(machine).turn() == 2.0
    one = evaluation.probes(1, per_epoch=True)(machine)
    assert one.flops == 2 * 2 * 50_000 * 512 * 10  # logits and weight gradients
    assert evaluation.probes(8)(machine).flops == 500 * one.flops
    assert evaluation.neighbours()(machine).flops == 2 * 50_000 * 512


def test_features_are_separable_in_part(machine):
    train, labels, test = evaluation.features(machine, 100, 20, 16)
    assert (train.shape, labels.shape, test.shape) == ((100, 16), (100,), (20, 16))
    assert set(labels.tolist()) <= set(range(10))
    assert train.min() >= 0
