"""The conventional DataLoader: what it yields, and that its workers rest when they are told to."""

import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.bench.conventional.pipeline import closing, endless, loader, pause, resume
from harness.spec.models import Augmentation


def source(workers, channels=3, images=8):
    pixels = np.random.default_rng(0).integers(0, 256, (images, 12, 12, channels), dtype=np.uint8)
    spec = Augmentation(blur_probability=0.5, solarise_probability=0.5)
    mean, std = (0.5,) * channels, (0.25,) * channels
    labels = np.arange(images)
    return loader(pixels, labels, spec, 8, mean, std, views=3, batch_size=4, workers=workers)


@pytest.mark.parametrize("channels", [1, 3])
def test_views_of_every_image(channels):
    batches = list(source(0, channels))
    assert len(batches) == 2
    views, _ = batches[0]
    assert [tuple(view.shape) for view in views] == [(4, channels, 8, 8)] * 3
    assert sorted(label for _, labels in batches for label in labels.tolist()) == list(range(8))
    assert -2.0 <= min(float(view.min()) for view in views) < max(float(view.max()) for view in views) <= 2.0


def states():
    workers = [worker.pid for worker in multiprocessing.active_children()]
    return [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in workers]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes' states are read from /proc")
def test_paused_workers_stop_and_go_on():
    batches = endless(source(1))
    next(batches)
    pause()
    time.sleep(0.2)
    assert states() == ["T"]
    resume()
    for _ in range(6):  # several epochs
        assert len(next(batches)) == 3
    assert "T" not in states()
    pause()
    closing(batches)()
