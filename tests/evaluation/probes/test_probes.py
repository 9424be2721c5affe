"""What suites and evaluation rely on of every probe: its file, metrics before and after, seeds, without torch."""

import subprocess
import sys

import pytest
import torch

from harness.evaluation.evaluate import score
from harness.evaluation.probes import Labelled
from harness.registry import PROBE, all_probes, find

CLASSES = 7


def split(images, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % CLASSES
    return Labelled(torch.randn(images, 6, generator=generator) + labels[:, None], labels)


QUICK = {"knn": {}, "linear": {"epochs": 2, "batch_size": 20}, "lbfgs": {"max_iterations": 20}}
TRAIN, SCORED = split(140, 0), split(70, 1)


def test_the_built_in_ones():
    assert set(all_probes()) >= {"knn", "linear", "lbfgs"}
    assert all(name == entry.name and entry.summary for name, entry in all_probes().items())


def test_each_has_its_file():
    assert find(PROBE)["knn"].file.read_text().startswith('"""k nearest neighbours')


@pytest.mark.parametrize("name", ["knn", "linear", "lbfgs"])
def test_what_a_probe_says_it_measures_is_what_it_measures(name):
    probe = all_probes()[name]
    said = probe.metrics(probe.settings(), CLASSES)
    found = score(probe, QUICK[name], TRAIN, SCORED, CLASSES, 0)
    assert found.titles == {metric.name: metric.title for metric in said}
    assert list(found.metrics) == [metric.name for metric in said]


@pytest.mark.parametrize("name", ["knn", "linear", "lbfgs"])
def test_only_a_probe_that_draws_depends_on_the_seed(name):
    probe = all_probes()[name]
    settings = QUICK[name]
    first, again, other = (score(probe, settings, TRAIN, SCORED, CLASSES, seed).hits["top1"] for seed in (0, 0, 1))
    assert (first == again).all()
    assert bool((first != other).any()) == probe.draws


@pytest.mark.parametrize("name", ["knn", "linear", "lbfgs"])
def test_classes_without_training_images_are_never_predicted(name):
    seen = TRAIN.labels < 4
    train = Labelled(TRAIN.features[seen], TRAIN.labels[seen])
    hits = score(all_probes()[name], {"epochs": 50} if name == "linear" else {}, train, SCORED, CLASSES, 0).hits["top1"]
    assert not hits[SCORED.labels.numpy() >= 4].any()


def test_a_suite_finds_probes_without_torch():
    code = "import sys; from harness.registry import all_probes as found; found(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
