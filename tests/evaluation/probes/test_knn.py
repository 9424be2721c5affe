import pytest
import torch
from sklearn.datasets import load_digits

from harness.evaluation.knn import knn_predict
from harness.registry import all_probes
from tests.evaluation.features_alone import score_features, split

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = torch.tensor(PIXELS, dtype=torch.float32), torch.tensor(LABELS)
KNN = all_probes()["knn"]


def test_hits_are_those_of_the_vote():
    scores = score_features(KNN, {"k": 3}, split(X[:600], Y[:600], 10), split(X[600:900], Y[600:900], 10))
    expected = knn_predict(X[:600], Y[:600], X[600:900], 3) == Y[600:900]
    assert scores.hits["top1"].tolist() == expected.tolist()
    assert scores.metrics["top1"] == pytest.approx(100 * expected.float().mean().item())
    assert [metric.heading for metric in scores.values] == ["3-NN %", "3-NN, balanced %"]


def test_k_counts_neighbours():
    train = split(torch.tensor([[0.0], [1.0], [1.1]]), [0, 1, 1], 2)
    scored = split(torch.tensor([[0.1]]), [0], 2)
    assert score_features(KNN, {"k": 1}, train, scored).metrics["top1"] == 100.0
    assert score_features(KNN, {"k": 3}, train, scored).metrics["top1"] == 0.0


def test_it_needs_k_training_images():
    assert KNN.needed_images(KNN.settings(k=20)) == 20
    few = split(X[:4], Y[:4], 10)
    with pytest.raises(ValueError, match="k=5 needs at least 5 training images, and there are 4: lower k"):
        score_features(KNN, {}, few, few)
