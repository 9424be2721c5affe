"""Whatever a training draws is drawn by the cell's seed: each draw by itself, as one of them would hide another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from harness.registry import all_methods
from methods.composed import Composed
from tests.fields.whole import Images, cell_of

DRAWS = ("encoder", "head", "views", "order", "dropout", "generator")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(seed) -> what the first two steps of a training were given, by what it is."""
    images = Images(tmp_path_factory.mktemp("fields"))

    class Noting(Composed):
        def loss(self, batch, step):
            views = batch.views[0].sum((2, 3, 4))  # (d, N)
            given = (
                next(self.encoder.parameters()).detach(),
                next(self.head.parameters()).detach(),
                views.gather(1, batch.index.argsort().expand_as(views)),  # in an order that is not drawn
                batch.index,
                F.dropout(torch.ones(64)),
                torch.rand(4, generator=step.generator),
            )
            steps.append([value.clone() for value in given])
            return super().loss(batch, step)

    def run(seed):
        steps.clear()
        head = {"projector": {"hidden": (8,), "embedding_size": 4}}
        whole_batches = images.pretraining("plain_mse", head, epochs=2, batch_size=48)  # all images in one
        pretraining = whole_batches.model_copy(update={"seed": seed})
        entry = replace(all_methods()["plain_mse"], build=Noting)
        torch.manual_seed(torch.seed())  # what the process has drawn before is of no matter
        images.run(tmp_path_factory.mktemp("cells"), cell_of(pretraining), entry)
        return dict(zip(DRAWS, zip(*steps, strict=True), strict=True))

    steps = []
    return {name: run(seed) for name, seed in (("first", 0), ("again", 0), ("other", 1))}


@pytest.mark.parametrize("draw", DRAWS)
def test_each_draw_belongs_to_the_seed(drawn, draw):
    for first, again, other in zip(*(drawn[name][draw] for name in ("first", "again", "other")), strict=True):
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


@pytest.mark.parametrize("draw", DRAWS[2:])
def test_each_step_has_draws_of_its_own(drawn, draw):
    one, two = drawn["first"][draw]
    assert not torch.equal(one, two)
