"""Every setting of every built-in method changes what it trains to, or what the trainer is told, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from harness.registry import all_methods
from methods.composition import Composition
from methods.entry import MethodEntry, Settings
from methods.method import Batch, Loss, Step
from tests.fields.whole import models_in

IMAGES, SIDE, FEATURES, CLASSES, STEPS = 16, 2, 6, 5, 2
SMALL: dict[str, dict[str, Any]] = {
    "Projector": {"hidden": (8,), "embedding_size": 4},
    "WhiteningTransform": {"sub_batch_size": 8},
    "Predictor": {"predictor_hidden": 8},
}
"""In place of the defaults, so that a method trains in milliseconds."""
WHITENING = {"kind": "whitening", "sub_batch_size": 8}
NEWTON = {**WHITENING, "variant": "newton", "newton_iterations": 5}
Change = Callable[[Any], Any]


def other(*choices: Any) -> Change:
    """The first of these that is not there already."""
    return lambda now: next(choice for choice in choices if choice != now)


def toggled(value: dict[str, Any]) -> Change:
    """None where there is a part, this part where there is none."""
    return lambda now: value if now is None else None


CHANGES: dict[str, dict[str, Change]] = {
    "Composition": {
        "head_scope": other("all_views", "per_view"),
        "transform": toggled(WHITENING),
        "predictor": toggled({"predictor_hidden": 8}),
        "target": toggled({}),
        "stop_gradient": lambda now: not now,
        "pair_loss": lambda now: {"kind": other("mse", "nt_xent")(now["kind"])},
        "pair_weight": lambda now: now * 2,
        "regulariser": toggled({}),
    },
    "Projector": {
        "hidden": other((8, 8), (12,)),
        "embedding_size": other(3),
        "batch_norm": lambda now: not now,
        "bias": lambda now: not now,
        "output_norm": other("plain", "affine"),
        "output_bias": lambda now: not now,
    },
    "WhiteningTransform": {
        "sub_batch_size": other(16),
        "slicing_iterations": other(2),
        "variant": other("zca"),
        "eps": other(0.1),
        "newton_iterations": other(3),
    },
    "Predictor": {
        "predictor_hidden": other(12),
        "predictor_batch_norm": lambda now: not now,
        "predictor_bias": lambda now: not now,
        "constant_lr": lambda now: not now,
    },
    "MomentumTarget": {"target_momentum": other(0.5)},
    "NormalisedMse": {"directions": other("mean", "sum")},
    "NtXent": {"temperature": other(0.1), "l2_normalise": lambda now: not now},
    "CrossCorrelation": {"off_diagonal_weight": other(0.051)},
    "VarianceCovariance": {
        "variance_weight": other(5.0),
        "covariance_weight": other(5.0),
        "variance_views": other("mean", "sum"),
        "gamma": other(2.0),
        "variance_eps": other(0.1),
    },
}
GIVEN: dict[tuple[str, str], dict[str, Any]] = {
    ("WhiteningTransform", "newton_iterations"): {"transform": NEWTON},
    ("Composition", "target"): {"stop_gradient": True},
}
"""What has to be otherwise in both trainings for a setting to matter."""
REFUSED = {("byol", "stop_gradient"): "a momentum target receives no gradient"}
"""Of a method, what contradicts another of its settings."""


def small(settings: Settings) -> dict[str, Any]:
    """A method's defaults as plain values, with small heads."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    plain = {name: small(value) if isinstance(value, Settings) else value for name, value in values.items()}
    return plain | SMALL.get(type(settings).__name__, {})


def owner_of(model: type[BaseModel]) -> str:
    """The class that declares a method's settings: methods of one family share it."""
    return "Composition" if issubclass(model, Composition) else model.__name__


def fields(settings: Settings, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name of the class of settings, path to the field) of all that a method's defaults hold."""
    owner = owner_of(type(settings))
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name != "kind":  # which part it is: the choice of the part changes it
            if not isinstance(value, Settings) or name in CHANGES.get(owner, {}):
                yield owner, (*prefix, name)
            if isinstance(value, Settings):
                yield from fields(value, (*prefix, name))


CASES = [(name, *found) for name, entry in all_methods().items() for found in fields(entry.settings())]


def declared(model: type[BaseModel]) -> set[tuple[str, str]]:
    """(name of the class, field) of all settings that a method can have, whether its defaults hold them or not."""
    found = {(owner_of(model), name) for name in model.model_fields}
    inner = {part for field in model.model_fields.values() for part in models_in(field.annotation)}
    return found.union(*(declared(part) for part in inner))


def test_every_setting_has_a_change():
    tried = {(owner, path[-1]) for _, owner, path in CASES}
    every = set().union(*(declared(entry.settings) for entry in all_methods().values()))
    assert {(owner, name) for owner, name in every if name != "kind"} == tried | {("Composition", "projector")}


def trained(entry: MethodEntry, values: dict[str, Any]) -> tuple[Any, ...]:
    """Losses, weights and groups of parameters after two steps of SGD on noise."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, FEATURES), nn.BatchNorm1d(FEATURES), nn.Tanh())
    method = entry.builder()(entry.settings.model_validate(values), encoder, FEATURES, CLASSES)
    optimiser = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for index in range(STEPS):
        draw = torch.Generator().manual_seed(index)
        views = torch.randn(2, IMAGES, 3, SIDE, SIDE, generator=draw)
        step = Step(index=index, steps=STEPS, epoch=index, epochs=STEPS, generator=draw)
        batch = Batch((views,), torch.arange(IMAGES) % CLASSES, torch.arange(IMAGES))
        loss = Loss.of(method.loss(batch, step)).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        method.after_step(step)
        losses.append(loss.item())
    names = {parameter: name for name, parameter in method.named_parameters()}
    groups = [
        (group.lr_scale, group.constant_lr, group.decay, [names[parameter] for parameter in group.parameters])
        for group in method.parameter_groups()
    ]
    return losses, {name: value.tolist() for name, value in method.state_dict().items()}, groups


def with_value(values: dict[str, Any], path: tuple[str, ...], change: Change) -> dict[str, Any]:
    first, *rest = path
    return {**values, first: with_value(values[first], tuple(rest), change) if rest else change(values[first])}


@pytest.mark.parametrize(("name", "owner", "path"), CASES, ids=[f"{name}-{'.'.join(path)}" for name, _, path in CASES])
def test_a_setting_changes_the_training_or_is_refused(name: str, owner: str, path: tuple[str, ...]):
    entry = all_methods()[name]
    before = small(entry.settings()) | GIVEN.get((owner, path[-1]), {})
    after = with_value(before, path, CHANGES[owner][path[-1]])
    if (reason := REFUSED.get((name, path[-1]))) is not None:
        with pytest.raises(ValidationError, match=reason):
            entry.settings.model_validate(after)
    else:
        assert trained(entry, before) == trained(entry, before)
        assert trained(entry, before) != trained(entry, after)
