"""The contract is wide enough: methods as a user writes them, each in one file, train, resume to the bit, and run in
bfloat16."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from harness.backbones import build_encoder
from harness.data.images import Images
from harness.data.views import ViewStream
from harness.engines.cost import step_flops
from harness.registry import all_methods
from harness.spec.models import (
    Augmentation,
    Backbone,
    Input,
    Optimiser,
    Pretraining,
    Schedule,
    Source,
    TrainingSpec,
    Views,
    WeightDecaySchedule,
)
from harness.training.checkpoints import from_bytes
from harness.training.networks import build_networks
from harness.training.trainer import Hooks, Interrupted, Trainer

CPU, SEED, EPOCHS, STEPS_PER_EPOCH, IMAGES = torch.device("cpu"), 5, 2, 3, 16
INPUT = Input(size=16, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
BACKBONE = Backbone(stem="small_max_pool", width=4)
FILES = {file.stem: file for file in sorted((Path(__file__).parent / "user_methods").glob("*.py"))}
SETTINGS = {
    "moco_queue": {"dimensions": 8, "queue": 40},  # two and a half batches: it wraps around
    "swav_multi_crop": {"dimensions": 8, "prototypes": 6, "frozen_steps": 2},
    "byol_pair": {"hidden": 16, "dimensions": 8},
    "continued": {},
}
WEAK = Augmentation(order="crop_jitter", blur_probability=1.0)
STRONG = Augmentation(order="crop_jitter", blur_probability=0.1, solarise_probability=0.2)
SMALL = Augmentation(crop_scale=(0.05, 0.3))
TRAINING = {
    "moco_queue": {},
    "swav_multi_crop": {
        "more_views": (Views(count=3, size=8, augmentation=SMALL),),
        "clip": 0.5,
        "weight_decay_schedule": WeightDecaySchedule(final=0.4),
    },
    "byol_pair": {"views": 1, "augmentation": WEAK, "more_views": (Views(count=1, augmentation=STRONG),)},
    "continued": {},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of an encoder that someone trained elsewhere."""
    file = tmp_path_factory.mktemp("weights") / "given.safetensors"
    safetensors.torch.save_file(build_encoder(BACKBONE, 3, 16, seed=99).state_dict(), file)
    return file


def pretraining_of(name, precision, weights):
    training = TrainingSpec(
        **{
            "views": 2,
            "augmentation": Augmentation(),
            "optimiser": Optimiser(name="adamw", lr=0.01, weight_decay=0.04),
            "schedule": Schedule(name="cosine", warmup_steps=2),
            "epochs": EPOCHS,
            "batch_size": IMAGES,
            "precision": precision,
            **TRAINING[name],
        }
    )
    sha = hashlib.sha256(weights.read_bytes()).hexdigest() if name == "continued" else None
    return Pretraining(
        method=name,
        settings=SETTINGS[name],
        input=INPUT,
        source=Source(name="noise", splits=("train",)),
        backbone=BACKBONE.model_copy(update={"weights": sha}),
        training=training,
        seed=SEED,
    )


def trainer_of(name, weights, precision="float32", stop_after=None):
    pretraining = pretraining_of(name, precision, weights)
    entry = all_methods([FILES[name]])[name]
    _, method = build_networks(pretraining, entry, 10, weights)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES * STEPS_PER_EPOCH + 5, 20, 20, 3), dtype=np.uint8)
    spec = pretraining.training
    views = ViewStream(
        Images(pixels, np.zeros(len(pixels), dtype=np.int64)),
        INPUT,
        spec.augmentation,
        spec.views,
        spec.batch_size,
        SEED,
        CPU,
        more_views=spec.more_views,
    )
    saved, steps = [], []

    def should_stop():
        steps.append(None)
        return len(steps) == stop_after

    hooks = Hooks(measure=lambda epochs: {}, report=lambda progress: None, should_stop=should_stop, save=saved.append)
    trainer = Trainer(spec, SEED, pretraining.id, method, views, CPU, hooks, silent=entry.silent)
    return trainer, saved


def untimed(tally):
    return [point.model_copy(update={"seconds": None}) for point in tally.curve]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def finished(weights):
    """Each method trained in one go."""
    done = {}
    for name in FILES:
        trainer, _ = trainer_of(name, weights)
        before = {key: value.clone() for key, value in trainer.method.state_dict().items()}
        done[name] = before, trainer, trainer.run()
    return done


def test_there_is_a_training_for_every_file():
    assert set(FILES) == set(TRAINING) == set(SETTINGS)


@pytest.mark.parametrize("name", FILES)
def test_it_trains(finished, name):
    before, trainer, tally = finished[name]
    assert tally.step == EPOCHS * STEPS_PER_EPOCH
    after = trainer.method.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert moved >= {f"encoder.{key}" for key, _ in trainer.method.encoder.named_parameters()}
    assert all(np.isfinite(value) for point in tally.curve for value in point.values.values())


@pytest.mark.parametrize("stop_after", [1, STEPS_PER_EPOCH, 4])
@pytest.mark.parametrize("name", FILES)
def test_it_resumes_to_the_bit(finished, weights, name, stop_after):
    _, whole, whole_tally = finished[name]
    stopped, saved = trainer_of(name, weights, stop_after=stop_after)
    with pytest.raises(Interrupted):
        stopped.run()
    torch.manual_seed(99)  # whatever state the next process is in
    resumed, _ = trainer_of(name, weights)
    resumed.restore(from_bytes(saved[-1], resumed.run_id))
    tally = resumed.run()
    assert equal(resumed.method.state_dict(), whole.method.state_dict())
    assert untimed(tally) == untimed(whole_tally)


@pytest.mark.parametrize("name", FILES)
def test_it_runs_in_bfloat16(weights, name):
    trainer, _ = trainer_of(name, weights, "bfloat16")
    seen, before = [], next(trainer.method.encoder.parameters()).clone()
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype) if isinstance(module, torch.nn.Linear) else None
    )
    try:
        tally = trainer.run()
    finally:
        hook.remove()
    assert tally.step == EPOCHS * STEPS_PER_EPOCH
    assert not torch.equal(before, next(trainer.method.encoder.parameters()))
    assert trainer.last_loss.dtype == torch.float32
    assert name == "continued" or torch.bfloat16 in seen


@pytest.mark.parametrize("name", FILES)
def test_its_operations_are_counted(weights, name):
    trainer, _ = trainer_of(name, weights)
    assert step_flops(trainer.method, trainer.spec, INPUT) > 0


@pytest.mark.parametrize("name", FILES)
def test_it_is_one_screen_or_two(name):
    assert len(FILES[name].read_text().splitlines()) < 80


def test_the_queue_holds_the_last_keys(finished):
    _, trainer, _ = finished["moco_queue"]
    method = trainer.method
    assert int(method.oldest) == EPOCHS * STEPS_PER_EPOCH * IMAGES % 40
    torch.testing.assert_close(method.queue.norm(dim=1), torch.ones(40))
    assert not torch.equal(method.queue, finished["moco_queue"][0]["queue"])


def test_prototypes_begin_to_move_after_the_steps_in_which_they_are_silent(weights):
    stopped, _ = trainer_of("swav_multi_crop", weights, stop_after=2)
    before = stopped.method.prototypes.weight.clone()
    with pytest.raises(Interrupted):
        stopped.run()
    torch.testing.assert_close(stopped.method.prototypes.weight, before)
    on, _ = trainer_of("swav_multi_crop", weights, stop_after=4)
    with pytest.raises(Interrupted):
        on.run()
    assert (on.method.prototypes.weight - before).abs().max() > 1e-3


def test_the_swav_trainer_schedules_weight_decay_but_not_of_the_prototypes(finished):
    _, trainer, _ = finished["swav_multi_crop"]
    decays = {group["weight_decay"] for group in trainer.optimiser.param_groups}
    last = EPOCHS * STEPS_PER_EPOCH - 1
    expected = 0.4 + (0.04 - 0.4) * (1 + np.cos(np.pi * last / (last + 1))) / 2
    assert sorted(decays) == pytest.approx([0.0, expected])


def test_terms_are_on_the_curve_as_epoch_means_that_add_up(finished):
    for name, terms in (("byol_pair", ("from_weak", "from_strong")), ("continued", ("agree", "stay"))):
        for point in finished[name][2].curve:
            parts = [point.values[f"loss_{term}"] for term in terms]
            assert sum(parts) == pytest.approx(point.values["loss"], rel=1e-5)


def test_training_goes_on_from_the_given_weights(finished, weights):
    before, trainer, _ = finished["continued"]
    given = safetensors.torch.load_file(weights)
    assert all(torch.equal(before[f"encoder.{key}"], value) for key, value in given.items())
    kept = dict(trainer.method.given.named_parameters())
    assert all(torch.equal(kept[key], given[key]) for key in kept)
