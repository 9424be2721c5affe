"""t-SNE that keeps clusters, is the same every time, and a cache that is never believed blindly."""

import json

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from harness.analysis.report.projection import SCALE, Projections, project
from harness.analysis.row_results import group_by_row
from harness.store.records import Sample, pack_components
from tests.analysis.report.conftest import CONTROLS, sample


def test_clusters_stay_together_within_the_picture():
    points = np.array(project(sample(0))).reshape(-1, 2)
    assert points.min() >= 0
    assert points.max() <= SCALE
    labels = np.array(sample(0).labels)
    assert KNeighborsClassifier(3).fit(points[::2], labels[::2]).score(points[1::2], labels[1::2]) == 1.0


def test_it_is_the_same_every_time():
    assert project(sample(1)) == project(sample(1))


@pytest.mark.parametrize("components", [np.ones((20, 3)), np.full((20, 3), np.nan), np.eye(4)])
def test_what_cannot_be_projected(components):
    flat = Sample(
        images=len(components),
        dimensions=components.shape[1],
        components=pack_components(components),
        labels=(0,) * len(components),
        explained=0.0,
    )
    assert Projections(None).plane(flat) is None


def test_the_cache_is_used_and_keeps_what_the_last_page_needed(tmp_path):
    path = tmp_path / "cache.json"
    first = Projections(path)
    plane = first.plane(sample(0))
    first.plane(sample(1))
    first.save()
    known = json.loads(path.read_text())
    assert plane in known.values()
    path.write_text(json.dumps({key: [7] * len(value) for key, value in known.items()}))
    again = Projections(path)
    assert again.plane(sample(0)) == [7] * len(plane)  # read, not computed
    again.save()
    assert len(json.loads(path.read_text())) == 1


@pytest.mark.parametrize("text", ["", "[]", "{broken", '{"k": "v"}'])
def test_a_damaged_cache_costs_time_only(tmp_path, text):
    path = tmp_path / "cache.json"
    path.write_text(text)
    assert Projections(path).plane(sample(0)) == project(sample(0))


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    projections = Projections(tmp_path / "file" / "cache.json")
    assert projections.plane(sample(0)) is not None
    projections.save()


def test_planes_are_of_the_first_seed_of_each_row_with_a_sample(toy):
    rows = group_by_row(toy.records, CONTROLS)
    planes = Projections(None).planes(rows)
    assert [heading for heading, _, _ in planes] == [f"{name}, seed 0" for name in ("good", "cheap", "flat", "random")]
    assert planes[0][1] == project(sample(0))
    assert planes[0][2] == sample(0).labels
