"""What suites and evaluation rely on of every probe: its file, metrics before and after, seeds, without torch."""

import subprocess
import sys

import pytest
import torch

from harness.registry import PROBE, all_probes, find
from tests.evaluation.features_alone import score_features, split

CLASSES = 7


def clouds(images, seed, seen=CLASSES):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % CLASSES
    features = torch.randn(images, 6, generator=generator) + labels[:, None]
    return split(features[labels < seen], labels[labels < seen], CLASSES)


QUICK = {"knn": {}, "linear": {"epochs": 2, "batch_size": 20}, "lbfgs": {"max_iterations": 20}}
TRAIN, SCORED = clouds(140, 0), clouds(70, 1)


def test_the_built_in_ones():
    assert set(all_probes()) >= {"knn", "linear", "lbfgs"}
    assert all(name == entry.name and entry.summary for name, entry in all_probes().items())


def test_what_each_needs_besides_features():
    own = {"knn", "linear", "lbfgs", "sgd", "fine_tune"}
    found = {name: entry for name, entry in all_probes().items() if name in own}
    assert {name for name, entry in found.items() if entry.augments} == {"sgd", "fine_tune"}
    assert {name for name, entry in found.items() if entry.draws} == {"linear", "sgd", "fine_tune"}


def test_each_has_its_file():
    assert find(PROBE)["knn"].file.read_text().startswith('"""k nearest neighbours')


@pytest.mark.parametrize("name", ["knn", "linear", "lbfgs"])
def test_what_a_probe_says_it_measures_is_what_it_measures(name):
    probe = all_probes()[name]
    found = score_features(probe, QUICK[name], TRAIN, SCORED)
    assert tuple(found.values) == probe.all_metrics(probe.settings(), CLASSES)


@pytest.mark.parametrize("name", ["knn", "linear", "lbfgs"])
def test_only_a_probe_that_draws_depends_on_the_seed(name):
    probe = all_probes()[name]
    settings = QUICK[name]
    first, again, other = (score_features(probe, settings, TRAIN, SCORED, seed).hits["top1"] for seed in (0, 0, 1))
    assert (first == again).all()
    assert bool((first != other).any()) == probe.draws


@pytest.mark.parametrize("name", ["knn", "linear", "lbfgs"])
def test_classes_without_training_images_are_never_predicted(name):
    settings = {"epochs": 50} if name == "linear" else {}
    hits = score_features(all_probes()[name], settings, clouds(140, 0, seen=4), SCORED).hits["top1"]
    assert not hits[SCORED.labels.numpy() >= 4].any()


def test_a_suite_finds_probes_without_torch():
    code = "import sys; from harness.registry import all_probes as found; found(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
