"""The plain networks compute the losses of the methods of the same name, from the same parameters."""

import numpy as np
import pytest
import torch

from harness.backbones import build_encoder
from harness.bench.conventional.pipeline import closing, endless, loader, pause, resume
from harness.bench.conventional.training import NETWORKS, Trainer
from harness.registry import all_methods
from harness.spec.models import Augmentation, Backbone
from methods.method import Batch, Loss, Step

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


def test_a_step_trains_on_the_loaders_views():
    pixels = np.random.default_rng(0).integers(0, 256, (2 * IMAGES, 8, 8, 3), dtype=np.uint8)
    labels = np.zeros(len(pixels), dtype=np.int64)
    source = loader(pixels, labels, Augmentation(), 8, (0.5,) * 3, (0.25,) * 3, views=2, batch_size=IMAGES, workers=1)
    batches = endless(source)
    network = NETWORKS["w_mse"](encoder(), FEATURES)
    before = network.head[0].weight.clone()
    trainer = Trainer(network, batches, torch.device("cpu"), 1e-3)
    try:
        for _ in range(3):  # more than an epoch
            resume()
            trainer.step()
            pause()
    finally:
        closing(batches)()
    assert trainer.total > 0
    assert not before.equal(network.head[0].weight)
