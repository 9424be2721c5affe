import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from harness.registry import all_probes
from tests.evaluation.features_alone import score_features, split

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = torch.tensor(PIXELS, dtype=torch.float32), torch.tensor(LABELS)
TRAIN, SCORED = split(X[:150], Y[:150], 10), split(X[150:300], Y[150:300], 10)


def test_accuracy_is_scikit_learns_and_convergence_is_told():
    scores = score_features(all_probes()["lbfgs"], {"c": 0.1}, TRAIN, SCORED)
    model = LogisticRegression(C=0.1, max_iter=1000).fit(PIXELS[:150], LABELS[:150])
    assert scores.metrics["top1"] == pytest.approx(100 * model.score(PIXELS[150:300], LABELS[150:300]))
    assert scores.details == {"converged": True, "iterations": int(model.n_iter_[0])}


def test_iterations_that_do_not_suffice_are_told():
    scores = score_features(all_probes()["lbfgs"], {"max_iterations": 2}, TRAIN, SCORED)
    assert scores.details == {"converged": False, "iterations": 2}
