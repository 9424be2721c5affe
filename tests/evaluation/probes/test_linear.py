import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from harness.evaluation.linear import Probe, train_probes
from harness.evaluation.probes.linear import LinearSettings
from harness.registry import all_probes
from tests.evaluation.features_alone import score_features, split

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = torch.tensor(PIXELS, dtype=torch.float32), torch.tensor(LABELS)
TRAIN, SCORED = split(X[:600], Y[:600], 10), split(X[600:900], Y[600:900], 10)
LINEAR, QUICK = all_probes()["linear"], {"epochs": 100, "batch_size": 50}


def test_hits_are_those_of_the_largest_logits():
    scores = score_features(LINEAR, QUICK, TRAIN, SCORED, seed=3)
    weights = train_probes(TRAIN.features(), TRAIN.labels, 10, [Probe(3, LinearSettings(**QUICK))], order_seed=3)
    ranked = np.argsort(-weights.logits(SCORED.features())[0].numpy(), axis=1)
    truth = LABELS[600:900, None]
    assert scores.hits["top1"].tolist() == (ranked[:, :1] == truth).any(1).tolist()
    assert scores.hits["top5"].tolist() == (ranked[:, :5] == truth).any(1).tolist()
    assert scores.metrics["top1"] > 80


@pytest.mark.parametrize(("classes", "reported"), [(5, False), (6, True)])
def test_top5_needs_more_than_five_classes(classes, reported):
    keep = classes > Y
    images = split(X[keep][:200], Y[keep][:200], classes)
    scores = score_features(LINEAR, {"epochs": 1}, images, images)
    assert ("top5" in scores.metrics) is reported
    names = [metric.name for metric in LINEAR.metrics(LinearSettings(), classes)]
    assert [*names, "balanced"] == list(scores.metrics)


def test_where_the_number_of_classes_is_not_known_top5_is_promised():
    assert [metric.name for metric in LINEAR.metrics(LinearSettings(), None)] == ["top1", "top5"]


def test_features_so_large_that_training_overflows_are_refused():
    huge = split(X[:100].clone().fill_(1e25), Y[:100], 10)
    with pytest.raises(ValueError, match=r"the linear probe overflowed: features reach 1\.0e\+25"):
        score_features(LINEAR, {"epochs": 3}, huge, SCORED)
