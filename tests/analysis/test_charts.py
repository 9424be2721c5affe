"""The charts: there when there is something to show, the same bytes for the same records, true to the numbers."""

import itertools
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from harness.analysis.charts import CHARTS, write_charts
from harness.analysis.charts.accuracy import accuracy_chart
from harness.analysis.charts.curves import curves_chart, losses_chart
from harness.analysis.charts.embeddings import alignment_chart, projection_chart
from harness.analysis.charts.frontier import frontier_chart
from harness.analysis.charts.spectra import spectra_chart, spectrum
from harness.analysis.charts.style import COLLAPSED, CONTROL, DARK, PALETTE, PAPER, row_styles
from harness.analysis.row_results import group_by_row
from harness.store.records import Arrays, CurvePoint
from tests.analysis.conftest import KNN5, W_MSE

METRICS = ["linear_top1", "knn5_top1"]


def readings(*accuracies):
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
            fields |= {
                "monitors": {"knn5": KNN5 | {"every_epochs": 1}},
                "curve": readings(50.0 + (seed + 1) % 3, 60.0, 65.0),
            }
            result = bench.done({"linear_top1": top + seed, "knn5_top1": 70.0}, **fields)
            work = {"diagnostics": {"h_alignment": 0.25, "h_uniformity": -2.0}}
            bench.store.save_description(result.description.model_copy(update=work))
            stored = {"h": [4.0, 2.0, 0.0], "initial_h": [1.0, 1.0, 0.5]}
            bench.store.save_arrays(result.id, "spectra", Arrays(id=result.id, spectra=stored))
        bench.done({"linear_top1": 50.0, "knn5_top1": 40.0}, label="none", method="untrained", settings={}, seed=seed)
    return bench


@pytest.fixture
def rows(filled):
    return group_by_row(filled.records(), {"untrained"})


def panels(chart):
    """(panel, layers) of a chart's specification, each layer with its data."""
    spec = chart.to_dict()

    def data(node, above):
        return spec["datasets"][node["data"]["name"]] if "data" in node else above

    for panel in spec["concat"]:
        shared = data(panel, data(spec, None))
        layers = panel.get("layer", [panel])
        yield panel, [(layer["mark"]["type"], layer, data(layer, shared)) for layer in layers]


def layer(chart, mark, panel=0):
    """Data of the layers with this mark in one panel."""
    return [record for kind, _, data in list(panels(chart))[panel][1] if kind == mark for record in data]


def domain(chart):
    """The legend of the rows."""
    _, layers = next(panels(chart))
    return layers[-1][1]["encoding"]["color"]["scale"]["domain"]


def test_nothing_done_nothing_drawn_and_old_files_go(tmp_path):
    (tmp_path / "curves.png").write_bytes(b"of an earlier run")
    assert write_charts(tmp_path, "T", [], METRICS, set()) == []
    assert list(tmp_path.iterdir()) == []


def test_each_chart_as_png_and_svg_and_the_bytes_repeat(tmp_path, filled):
    records = filled.records()
    first = write_charts(tmp_path / "a", "A title", records, METRICS, {"untrained"})
    second = write_charts(tmp_path / "b", "A title", records, METRICS, {"untrained"})
    assert [path.name for path in first] == [f"{name}.{kind}" for name in CHARTS for kind in ("png", "svg")]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    for path in first:
        if path.suffix == ".svg":
            text = path.read_text()
            assert ET.fromstring(text).tag.endswith("svg")
            assert "A title" in text
            assert not re.search(r"20\d\d-\d\d-\d\d", text)  # no clock
            assert 'href="http' not in text
    with Image.open(tmp_path / "a" / "accuracy.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    for colour in (PALETTE[0], CONTROL):  # strokes of methods, and of controls
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - rgb).max(-1) < 5).any()


def test_accuracy_draws_every_run_and_students_interval(rows):
    chart = accuracy_chart("T", rows, ["linear_top1"])
    points = sorted(record["value"] for record in layer(chart, "point"))
    assert points == [50.0] * 3 + [80.0, 81.0, 82.0, 90.0, 91.0, 92.0]
    bars = {record["row"]: (record["low"], record["high"]) for record in layer(chart, "bar")}
    half = 4.302652729749464 / math.sqrt(3)  # t(0.975, 2) x sd 1 / sqrt(3)
    assert bars["W-MSE"] == pytest.approx((91 - half, 91 + half), rel=1e-4)
    assert bars["other"] == pytest.approx((81 - half, 81 + half), rel=1e-4)
    assert [record["mean"] for record in layer(chart, "tick")] == [91.0, 81.0, 50.0]


def test_a_collapsed_run_is_a_cross_and_two_runs_have_no_bar(bench):
    bench.done({"linear_top1": 10.0}, label="flat", collapsed=True, settings={"k": 1})
    for seed in range(2):
        fields = {"label": "half", "to_do": ["knn5"], "settings": {"k": 2}}
        bench.done({"linear_top1": 60.0 + seed}, seed=seed, **fields)
    chart = accuracy_chart("T", group_by_row(bench.records(), set()), ["linear_top1"])
    assert [(record["value"], record["kind"]) for record in layer(chart, "point")] == [
        (10.0, "collapsed run"),
        (60.0, "run"),
        (61.0, "run"),
    ]
    assert layer(chart, "bar") == []
    (_, layers), *_ = panels(chart)
    encoding = layers[-1][1]["encoding"]
    assert encoding["x"]["title"] == "linear top-1 %"
    scales = [encoding[channel]["scale"] for channel in ("color", "shape")]
    looks = [scale["range"][scale["domain"].index("collapsed run")] for scale in scales]
    assert looks == [COLLAPSED, "cross"]


def test_curves_are_means_with_their_range_and_the_untrained_go_across(rows):
    chart = curves_chart("T", rows)
    titles = [layers[0][1]["encoding"]["y"]["title"] for _, layers in panels(chart)]
    assert titles == ["5-NN %", "RankMe, encoder output h"]
    first = layer(chart, "line")[0]
    assert (first["row"], first["mean"], first["low"], first["high"]) == ("W-MSE", 51.0, 50.0, 52.0)
    assert (first["epochs"], first["seconds of training"]) == (1, 1.0)
    assert layer(chart, "rule") == [{"row": "none", "mean": 40.0}]
    assert domain(chart) == ["W-MSE", "other", "none"]
    assert "resolve" not in chart.to_dict()  # one legend for all panels
    _, layers = next(panels(chart))
    mark, area = next((layer["mark"], layer["encoding"]) for kind, layer, _ in layers if kind == "area")
    assert (area["y"]["field"], area["y2"]["field"], mark["fillOpacity"] > 0) == ("low", "high", True)


def test_each_loss_has_a_panel_of_its_own(rows):
    drawn = list(panels(losses_chart("T", rows)))
    assert [panel["title"]["text"] for panel, _ in drawn] == ["W-MSE", "other"]
    assert {record["row"] for _, _, data in drawn[1][1] for record in data} == {"other"}


def test_frontier_leaves_out_what_is_beaten_and_draws_the_untrained_across(rows):
    chart = frontier_chart("T", rows, METRICS)
    titles = [layers[0][1]["encoding"]["x"]["title"] for _, layers in panels(chart)]
    seconds = titles.index("training seconds")
    front = [record for record in layer(chart, "line", seconds) if record["metric"] == "linear top-1 %"]
    assert [(record["cost"], record["mean"]) for record in front] == [(10.0, 91.0)]  # W-MSE is better and cheaper
    across = [(r["row"], r["metric"], r["mean"]) for r in layer(chart, "rule", seconds) if r["cost"] == 0]
    assert across == [("none", "linear top-1 %", 50.0), ("none", "5-NN %", 40.0)]
    spec = chart.to_dict()
    assert "seconds on cpu, 2 threads, host here" in spec["title"]["subtitle"]
    choice = next(parameter for parameter in spec["params"] if parameter["name"] == "metric")
    assert (choice["value"], choice["bind"]["options"]) == ("linear top-1 %", ["linear top-1 %", "5-NN %"])


def test_an_incomplete_row_has_no_point(filled):
    filled.plan(label="other", seed=3, settings={"projector": None}, epochs=3)
    rows = group_by_row(filled.records(), {"untrained"})
    assert domain(frontier_chart("T", rows, ["linear_top1"])) == ["W-MSE", "none"]


def test_a_spectrum_is_relative_to_its_largest_and_has_no_noise(rows):
    relative = spectrum(rows[0], "h")
    assert relative[:2] == pytest.approx([1.0, 0.5])
    assert math.isnan(relative[2])
    assert spectrum(rows[0], "v") == []


def test_spectra_at_step_0_stand_beside_those_at_the_end(rows):
    drawn = [(r["when"], r["rank"], r["share"]) for r in layer(spectra_chart("T", rows), "line") if r["row"] == "other"]
    assert drawn == [
        ("after training", 1, 1.0),
        ("after training", 2, 0.5),
        ("at step 0", 1, 1.0),
        ("at step 0", 2, 1.0),
        ("at step 0", 3, 0.5),
    ]


def test_alignment_is_of_rows_that_all_seeds_have_it_of(rows):
    points = layer(alignment_chart("T", rows), "point")
    assert points == [{"row": name, "alignment": 0.25, "uniformity": -2.0} for name in ("W-MSE", "other")]


def test_a_projection_shows_each_image_as_its_class():
    chart = projection_chart("", [("a, seed 0", [1, 2, 3, 4], [1, 0])], ["plane", "car"])
    assert layer(chart, "text") == [
        {"x": 1, "y": 2, "label": 1, "class": "1 car"},
        {"x": 3, "y": 4, "label": 0, "class": "0 plane"},
    ]
    assert projection_chart("", [], ()) is None


def test_rows_of_a_method_share_its_colour_and_no_two_rows_look_alike(bench):
    for d in (2, 4, 8):
        bench.done({"linear_top1": 1.0}, axes={"d": d}, views=d)
    bench.done({"linear_top1": 1.0}, label="byol", method="byol")
    bench.done({"linear_top1": 1.0}, label="none", method="untrained")
    bench.done({"linear_top1": 1.0}, label="pixels", method="pixels")
    styles = row_styles(group_by_row(bench.records(), {"untrained", "pixels"}))
    assert len({styles[f"W-MSE d={d}"].colour for d in (2, 4, 8)}) == 1
    assert styles["byol"].colour != styles["W-MSE d=2"].colour
    assert styles["none"].colour == styles["pixels"].colour == CONTROL
    assert len(set(styles.values())) == len(styles)
    for one, other in itertools.combinations(styles.values(), 2):  # lines have no shape, points no dash
        assert (one.colour, one.dash) != (other.colour, other.dash)
        assert (one.colour, one.shape) != (other.colour, other.shape)


def contrast(one, other):
    """WCAG's contrast ratio of two colours."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", [*PALETTE, CONTROL, COLLAPSED])
def test_colours_are_seen_on_a_light_and_on_a_dark_page(colour):
    assert contrast(colour, PAPER) >= 2.2
    assert contrast(DARK[colour], DARK[PAPER]) >= 4.5


def test_a_name_is_text_whatever_it_holds(bench, tmp_path):
    name = "a.b[0] <b>'\"\\ {x} datum"
    for seed in range(2):
        fields = {"label": name, "seed": seed, "epochs": 2, "curve": readings(1.0, 2.0)}
        bench.done({"linear_top1": 50.0 + seed, "knn5_top1": 2.0}, **fields)
    written = write_charts(tmp_path, "T", bench.records(), METRICS, set())
    drawn = [path for path in written if path.suffix == ".svg"]
    assert [path.stem for path in drawn] == ["accuracy", "curves", "losses", "frontier"]
    for path in drawn:
        assert name in [element.text for element in ET.fromstring(path.read_text()).iter()], path.name
