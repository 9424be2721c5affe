"""The page as text: complete, the same every time, closed to what labels would inject, with nothing to fetch."""

import dataclasses
import itertools
import json
import re
from html.parser import HTMLParser

import altair as alt
import pytest
import vl_convert

from harness.analysis.report.page import SweepResults, _libraries, render
from harness.suite.models import TableSpec
from tests.analysis.conftest import Bench
from tests.analysis.report.conftest import HOSTILE, material

VOID = {"meta", "link", "input", "br", "img"}


class Reader(HTMLParser):
    """Checks nesting, and keeps tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.charts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script" and self.tags[-1][1].get("type") == "application/json":
            self.charts.append(data)
        elif "style" not in self.open and "script" not in self.open:
            self.text.append(data)


@pytest.fixture(scope="module")
def page(toy):
    return render(toy)


@pytest.fixture(scope="module")
def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_same_records_give_the_same_bytes_with_and_without_a_cache(toy, page, tmp_path):
    cache = tmp_path / "deep" / "projections.json"
    assert render(toy, cache) == page
    assert cache.exists()
    assert render(toy, cache) == page


def test_nothing_is_fetched(page, read):
    policy = next(attrs["content"] for tag, attrs in read.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    for _, attrs in read.tags:
        assert "src" not in attrs
        assert (attrs.get("href") or "#").startswith(("#", "data:"))
    own = page.replace(_libraries(), "")
    assert len(own) < len(page) - 500_000  # Vega is within the page, and once
    assert re.findall(r"https?://[^\s\"'<]+", own) == [alt.SCHEMA_URL] * len(read.charts)  # a name, never asked for


def test_labels_and_tracebacks_are_text(page, read):
    assert page.count("<script") == 2 + len(read.charts)  # Vega, our own, and the charts: none of a label
    assert page.lower().count("</script") == page.count("<script")
    text = "".join(read.text)
    assert text.count(HOSTILE) >= 4  # table, failure's message and traceback, suite
    assert "A <toy>" in text
    assert not any("<" in chart for chart in read.charts)


def test_what_would_end_a_script_is_escaped_in_the_libraries(monkeypatch):
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda snippet: "a = '</SCRIPT><!--'; b = 1</2/.x")
    assert _libraries.__wrapped__() == r"a = '\x3c/SCRIPT>\x3c!--'; b = 1</2/.x"


def test_the_charts_hold_every_row_that_has_something_to_show(page, read):
    names = re.findall(r'id="chart-([a-z]+(?:-\d)?)"', page)
    assert names == ["accuracy", "curves", "losses", "frontier", "alignment", "spectra", "projection-0"]
    charts = dict(zip(names, map(json.loads, read.charts), strict=True))
    for name in ("accuracy", "curves", "frontier", "alignment", "spectra"):
        drawn = {record.get("row") for data in charts[name]["datasets"].values() for record in data}
        assert {"good", "cheap", "flat"} <= drawn, name
        assert HOSTILE not in drawn  # it failed
    planes = [panel["title"]["text"] for panel in charts["projection-0"]["concat"]]
    assert planes == ["good, seed 0", "cheap, seed 0", "flat, seed 0", "random, seed 0"]
    (images,) = charts["projection-0"]["datasets"].values()  # the same sample in all four, stored once
    assert len(images) == 60
    assert {record["class"] for record in images} == {"0 plane", "1 car", "2 bird"}


def test_what_stands_on_it(read):
    text = " ".join("".join(read.text).split())
    assert "12 of 15 cells done, 1 failed, 1 pending, 1 skipped. Claims: 1 supported." in text
    assert "On cifar10, good has the highest linear top-1, 73.00 %" in text
    assert "✓ supported good > cheap" in text
    assert "Stage: training, last begun: epoch 1, step 7." in text
    assert "skipped 1: eight images are too few" in text
    assert "pending 1: it has not run" in text
    assert "good k=5, cifar10, seed 3" in text
    assert "toy.yaml --preset tiny" in text
    assert "3 of 3 runs collapsed" in text
    assert "scale root mean square, at step 0 → at the end1.5 → 0.25" in text
    assert "cpu, 2 threads, host here" in text


def test_tables_are_tables_and_sections_are_named(read):
    assert read.tags[0] == ("html", {"lang": "en"})
    tags = [tag for tag, _ in read.tags]
    assert [tags.count(name) for name in ("h1", "main", "header")] == [1, 1, 1]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["aria-labelledby"] for tag, attrs in read.tags if tag == "section"} <= set(ids)
    assert all("scope" in attrs for tag, attrs in read.tags if tag == "th")


def test_results_without_sample_curve_spectrum_or_flops(tmp_path):
    bench = Bench(tmp_path)
    result = bench.done({"linear_top1": 50.0}, label="old")
    cost = result.pretraining.cost.model_copy(update={"peak_memory_bytes": None})
    bench.store.save_pretraining(result.pretraining.model_copy(update={"cost": cost}))
    bench.store.save_description(result.description.model_copy(update={"train_flops": None}))
    text = render(material(bench.records()))
    assert "No run that is done has recorded a sample of its embeddings" in text
    assert "No run that is done has recorded a curve." in text
    assert "not recorded" in text


def test_metrics_are_called_as_the_suite_and_its_probes_call_them(tmp_path):
    bench = Bench(tmp_path)
    asked = {"few": {"probe": "knn", "k": 1, "label_fraction": 0.1}, "all": {"probe": "knn", "k": 1}}
    bench.done({"few_top1": 40.0, "all_top1": 50.0}, label="a", evaluations=asked)
    wanted = TableSpec(metrics=("all_top1", "few_top1"))
    text = render(dataclasses.replace(material(bench.records()), specs=(wanted,)))
    assert "On cifar10, a has the highest 1-NN (all), 50.00 %" in text
    assert text.index("<span>1-NN (all) %</span>") < text.index("<span>1-NN %</span>")


def test_a_suite_that_evaluates_nothing_has_its_costs(tmp_path):
    bench = Bench(tmp_path)
    bench.done({}, label="a", evaluations={})
    text = render(dataclasses.replace(material(bench.records()), specs=()))
    assert "1 of 1 cells done." in text
    assert "51,200" in text


def test_stages_that_failed_and_stages_to_do_are_told_apart(tmp_path):
    bench = Bench(tmp_path)
    bench.done({"linear_top1": 50.0}, label="a", failing={"knn5": "no memory"}, settings={"k": 1})
    bench.done({"linear_top1": 50.0}, label="b", to_do=["knn5"], settings={"k": 2})
    reader = Reader()
    reader.feed(render(material(bench.records())))
    text = " ".join("".join(reader.text).split())
    assert "failed a, cifar10, seed 0: RuntimeError: no memory Stage: evaluation knn5." in text
    assert "pending 1: to do: knn5b, cifar10, seed 0" in text
    assert "highest linear top-1, 50.00 %" in text  # what was measured stands


def test_what_a_sweep_left(toy, page, read):
    assert "search" not in {attributes.get("id") for tag, attributes in read.tags if tag == "section"}
    chart = {"mark": "point", "description": HOSTILE}
    reader = Reader()
    reader.feed(render(dataclasses.replace(toy, search=SweepResults([("Landscape", chart)], f"# best\n{HOSTILE}"))))
    sections = [attributes.get("id") for tag, attributes in reader.tags if tag == "section"]
    assert sections.index("why") < sections.index("search") < sections.index("runs")
    assert json.loads(reader.charts[-1]) == chart
    assert "<" not in reader.charts[-1]
    assert HOSTILE in "".join(reader.text)


def test_no_result_at_all(tmp_path):
    bench = Bench(tmp_path)
    bench.plan()
    text = render(material(bench.records()))
    assert "no row has all its seeds yet" in text
    assert "There are no results yet." in text


def test_a_layout_of_the_suite_s_own_is_shown_too(toy):
    grid = TableSpec(title="Crossed", rows=("method",), columns=("k",))
    text = render(dataclasses.replace(toy, specs=(grid,)))
    assert "As the suite lays it out" in text
    assert "As the suite lays it out" not in render(toy)
