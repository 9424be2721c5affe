"""Every field of a pretraining changes its encoder, or is refused: none is written down, hashed and ignored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from harness.spec.models import Augmentation, Pretraining, Views, WeightDecaySchedule
from tests.fields.whole import Images, canonical, cell_of, changed, encoder_of, field_paths

OTHER_SHA = "0" * 64
GREY = {"input.channels": 1, "input.mean": (0.5,), "input.std": (0.25,)}
SETTINGS = {
    "projector": {"hidden": (8,), "embedding_size": 4},
    "transform": {"kind": "whitening", "sub_batch_size": 8},
}
UNNAMED = {"source.images": None, "source.labels": None}


@dataclass(frozen=True)
class Change:
    """Another value of a field, and what else has to be otherwise, in both runs, for the field to matter."""

    value: Any
    given: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None
    """The reason, where nothing is trained."""
    more: dict[str, Any] = field(default_factory=dict)
    """What changes with the field."""


AUGMENTATION = {
    "order": Change("crop_jitter"),
    "brightness": Change(0.1),
    "contrast": Change(0.1),
    "saturation": Change(0.1),
    "hue": Change(0.4),
    "jitter_probability": Change(0.2),
    "greyscale_probability": Change(0.9),
    "crop_scale": Change((0.5, 0.6)),
    "crop_ratio": Change((0.9, 1.1)),
    "flip_probability": Change(0.0),
    "blur_probability": Change(1.0),
    "blur_sigma": Change((1.0, 1.5), {"training.augmentation.blur_probability": 1.0}),
    "solarise_probability": Change(1.0),
    "solarise_threshold": Change(0.2, {"training.augmentation.solarise_probability": 1.0}),
}
SGD, LARS = ({"training.optimiser.name": name, "training.optimiser.momentum": 0.5} for name in ("sgd", "lars"))
LONG = {"training.epochs": 2}
SCHEDULED = {**LONG, "training.weight_decay_schedule": WeightDecaySchedule(final=0.5)}
OPTIMISER = {
    "name": [Change("adamw", {"training.optimiser.weight_decay": 0.1}), Change("sgd"), Change("lars")],
    "lr": Change(1e-3),
    "weight_decay": [Change(0.1), Change(0.1, SGD), Change(0.1, LARS)],
    "decay_bias_and_norm": [Change(False, {"training.optimiser.weight_decay": 0.1}), Change(False, LARS)],
    "momentum": [Change(0.8, SGD), Change(0.8, LARS)],
    "betas": [Change((0.5, 0.999)), Change((0.9, 0.9)), Change((0.5, 0.9), {"training.optimiser.name": "adamw"})],
    "eps": [Change(1e-3), Change(1e-3, {"training.optimiser.name": "adamw"})],
    "trust_coefficient": Change(0.01, LARS),
}
COSINE = {**LONG, "training.schedule.name": "cosine"}
SCHEDULE = {
    "name": [Change("cosine", LONG), Change("constant", {**LONG, "training.schedule.drops": (1,)})],
    "warmup_steps": Change(0),
    "drops": Change((1,), LONG),
    "drop_factor": Change(0.5, {**LONG, "training.schedule.drops": (1,)}),
    "final_fraction": Change(0.5, COSINE),
}
TRAINING = {
    "views": Change(3),
    "more_views.count": Change(()),  # of no group; see `GROUPS`
    "more_views.size": Change(()),
    "more_views.augmentation": Change(()),
    "weight_decay_schedule.name": Change("linear", SCHEDULED, refused="Input should be 'cosine'"),
    "weight_decay_schedule.final": Change(0.1, SCHEDULED),
    "clip": Change(0.01, SGD),  # Adam takes no notice of a gradient's scale, but for eps
    "epochs": Change(2),
    "batch_size": Change(24),
    # At 8 pixels the last layers see one: torch's bfloat16 convolution then has had gradients that are not finite.
    "precision": Change("bfloat16", {"input.size": 16}),
}
CHANGES: dict[str, Change | list[Change]] = {
    "method": Change("contrastive", {"method": "plain_mse", "settings": {}}),
    "settings": Change({**SETTINGS, "pair_weight": 2.0}),
    "input.size": Change(10),
    "input.channels": Change(1, refused="has 3 channels, not the 1 asked for", more=GREY),
    "input.mean": Change((0.1, 0.2, 0.3)),
    "input.std": Change((0.1, 0.2, 0.3)),
    "source.name": [Change("cifar10", UNNAMED), Change("cifar10", refused="fingerprint")],
    "source.splits": [Change(("train", "unlabeled"), UNNAMED), Change(("unlabeled",), refused="fingerprint")],
    "source.images": Change((OTHER_SHA,), refused="the images of split train"),
    "source.labels": Change((OTHER_SHA,), refused="the labels of split train"),
    "source.train_images": Change(40),
    "source.validation_fraction": [Change(0.25), Change(0.25, {"source.train_images": 20})],
    "backbone.name": Change("resnet34"),
    "backbone.stem": Change("small_max_pool"),
    "backbone.width": Change(6),
    "backbone.zero_init_last": Change(True),
    "backbone.options": Change({"drop_rate": 0.5}),
    "backbone.weights": [Change("of the file"), Change(OTHER_SHA, refused="no file was named")],
    "seed": Change(1),
    **{f"training.augmentation.{name}": change for name, change in AUGMENTATION.items()},
    **{f"training.optimiser.{name}": change for name, change in OPTIMISER.items()},
    **{f"training.schedule.{name}": change for name, change in SCHEDULE.items()},
    **{f"training.{name}": change for name, change in TRAINING.items()},
}
GROUP = Views(count=1, size=6, augmentation=Augmentation())
"""A second group of views; the fields of a group are changed in it."""
GROUPS = {
    "training.more_views.count": GROUP.model_copy(update={"count": 2}),
    "training.more_views.size": GROUP.model_copy(update={"size": None}),
    "training.more_views.augmentation": GROUP.model_copy(update={"augmentation": Augmentation(hue=0.4)}),
}
CASES = [(path, change) for path, some in CHANGES.items() for change in (some if isinstance(some, list) else [some])]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(what differs from the base) -> the encoder that comes out; each pretraining is run once."""
    images, known = Images(tmp_path_factory.mktemp("fields")), {}
    base = images.pretraining("w_mse", SETTINGS, optimiser={"lr": 0.01}, schedule={"warmup_steps": 2})

    def run(changes, fresh=False):
        if changes.get("backbone.weights") == "of the file":
            changes = {**changes, "backbone.weights": images.sha}
        groups = [name for name in changes if name.startswith("training.more_views.")]
        for name in groups:
            changes = {**changes, "training.more_views": (changes[name].model_dump(),)}
            del changes[name]
        pretraining = changed(base, changes)
        key = canonical(pretraining)
        if key not in known or fresh:
            known[key] = images.run(tmp_path_factory.mktemp("cells"), cell_of(pretraining))
        return pretraining, known[key]

    return run


def test_every_field_has_a_change():
    assert set(CHANGES) == set(field_paths(Pretraining))


def test_the_same_pretraining_gives_the_same_encoder(trained):
    assert encoder_of(trained({})[1]) == encoder_of(trained({}, fresh=True)[1])


def label(value):
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("path", "change"), CASES, ids=label)
def test_a_field_changes_the_encoder_or_is_refused(trained, path, change):
    given, value = change.given, change.value
    if path in GROUPS:
        given, value = {path: GROUP}, GROUPS[path]
    changes = {**given, path: value, **change.more}
    before, reference = trained(given)
    if change.refused is None:
        after, result = trained(changes)
        assert after.id != before.id
        assert encoder_of(result) != encoder_of(reference)
        return
    if change.refused.startswith("Input should be"):
        with pytest.raises(ValidationError, match=change.refused):
            trained(changes)
        return
    after, result = trained(changes)
    assert change.refused in result.failures["training"].message
    assert after.id != before.id or path in ("source.name", "source.splits")  # the content is known
