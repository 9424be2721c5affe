"""From a probe's answer to numbers: accuracies are means of hits, and what comes in and out is checked."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from harness.evaluation.probes import Answer, Metric, ProbeEntry
from harness.spec.identity import Frozen
from tests.evaluation.features_alone import score_features, split

TRAIN = split(torch.arange(12.0).view(6, 2), [0, 1, 2, 0, 1, 2], 3)
SCORED = split(torch.arange(8.0).view(4, 2), [0, 1, 2, 2], 3, "scored")
TOP1 = Metric("top1", "top-1")


class Settings(Frozen):
    guess: int = 0


def probe(run=None, metrics=(TOP1,)):
    """A probe that always says `guess`."""

    def constant(settings, encoder, train, scored, seed):
        details = {"classes": len(train.classes), "seed": seed, "of": len(train)}
        return Answer({"top1": scored.labels == settings.guess}, details=details)

    return ProbeEntry("constant", "", Settings, lambda settings, classes: metrics, run or constant)


def answering(metrics=(TOP1,), **answer):
    return probe(lambda *_: Answer(**answer), metrics)


def test_a_metric_is_the_mean_of_its_hits_in_per_cent():
    scores = score_features(probe(), {"guess": 2}, TRAIN, SCORED, seed=5)
    assert scores.metrics["top1"] == 50.0
    assert next(iter(scores.values)) == TOP1
    assert scores.hits["top1"].dtype == np.bool_
    assert scores.hits["top1"].tolist() == [False, False, True, True]
    assert scores.details == {"classes": 3, "seed": 5, "of": 6}


def test_settings_that_are_not_given_have_their_default():
    assert score_features(probe(), {}, TRAIN, SCORED).metrics["top1"] == 25.0


def test_settings_that_the_probe_does_not_know_are_refused():
    with pytest.raises(ValueError, match="guesss"):
        score_features(probe(), {"guesss": 1}, TRAIN, SCORED)


# Balanced, and by class

LABELS = np.array([0] * 90 + [1] * 7 + [3] * 3)  # unequal, and no image of class 2
PREDICTED = np.where(np.arange(100) % 4 == 0, 1, LABELS)


@pytest.fixture
def unequal():
    features = torch.zeros(100, 1)
    given = answering(hits={"top1": torch.from_numpy(PREDICTED == LABELS)})
    return score_features(given, {}, split(features, LABELS, 4), split(features, LABELS, 4))


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_the_balanced_accuracy_is_scikit_learns(unequal):
    assert unequal.metrics["balanced"] == pytest.approx(100 * balanced_accuracy_score(LABELS, PREDICTED))
    assert unequal.metrics["top1"] == pytest.approx(100 * (PREDICTED == LABELS).mean())
    assert [metric.heading for metric in unequal.values] == ["top-1 %", "top-1, balanced %"]


def test_each_class_has_the_share_of_its_own_images(unequal):
    expected = []
    for label in range(4):
        right = [PREDICTED[i] == label for i in range(100) if LABELS[i] == label]
        expected.append(100 * sum(right) / len(right) if right else None)
    assert unequal.recalls == pytest.approx(expected)
    assert unequal.recalls[2] is None


# Other numbers than accuracies

RIGHT = torch.ones(4, dtype=torch.bool)
LOSS = Metric("nll", "log loss", "nats", higher_is_better=False)


def test_a_value_stands_as_it_is_and_has_no_classes():
    scores = score_features(answering((LOSS,), values={"nll": 0.25}), {}, TRAIN, SCORED)
    assert (scores.values, scores.hits, scores.recalls) == ({LOSS: 0.25}, {}, [])


def test_metrics_stand_in_the_order_in_which_they_are_declared():
    hits, values = {"top1": RIGHT}, {"nll": 0.25}
    scores = score_features(answering((LOSS, TOP1), hits=hits, values=values), {}, TRAIN, SCORED)
    assert list(scores.metrics) == ["nll", "top1", "balanced"]


@pytest.mark.parametrize(
    ("metrics", "answer", "text"),
    [
        ((TOP1, LOSS), {"hits": {"top1": RIGHT}}, "declares the metric nll and gives it not"),
        ((LOSS,), {"values": {"nll": 1.0, "mse": 2.0}}, "gives mse, which is none of its metrics"),
        ((TOP1,), {"hits": {"top1": RIGHT}, "values": {"top1": 1.0}}, "gives it both as hits and as a value"),
        ((LOSS,), {"hits": {"nll": RIGHT}}, "gives hits of nll: their mean is in %"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_what_the_probe_declares_is_refused(metrics, answer, text):
    with pytest.raises(TypeError, match=text):
        score_features(answering(metrics, **answer), {}, TRAIN, SCORED)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=f"the probe constant gives {value} as nll: it has diverged"):
        score_features(answering((LOSS,), values={"nll": value}), {}, TRAIN, SCORED)


@pytest.mark.parametrize("name", ["top_1", "", "5nn", "top-1"])
def test_a_name_of_a_metric_that_no_suite_could_write_is_refused(name):
    with pytest.raises(ValueError, match="is no name of a metric: letters and digits alone"):
        Metric(name, "title")


@pytest.mark.parametrize(
    ("hits", "text"),
    [
        (
            torch.ones(4),
            r"gives torch\.float32 of shape \(4,\) as the hits of top1: return a bool tensor of shape \(4,\)",
        ),
        (torch.ones(6, dtype=torch.bool), r"gives torch\.bool of shape \(6,\)"),
        (np.ones(4, dtype=bool), "the probe constant gives ndarray"),
        (0.5, "gives float as the hits of top1"),
    ],
)
def test_hits_that_are_none_are_refused(hits, text):
    with pytest.raises(TypeError, match=text):
        score_features(answering(hits={"top1": hits}), {}, TRAIN, SCORED)


# What comes in


@pytest.mark.parametrize(
    ("train", "scored", "text"),
    [
        (
            split(TRAIN.features(), [0, -1, 2, -1, 1, 2], 3),
            SCORED,
            "2 of 6 images of the training split are unlabelled: give it only labelled images",
        ),
        (
            TRAIN,
            split(SCORED.features(), [0, 1, 2, 3], 3, "scored"),
            r"the scored split has label 3, and the dataset 3 classes \(0 to 2\)",
        ),
        (TRAIN, split(SCORED.features()[:0], LABELS[:0], 3, "scored"), "the scored split has no images"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_right_are_refused(train, scored, text):
    with pytest.raises(ValueError, match=text):
        score_features(probe(), {}, train, scored)
