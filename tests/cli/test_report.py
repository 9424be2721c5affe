"""`harness report` in one process: the file it writes, where, and what it says of it."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.cli.report import class_names
from harness.data.packed import MANIFEST, Manifest
from tests.analysis.conftest import Bench
from tests.conftest import write_suite


@pytest.fixture(scope="module")
def ran(tmp_path_factory, data_dir):
    """A directory in which a toy suite with one epoch was run."""
    directory = tmp_path_factory.mktemp("report")
    suite = write_suite(directory, "defaults: {epochs: 1}\naxes: {seeds: 1}\nclaims: [w_mse collapses]\n", "small.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_DATA", str(data_dir))
        result = CliRunner().invoke(cli, ["run", str(suite), "--results", str(directory / "results")])
    assert result.exit_code == 0, result.output
    return directory, suite


@pytest.fixture
def report(ran, data_dir, monkeypatch):
    """Runs `harness report` on that suite; returns (exit code, output)."""
    monkeypatch.setenv("HARNESS_DATA", str(data_dir))

    def call(*arguments):
        directory, suite = ran
        command = ["report", str(suite), "--results", str(directory / "results"), *map(str, arguments)]
        result = CliRunner().invoke(cli, command)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call


def test_it_writes_one_file_and_says_which(ran, report):
    page = ran[0] / "results" / "small" / "report.html"
    code, out = report()
    assert code == 0
    assert out == f"written: {page} ({page.stat().st_size / 1e6:.2f} MB)\n"
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "w_mse collapses" in text
    assert "include: toy.yaml" in text  # the suite as written, and
    assert "sub_batch_size: 32" in text  # what it includes


def test_images_in_the_plane_have_the_names_of_their_classes(ran, report, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.cli.report.class_names", lambda *_: {"digits": ("zero", "one")})
    code, _ = report("--output", tmp_path / "page.html")
    assert code == 0
    assert '"class":"1 one"' in (tmp_path / "page.html").read_text()


def test_a_second_report_has_the_same_bytes_wherever_it_is_written(ran, report, tmp_path):
    report()
    first = (ran[0] / "results" / "small" / "report.html").read_bytes()
    other = tmp_path / "new" / "page.html"
    code, out = report("--output", other)
    assert (code, f"written: {other}" in out) == (0, True)
    assert other.read_bytes() == first


def test_a_suite_that_has_not_run_has_a_page_too(ran, report, tmp_path):
    other = tmp_path / "page.html"
    code, _ = report("--set", "epochs=7", "--output", other)
    assert code == 0
    text = other.read_text()
    assert "There are no results yet." not in text  # the untrained row has none of the epochs, and is done
    assert "1 of 2 cells done, 1 pending." in text
    assert "--set epochs=7" in text


def test_a_bad_suite_is_a_users_mistake(tmp_path):
    result = CliRunner().invoke(cli, ["report", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "none.yaml" in result.output


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def prepare(bench, directory, name="cifar10"):
    """The manifest of a copy with the images and labels that the bench knows."""
    splits = bench.facts.dataset(name).splits
    images, labels = ({split: getattr(facts, kind) for split, facts in splits.items()} for kind in ("images", "labels"))
    rows = {"train": (0, 50_000), "test": (50_000, 60_000)}
    manifest = Manifest(name, rows, images, labels, (60_000, 32, 32, 3), ("plane", "car"))
    (directory / name).mkdir(parents=True)
    (directory / name / MANIFEST).write_text(json.dumps(dataclasses.asdict(manifest)))


def test_classes_are_named_by_a_copy_with_the_labels_that_were_scored(bench, tmp_path):
    bench.done({"linear_top1": 1.0})
    assert class_names(bench.records(), tmp_path) == {}  # no copy here
    prepare(bench, tmp_path)
    assert class_names(bench.records(), tmp_path) == {"cifar10": ("plane", "car")}
    bench.facts.copies["cifar10"] = "relabelled"
    bench.planned.clear()
    bench.done({"linear_top1": 1.0})
    assert class_names(bench.records(), tmp_path) == {}


def test_rows_of_one_dataset_that_were_scored_on_different_ones_have_no_class_names(bench, tmp_path):
    prepare(bench, tmp_path)
    bench.done({"linear_top1": 1.0})
    elsewhere = {"far": {"probe": "linear", "dataset": "stl10"}}
    bench.done({"far_top1": 1.0}, label="other", evaluations=elsewhere)
    assert class_names(bench.records(), tmp_path) == {}


def test_classes_are_those_of_the_first_evaluation_that_is_done(bench, tmp_path):
    prepare(bench, tmp_path, "stl10")
    asked = {"linear": {"probe": "linear"}, "far": {"probe": "linear", "dataset": "stl10"}}
    bench.done({"far_top1": 1.0}, evaluations=asked, to_do=["linear"])
    assert class_names(bench.records(), tmp_path) == {"cifar10": ("plane", "car")}
