"""What a probe is handed: features extracted when they are asked for, images in the encoder's own input, a copy of the
encoder that is its own."""

import numpy as np
import pytest
import torch

from harness.data.images import StreamedImages
from harness.evaluation.split import Shown, Split
from harness.spec.models import Augmentation, Input, Transform
from tests.engines.toy import write_folder
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


def test_images_in_files_are_shown_like_any_others(tmp_path):
    root = write_folder(tmp_path, train=4)
    files = sorted(path.relative_to(root).as_posix() for path in (root / "train").rglob("*.jpg"))
    labels = np.arange(12) // 4
    shown = Shown(Input(size=8, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3), Transform(), torch.device("cpu"))
    images = StreamedImages(root, np.array([name.encode() for name in files]), labels, 3)
    whole = Split("training", torch.from_numpy(labels), ("a", "b", "c"), lambda: FEATURES, images, shown)
    clean = list(whole.images())
    assert torch.cat([pixels for pixels, _ in clean]).shape == (12, 3, 8, 8)
    assert torch.cat([of for _, of in clean]).tolist() == labels.tolist()
    few = whole.take(torch.tensor([0, 5, 6, 11]))
    ((pixels, of),) = few.images(Augmentation(), batch_size=64)
    assert (pixels.shape, sorted(of.tolist())) == ((4, 3, 8, 8), [0, 1, 1, 2])
    assert torch.cat([of for _, of in few.images()]).tolist() == [0, 1, 1, 2]
