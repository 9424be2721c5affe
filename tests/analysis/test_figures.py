"""The figures: there when there is something to show, the same bytes for the same records, true to the numbers."""

import io
import math
import re
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pytest

from harness.analysis.figures import FIGURES, write_figures
from harness.analysis.figures.accuracy import accuracy
from harness.analysis.figures.frontier import frontier
from harness.analysis.figures.spectra import spectra, spectrum
from harness.analysis.figures.style import CONTROL, looks
from harness.analysis.report.rows import rows_of
from harness.store.records import Arrays, CurvePoint
from tests.analysis.conftest import KNN5, W_MSE

METRICS = ["linear_top1", "knn5_top1"]


def curve(*accuracies):
    return tuple(
        CurvePoint(epoch=i, step=10 * i, values={"loss": 1 / i, "knn5_top1": value, "h_rankme": 5.0 + i}, seconds=i)
        for i, value in enumerate(accuracies, 1)
    )


@pytest.fixture
def filled(bench):
    """Two methods and a control, three seeds each, with curves and spectra."""
    for seed in range(3):
        for label, settings, cost, top in (("W-MSE", W_MSE, 10.0, 90.0), ("other", {"projector": None}, 20.0, 80.0)):
            fields = {"label": label, "seed": seed, "settings": settings, "epochs": 3, "seconds": cost}
            fields |= {"monitors": {"knn5": KNN5 | {"every_epochs": 1}}, "curve": curve(50.0, 60.0, 65.0)}
            result = bench.done({"linear_top1": top + seed, "knn5_top1": 70.0}, **fields)
            stored = {"h": [4.0, 2.0, 0.0], "initial_h": [1.0, 1.0, 0.5]}
            bench.store.save_arrays(result.id, "spectra", Arrays(id=result.id, spectra=stored))
        bench.done({"linear_top1": 50.0, "knn5_top1": 40.0}, label="none", method="untrained", settings={}, seed=seed)
    return bench


def test_nothing_done_nothing_drawn_and_old_files_go(tmp_path):
    (tmp_path / "curves.png").write_bytes(b"of an earlier run")
    assert write_figures(tmp_path, "T", [], METRICS, set()) == []
    assert list(tmp_path.iterdir()) == []


def test_each_figure_as_png_and_svg_and_the_bytes_repeat(tmp_path, filled):
    records = filled.records()
    first = write_figures(tmp_path / "a", "A title", records, METRICS, {"untrained"})
    second = write_figures(tmp_path / "b", "A title", records, METRICS, {"untrained"})
    assert [path.name for path in first] == [f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    for path in first:
        if path.suffix == ".svg":
            text = path.read_text()
            assert ET.fromstring(text).tag.endswith("svg")
            assert not re.search(r"<dc:date>|20\d\d-\d\d-\d\d", text)  # no clock
            assert 'href="http' not in text
    dots_per_metre = int.from_bytes(first[0].read_bytes().partition(b"pHYs")[2][:4], "big")
    assert dots_per_metre == round(300 / 0.0254)
    pixels = matplotlib.image.imread(io.BytesIO((tmp_path / "a" / "accuracy.png").read_bytes()))[..., :3]
    blue, grey = np.array([0x00, 0x72, 0xB2]) / 255, np.array([0x8A] * 3) / 255
    for colour in (blue, grey):  # points of methods, and of controls
        assert (np.abs(pixels - colour).max(-1) < 0.02).any()


def test_accuracy_draws_every_run_and_students_interval(filled):
    rows = rows_of(filled.records(), {"untrained"})
    axis = accuracy("T", rows, ["linear_top1"]).axes[0]
    points = sorted(line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o")
    assert points == [50.0] * 3 + [80.0, 81.0, 82.0, 90.0, 91.0, 92.0]
    bars = [list(line.get_xdata()) for line in axis.lines if line.get_alpha() == 0.25]
    half = 4.302652729749464 / math.sqrt(3)  # t(0.975, 2) x sd 1 / sqrt(3)
    assert bars == [pytest.approx([91 - half, 91 + half]), pytest.approx([81 - half, 81 + half])]


def test_frontier_leaves_out_what_is_beaten_and_draws_the_untrained_across(filled):
    rows = rows_of(filled.records(), {"untrained"})
    figure = frontier("T", rows, "linear_top1")
    seconds = next(axis for axis in figure.axes if "seconds" in axis.get_xlabel())
    steps = [line for line in seconds.lines if line.get_color() == "#555555"]
    assert [list(line.get_xdata()) for line in steps] == [[10.0]]  # W-MSE is better and cheaper
    assert "seconds on cpu, 2 threads, host here" in figure.get_supxlabel()


def test_an_incomplete_row_has_no_point(filled):
    filled.plan(label="other", seed=3, settings={"projector": None}, epochs=3)
    figure = frontier("T", rows_of(filled.records(), {"untrained"}), "linear_top1")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["W-MSE", "none"]


def test_a_spectrum_is_relative_to_its_largest_and_has_no_noise(filled):
    row = rows_of(filled.records(), set())[0]
    relative = spectrum(row, "h")
    assert relative[:2] == pytest.approx([1.0, 0.5])
    assert math.isnan(relative[2])
    assert spectrum(row, "v") == []


def test_spectra_at_step_0_are_thin_lines_beside_those_at_the_end(filled):
    (axis,) = spectra("T", rows_of(filled.records(), {"untrained"})).axes
    drawn = sorted((line.get_linewidth(), list(line.get_ydata())[1]) for line in axis.lines)
    assert drawn == [pytest.approx(pair) for pair in ((0.4, 1.0), (0.4, 1.0), (1.3, 0.5), (1.3, 0.5))]


def test_a_collapsed_run_is_a_cross_and_one_with_work_left_is_a_point_like_any(bench):
    bench.done({"linear_top1": 10.0}, label="flat", collapsed=True, settings={"k": 1})
    bench.done({"linear_top1": 60.0}, label="half", to_do=["knn5"], settings={"k": 2})
    axis = accuracy("T", rows_of(bench.records(), set()), ["linear_top1"]).axes[0]
    points = {line.get_marker(): line.get_xdata()[0] for line in axis.lines if line.get_marker() in ("o", "x")}
    assert points == {"x": 10.0, "o": 60.0}
    assert axis.get_xlabel() == "linear top-1 %"


def test_rows_of_a_method_share_its_colour_and_no_two_rows_look_alike(bench):
    for d in (2, 4, 8):
        bench.done({"linear_top1": 1.0}, axes={"d": d}, views=d)
    bench.done({"linear_top1": 1.0}, label="byol", method="byol")
    bench.done({"linear_top1": 1.0}, label="none", method="untrained")
    bench.done({"linear_top1": 1.0}, label="pixels", method="pixels")
    shown = looks(rows_of(bench.records(), {"untrained", "pixels"}))
    assert len({shown[f"W-MSE d={d}"].colour for d in (2, 4, 8)}) == 1
    assert shown["byol"].colour != shown["W-MSE d=2"].colour
    assert shown["none"].colour == shown["pixels"].colour == CONTROL
    assert len(set(shown.values())) == len(shown)
