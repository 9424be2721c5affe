import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from harness.evaluation.lbfgs import lbfgs_predict
from harness.evaluation.probes.lbfgs import LbfgsSettings

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = torch.tensor(PIXELS, dtype=torch.float32), torch.tensor(LABELS)


def test_predictions_are_those_of_scikit_learn():
    outcome = lbfgs_predict(X[:400], Y[:400], X[400:], LbfgsSettings(c=0.1, max_iterations=500))
    model = LogisticRegression(C=0.1, max_iter=500).fit(PIXELS[:400], LABELS[:400])
    assert outcome.predictions.tolist() == model.predict(PIXELS[400:]).tolist()
    assert outcome.converged
    assert outcome.iterations == model.n_iter_[0]


def test_non_convergence_is_recorded_and_not_warned_of(recwarn):
    outcome = lbfgs_predict(X[:400], Y[:400], X[400:], LbfgsSettings(max_iterations=2))
    assert not outcome.converged
    assert outcome.iterations == 2
    assert not recwarn.list


def test_missing_classes_and_a_single_class():
    some = (Y == 3) | (Y == 8)
    assert set(lbfgs_predict(X[some], Y[some], X[:50], LbfgsSettings()).predictions.tolist()) <= {3, 8}
    one = lbfgs_predict(X[Y == 3], Y[Y == 3], X[:5], LbfgsSettings())
    assert one.predictions.tolist() == [3] * 5
    assert (one.converged, one.iterations) == (True, 0)
