"""What a probe is handed: features extracted when they are asked for, images in the encoder's own input, a copy of the
encoder that is its own."""

import pytest
import torch

from tests.evaluation.features_alone import split

FEATURES, LABELS = torch.arange(12.0).view(6, 2), [0, 1, 2, 0, 1, 2]


def test_features_are_extracted_once_and_only_if_they_are_asked_for():
    asked = []
    images = split(FEATURES, LABELS, 3)
    images._extract = lambda: asked.append(1) or FEATURES
    few = images.take(torch.tensor([1, 4]))
    assert asked == []
    assert images.features() is images.features()
    assert asked == [1]
    assert few.features().tolist() == FEATURES[[1, 4]].tolist()
    assert few.labels.tolist() == [1, 1]
    assert few.classes == images.classes


def test_features_that_cannot_be_right_are_refused():
    broken = FEATURES.clone()
    broken[[1, 4], 0] = torch.nan
    with pytest.raises(ValueError, match="features of 2 of 6 images of the training split are not finite: the encoder"):
        split(broken, LABELS, 3).features()
    assert split(broken, LABELS, 3).take(torch.tensor([0, 2])).features().isfinite().all()
    with pytest.raises(ValueError, match="the scored split has 6 feature rows for 5 labels"):
        split(FEATURES, LABELS[:5], 3, "scored").features()
