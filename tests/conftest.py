"""What every test shares: one thread, and a toy suite on real digits that runs in a second or two."""

import signal
import textwrap
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from harness.cli import cli
from harness.registry import use

# Small tensors are quicker on one thread, and tests that run side by side do not slow each other down.
torch.set_num_threads(1)
# A shell's background job ignores Ctrl-C, and so would every process that tests start and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

TOY_SUITE = """
title: Toy
defaults:
  dataset: {image_size: 8, train_images: 200}
  backbone: {name: resnet18, stem: small_max_pool, width: 4}
  augmentation: {saturation: 0.0, hue: 0.0, greyscale_probability: 0.0, flip_probability: 0.0}
  schedule: {name: cosine, warmup_steps: 2}
  epochs: 2
  batch_size: 64
  settings:
    projector: {hidden: [8], embedding_size: 4}
    transform: {sub_batch_size: 32}
  evaluations:
    linear: {epochs: 5}
  monitors:
    knn5: {probe: knn, k: 5, every_epochs: 1}
datasets: [digits]
methods:
  w_mse: {}
  untrained: {}
axes:
  seeds: 2
"""


@pytest.fixture(autouse=True, scope="module")
def only_what_is_built_in():
    """No file's tests see the extensions that another file's have taken into use."""
    use(())


@pytest.fixture
def two_threads():
    """Two threads of torch for one test."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where digits are packed, once for all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def harness(data_dir, tmp_path, monkeypatch):
    """Runs a command in a directory of its own, on a wide terminal; returns (exit code, all output)."""
    monkeypatch.setenv("HARNESS_DATA", str(data_dir))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call


@pytest.fixture
def toy_suite(tmp_path) -> Path:
    """A suite file of four cells."""
    return write_suite(tmp_path)


def write_suite(directory: Path, more: str = "", name: str = "toy.yaml") -> Path:
    """The toy suite, with more YAML merged over it by including it."""
    base = directory / "toy.yaml"
    base.write_text(TOY_SUITE)
    if not more:
        return base
    path = directory / name
    path.write_text("include: toy.yaml\n" + textwrap.dedent(more))
    return path
