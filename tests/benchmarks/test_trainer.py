"""The real trainer, step by step."""

import pytest

from methods.losses.slice_monitor import WhiteningError
from tests.benchmarks.trainer import SteppedTrainer, Training

TINY = Training(images=32, size=8, width=4, embedding=8)


def test_the_trainer_goes_on_by_the_steps_that_it_is_asked_for(machine):
    trainer = SteppedTrainer(TINY, "float32", machine, counted=True)
    weight = trainer.trainer.method.encoder.conv1.weight
    before = weight.clone()
    for steps, total in ((3, 3), (2, 5)):
        trainer.advance(steps)
        assert trainer.trainer.tally.step == total
    trainer.close()
    assert trainer.trainer.tally.step <= 6
    assert not before.equal(weight)
    assert trainer.flops > 0


def test_a_trainer_that_fails_is_an_error_and_no_wait_without_end(machine):
    trainer = SteppedTrainer(TINY, "float32", machine)
    trainer.trainer.optimiser.param_groups[0]["params"][0].data.fill_(float("nan"))
    with pytest.raises(WhiteningError):
        trainer.advance(3)
    trainer.close()


def test_a_training_is_what_was_asked_for():
    training = Training("w_mse", 4, 512, 16, 16, embedding=128, slicing_iterations=3).pretraining("bfloat16")
    assert (training.training.views, training.training.batch_size, training.training.precision) == (4, 512, "bfloat16")
    assert (training.input.size, training.backbone.width) == (16, 16)
    assert training.settings["projector"]["embedding_size"] == 128
    assert training.settings["transform"]["sub_batch_size"] == 256
    assert training.settings["transform"]["slicing_iterations"] == 3
