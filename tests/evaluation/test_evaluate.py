"""From a probe's answer to numbers: accuracies are means of hits, and what comes in and out is checked."""

import numpy as np
import pytest
import torch

from harness.evaluation.evaluate import score
from harness.evaluation.probes import Answer, Labelled, Metric, ProbeEntry
from harness.spec.identity import Frozen

TRAIN = Labelled(torch.arange(12.0).view(6, 2), torch.tensor([0, 1, 2, 0, 1, 2]))
SCORED = Labelled(torch.arange(8.0).view(4, 2), torch.tensor([0, 1, 2, 2]))


class Settings(Frozen):
    guess: int = 0


def probe(run=None, metrics=("top1",)):
    """A probe that always says `guess`."""

    def constant(settings, train, scored, classes, seed):
        return Answer(
            {"top1": scored.labels == settings.guess}, {"classes": classes, "seed": seed, "of": len(train.labels)}
        )

    named = tuple(Metric(name, f"{name} in %") for name in metrics)
    return ProbeEntry("constant", "", Settings, lambda settings, classes: named, run or constant)


def test_a_metric_is_the_mean_of_its_hits_in_per_cent():
    scores = score(probe(), {"guess": 2}, TRAIN, SCORED, 3, seed=5)
    assert scores.metrics == {"top1": 50.0}
    assert scores.titles == {"top1": "top1 in %"}
    assert scores.hits["top1"].dtype == np.bool_
    assert scores.hits["top1"].tolist() == [False, False, True, True]
    assert scores.details == {"classes": 3, "seed": 5, "of": 6}


def test_settings_that_are_not_given_have_their_default():
    assert score(probe(), {}, TRAIN, SCORED, 3, 0).metrics == {"top1": 25.0}


def test_only_metrics_that_are_measured_have_a_title():
    scores = score(probe(metrics=("top1", "top5")), {}, TRAIN, SCORED, 3, 0)
    assert list(scores.titles) == ["top1"]


def test_settings_that_the_probe_does_not_know_are_refused():
    with pytest.raises(ValueError, match="guesss"):
        score(probe(), {"guesss": 1}, TRAIN, SCORED, 3, 0)


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
def test_an_answer_that_is_no_answer_is_refused(hits, text):
    with pytest.raises(TypeError, match=text):
        score(probe(lambda *_: Answer({"top1": hits})), {}, TRAIN, SCORED, 3, 0)


def broken(split, **changes):
    return Labelled(changes.get("features", split.features), changes.get("labels", split.labels))


@pytest.mark.parametrize(
    ("train", "scored", "text"),
    [
        (
            broken(TRAIN, features=TRAIN.features.clone().index_put_((torch.tensor([1, 4]),), torch.tensor(torch.nan))),
            SCORED,
            "features of 2 of 6 images of the training split are not finite: the encoder has diverged",
        ),
        (
            TRAIN,
            broken(SCORED, features=torch.full((4, 2), torch.inf)),
            "features of 4 of 4 images of the scored split are not finite",
        ),
        (
            broken(TRAIN, labels=torch.tensor([0, -1, 2, -1, 1, 2])),
            SCORED,
            "2 of 6 images of the training split are unlabelled: give it only labelled images",
        ),
        (
            TRAIN,
            broken(SCORED, labels=torch.tensor([0, 1, 2, 3])),
            r"the scored split has label 3, and the dataset 3 classes \(0 to 2\)",
        ),
        (TRAIN, broken(SCORED, labels=SCORED.labels[1:]), "the scored split has 4 feature rows for 3 labels"),
        (TRAIN, Labelled(SCORED.features[:0], SCORED.labels[:0]), "the scored split has no images"),
    ],
)
def test_features_and_labels_that_cannot_be_right_are_refused(train, scored, text):
    with pytest.raises(ValueError, match=text):
        score(probe(), {}, train, scored, 3, 0)
