import pytest
import torch
from sklearn.datasets import load_digits

from harness.evaluation.evaluate import score
from harness.evaluation.knn import knn_predict
from harness.evaluation.probes import Labelled
from harness.registry import all_probes

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = torch.tensor(PIXELS, dtype=torch.float32), torch.tensor(LABELS)
KNN = all_probes()["knn"]


def test_hits_are_those_of_the_vote():
    scores = score(KNN, {"k": 3}, Labelled(X[:600], Y[:600]), Labelled(X[600:900], Y[600:900]), 10, 0)
    expected = knn_predict(X[:600], Y[:600], X[600:900], 3) == Y[600:900]
    assert scores.hits["top1"].tolist() == expected.tolist()
    assert scores.metrics["top1"] == pytest.approx(100 * expected.float().mean().item())
    assert scores.titles == {"top1": "3-NN %"}


def test_k_counts_neighbours():
    train = Labelled(torch.tensor([[0.0], [1.0], [1.1]]), torch.tensor([0, 1, 1]))
    scored = Labelled(torch.tensor([[0.1]]), torch.tensor([0]))
    assert score(KNN, {"k": 1}, train, scored, 2, 0).metrics == {"top1": 100.0}
    assert score(KNN, {"k": 3}, train, scored, 2, 0).metrics == {"top1": 0.0}


def test_it_needs_k_training_images():
    assert KNN.needed_images(KNN.settings(k=20)) == 20
    few = Labelled(X[:4], Y[:4])
    with pytest.raises(ValueError, match="k=5 needs at least 5 training images, and there are 4: lower k"):
        score(KNN, {}, few, few, 10, 0)
