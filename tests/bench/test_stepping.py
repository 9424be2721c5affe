"""The real trainer goes on by exactly the steps it is asked for."""

import pytest

from harness.bench.row import Unavailable
from harness.bench.stepping import QUIET, SteppedTrainer, Training

TINY = Training("w_mse", views=2, images=32, size=8, width=4, embedding=8)


def test_steps_go_on_where_they_were(machine):
    trainer = SteppedTrainer(TINY, "float32", machine)
    weight = trainer.trainer.method.encoder.conv1.weight
    before = weight.clone()
    assert trainer.advance(3) > 0
    assert trainer.trainer.tally.step == trainer.untimed + 3
    assert trainer.advance(2) > 0
    assert trainer.trainer.tally.step == 2 * trainer.untimed + 5
    assert not before.equal(weight)


def test_its_hooks_are_used(machine):
    reports = []
    hooks = QUIET.__class__(**{**vars(QUIET), "report": reports.append, "report_seconds": 0.0})
    trainer = SteppedTrainer(TINY, "float32", machine, hooks)
    trainer.advance(2)
    assert [report.step for report in reports] == list(range(1, 3 + trainer.untimed))


def test_the_pretraining_is_what_was_asked_for():
    made = Training("w_mse", 4, 512, 16, 16, embedding=128, slicing_iterations=3).pretraining("bfloat16")
    assert (made.training.views, made.training.batch_size, made.input.size, made.backbone.width) == (4, 512, 16, 16)
    assert made.settings["projector"]["embedding_size"] == 128
    assert made.settings["transform"]["sub_batch_size"] == 256
    assert made.settings["transform"]["slicing_iterations"] == 3
    assert made.training.precision == "bfloat16"


def test_a_combination_that_cannot_work_is_unavailable():
    with pytest.raises(Unavailable, match="a batch of 128 images cannot be cut into sub-batches of 256"):
        Training("w_mse", 2, 128, 32, 16, embedding=128).pretraining("float32")
