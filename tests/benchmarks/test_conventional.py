"""The conventional side: its networks compute the losses of the methods of the same name, its workers can be paused."""

import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.backbones import build_encoder
from harness.registry import all_methods
from harness.spec.models import Augmentation, Backbone
from methods.method import Batch, Loss, Step
from tests.benchmarks.conventional.pipeline import batches, pause_workers, resume_workers
from tests.benchmarks.conventional.training import NETWORKS, Trainer
from tests.benchmarks.trainer import input_of

IMAGES = 128  # one sub-batch: which image is in which slice then changes nothing
BACKBONE = Backbone(stem="small_max_pool", width=4)
FEATURES = 8 * 4  # of the last stage


def encoder():
    return build_encoder(BACKBONE, 3, 8, 0)


def ours(name):
    entry = all_methods()[name]
    network = encoder()
    torch.manual_seed(1)
    return entry.builder()(entry.settings(), network, FEATURES, 10).train()


def trained(module):
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_loss_and_gradients(name):
    method, network = ours(name), NETWORKS[name](encoder(), FEATURES).train()
    with torch.no_grad():
        for mine, theirs in zip(network.parameters(), method.parameters(), strict=True):
            mine.copy_(theirs)
    views = torch.randn(2, IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    batch = Batch((views,), torch.zeros(IMAGES, dtype=torch.int64), torch.arange(IMAGES))
    loss = Loss.of(method.loss(batch, Step(0, 1, 0, 1, torch.Generator().manual_seed(3)))).total
    plain = network.loss(list(views))
    torch.testing.assert_close(plain, loss, rtol=1e-3, atol=1e-4)
    loss.backward()
    plain.backward()
    for mine, theirs in zip(trained(network), trained(method), strict=True):
        scale = theirs.grad.norm() + 1e-3
        assert (mine.grad - theirs.grad).norm() / scale < 2e-2


def test_byols_target_follows():
    network = NETWORKS["byol"](encoder(), FEATURES)
    slow, fast = network.target_head[0].weight, network.head[0].weight
    with torch.no_grad():
        fast.add_(1.0)
    expected = 0.99 * slow.clone() + 0.01 * fast
    network.after_step()
    torch.testing.assert_close(network.target_head[0].weight, expected)


def pixels(images, size):
    return np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype=np.uint8)


def test_steps_train_on_the_loaders_views():
    network = NETWORKS["w_mse"](encoder(), FEATURES)
    before = network.head[0].weight.clone()
    with batches(pixels(2 * IMAGES, 8), Augmentation(), input_of(8), 2, IMAGES, workers=0) as views:
        trainer = Trainer(network, views, torch.device("cpu"), 1e-3)
        for _ in range(3):  # more than an epoch
            trainer.step()
    assert trainer.total > 0
    assert not before.equal(network.head[0].weight)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes' states are read from /proc")
def test_paused_workers_stop_and_go_on():
    def states():
        workers = [worker.pid for worker in multiprocessing.active_children()]
        return [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in workers]

    with batches(pixels(8, 12), Augmentation(), input_of(8), 3, 4, workers=1) as made:
        next(made)
        pause_workers()
        time.sleep(0.2)
        assert states() == ["T"]
        resume_workers()
        for _ in range(6):  # several epochs
            assert len(next(made)) == 3
        assert "T" not in states()
        pause_workers()
    assert states() == []
