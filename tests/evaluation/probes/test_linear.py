import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from harness.evaluation.evaluate import score
from harness.evaluation.linear import Probe, train_probes
from harness.evaluation.probes import Labelled
from harness.evaluation.probes.linear import LinearSettings
from harness.registry import all_probes

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = torch.tensor(PIXELS, dtype=torch.float32), torch.tensor(LABELS)
TRAIN, SCORED = Labelled(X[:600], Y[:600]), Labelled(X[600:900], Y[600:900])
LINEAR, QUICK = all_probes()["linear"], {"epochs": 100, "batch_size": 50}


def test_hits_are_those_of_the_largest_logits():
    scores = score(LINEAR, QUICK, TRAIN, SCORED, 10, seed=3)
    weights = train_probes(TRAIN.features, TRAIN.labels, 10, [Probe(3, LinearSettings(**QUICK))], order_seed=3)
    ranked = np.argsort(-weights.logits(SCORED.features)[0].numpy(), axis=1)
    truth = LABELS[600:900, None]
    assert scores.hits["top1"].tolist() == (ranked[:, :1] == truth).any(1).tolist()
    assert scores.hits["top5"].tolist() == (ranked[:, :5] == truth).any(1).tolist()
    assert scores.metrics["top1"] > 80


@pytest.mark.parametrize(("classes", "reported"), [(5, False), (6, True)])
def test_top5_needs_more_than_five_classes(classes, reported):
    keep = classes > Y
    split = Labelled(X[keep][:200], Y[keep][:200])
    scores = score(LINEAR, {"epochs": 1}, split, split, classes, 0)
    assert ("top5" in scores.metrics) is reported
    names = [metric.name for metric in LINEAR.metrics(LinearSettings(), classes)]
    assert names == list(scores.metrics)


def test_where_the_number_of_classes_is_not_known_top5_is_promised():
    assert [metric.name for metric in LINEAR.metrics(LinearSettings(), None)] == ["top1", "top5"]


def test_features_so_large_that_training_overflows_are_refused():
    huge = Labelled(X[:100].clone().fill_(1e25), Y[:100])
    with pytest.raises(ValueError, match=r"the linear probe overflowed: features reach 1\.0e\+25"):
        score(LINEAR, {"epochs": 3}, huge, SCORED, 10, 0)
