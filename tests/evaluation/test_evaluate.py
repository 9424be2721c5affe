import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from harness.evaluation.evaluate import Labelled, evaluate
from harness.evaluation.knn import knn_predict
from harness.evaluation.linear import Probe, train_probes
from harness.suite.cell import EvaluationSpec, KnnSpec, LbfgsSpec, LinearSpec

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = torch.tensor(PIXELS, dtype=torch.float32), torch.tensor(LABELS)
PROBE, TEST = Labelled(X[:600], Y[:600]), Labelled(X[600:900], Y[600:900])
QUICK = LinearSpec(epochs=100, batch_size=50)


def test_metrics_hits_and_diagnostics():
    spec = EvaluationSpec(linear=QUICK, lbfgs=LbfgsSpec())
    outcome = evaluate(PROBE, TEST, spec, classes=10, seed=0)
    assert set(outcome.metrics) == {"knn5_top1", "linear_top1", "linear_top5", "lbfgs_top1"} == set(outcome.hits)
    for name, hits in outcome.hits.items():
        assert hits.dtype == np.bool_
        assert hits.shape == (300,)
        assert outcome.metrics[name] == pytest.approx(100 * hits.mean())
    knn = knn_predict(PROBE.features, PROBE.labels, TEST.features, 5) == TEST.labels
    assert outcome.hits["knn5_top1"].tolist() == knn.tolist()
    model = LogisticRegression(max_iter=1000).fit(PIXELS[:600], LABELS[:600])
    assert outcome.metrics["lbfgs_top1"] == pytest.approx(100 * model.score(PIXELS[600:900], LABELS[600:900]))
    weights = train_probes(PROBE.features, PROBE.labels, 10, [Probe(0, QUICK)], order_seed=0)
    ranked = np.argsort(-weights.logits(TEST.features)[0].numpy(), axis=1)
    truth = LABELS[600:900, None]
    assert outcome.hits["linear_top1"].tolist() == (ranked[:, :1] == truth).any(1).tolist()
    assert outcome.hits["linear_top5"].tolist() == (ranked[:, :5] == truth).any(1).tolist()
    assert outcome.metrics["linear_top1"] > 80
    assert outcome.diagnostics["lbfgs_converged"] is True
    assert outcome.diagnostics["lbfgs_iterations"] == model.n_iter_[0]


def test_only_what_is_asked_for_is_measured_and_k_is_in_the_name():
    outcome = evaluate(PROBE, TEST, EvaluationSpec(knn=KnnSpec(k=1), linear=None), classes=10, seed=0)
    assert list(outcome.metrics) == ["knn1_top1"]
    assert outcome.diagnostics == {}


@pytest.mark.parametrize(("classes", "reported"), [(5, False), (6, True)])
def test_top5_needs_more_than_five_classes(classes, reported):
    keep = classes > Y
    split = Labelled(X[keep][:200], Y[keep][:200])
    outcome = evaluate(split, split, EvaluationSpec(linear=QUICK), classes=classes, seed=0)
    assert ("linear_top5" in outcome.metrics) is reported


def test_classes_missing_from_either_split():
    probe = Labelled(X[:600][Y[:600] < 7], Y[:600][Y[:600] < 7])
    outcome = evaluate(probe, TEST, EvaluationSpec(linear=QUICK, lbfgs=LbfgsSpec()), classes=12, seed=0)
    unseen = TEST.labels.numpy() >= 7
    for name in ("knn5_top1", "linear_top1", "lbfgs_top1"):
        assert not outcome.hits[name][unseen].any()
        assert outcome.hits[name][~unseen].mean() > 0.8


def test_same_seed_same_hits():
    first, second = (evaluate(PROBE, TEST, EvaluationSpec(linear=QUICK), classes=10, seed=4) for _ in range(2))
    assert first.metrics == second.metrics
    assert all((first.hits[name] == second.hits[name]).all() for name in first.hits)


def test_errors():
    def run(probe=PROBE, test=TEST, classes=10):
        evaluate(probe, test, EvaluationSpec(linear=QUICK), classes, seed=0)

    broken = X[:600].clone()
    broken[3, 2], broken[7, 1] = torch.nan, torch.inf
    unlabelled = Y[:600].clone()
    unlabelled[:4] = -1
    with pytest.raises(
        ValueError, match="features of 2 of 600 images of the probe split are not finite: the encoder has diverged"
    ):
        run(probe=Labelled(broken, Y[:600]))
    with pytest.raises(
        ValueError, match="4 of 600 images of the probe split are unlabelled: give it only labelled images"
    ):
        run(probe=Labelled(X[:600], unlabelled))
    with pytest.raises(ValueError, match=r"the probe split has label 9, and the dataset 9 classes \(0 to 8\)"):
        run(classes=9)
    with pytest.raises(ValueError, match="the evaluation split has 300 feature rows for 299 labels"):
        run(test=Labelled(TEST.features, TEST.labels[1:]))
    with pytest.raises(ValueError, match="the evaluation split has no images"):
        run(test=Labelled(TEST.features[:0], TEST.labels[:0]))
    with pytest.raises(ValueError, match="k=5 needs at least 5 training images, and there are 4"):
        run(probe=Labelled(X[:4], Y[:4]))
