"""The picture: there when there is something to show, the same bytes for the same records."""

import io

import matplotlib.image
import numpy as np

from harness.analysis.figure import write_figure

TITLE, METRICS, CONTROLS = "A title", ["linear_top1", "knn5_top1"], {"untrained"}


def test_nothing_done_nothing_drawn(tmp_path):
    assert not write_figure(tmp_path / "a.png", TITLE, [], METRICS, CONTROLS)
    assert list(tmp_path.iterdir()) == []


def test_runs_are_drawn_and_the_bytes_repeat(tmp_path, bench):
    bench.done({"linear_top1": 90.0, "knn5_top1": 80.0})
    bench.done({"linear_top1": 50.0, "knn5_top1": 40.0}, method="untrained", settings={})
    records = bench.records()
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    assert write_figure(first, TITLE, records, METRICS, CONTROLS)
    assert write_figure(second, TITLE, records, METRICS, CONTROLS)
    assert first.read_bytes() == second.read_bytes()
    pixels = matplotlib.image.imread(io.BytesIO(first.read_bytes()))[..., :3]
    blue, grey = np.array([0x0B, 0x6F, 0xA4]) / 255, np.array([0x8A] * 3) / 255
    for colour in (blue, grey):  # points of methods, and of controls
        assert (np.abs(pixels - colour).max(-1) < 0.02).any()
