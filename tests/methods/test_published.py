"""The defaults against the published hyper-parameters, each with its source: a method, a part or a probe that is named
without any setting runs as its authors ran it.

Read from the authors' released code where a line says `code`, else from the paper.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from harness.registry import all_methods, all_probes
from harness.spec.models import Augmentation, Optimiser, Schedule
from methods import composition, losses
from methods.losses.distances import normalised_mse
from methods.losses.nt_xent import nt_xent
from methods.losses.variance_covariance import both_terms, variance_covariance, variance_term
from methods.losses.whitening import whiten

# arXiv 2007.06346, code: Linear(512, 1024), BatchNorm, ReLU, Linear(1024, 64); biases on, no BatchNorm on the output
HEAD = {
    "projector.hidden": (1024,),
    "projector.embedding_size": 64,
    "projector.batch_norm": True,
    "projector.bias": True,
    "projector.output_norm": "none",
    "projector.output_bias": True,
}
# The same: no eps, one slicing iteration, sub-batches of twice the embedding
WHITENING = {
    "transform.kind": "whitening",
    "transform.sub_batch_size": 128,
    "transform.slicing_iterations": 1,
    "transform.variant": "cholesky",
    "transform.eps": 0.0,
    "transform.newton_iterations": 5,
}
PLAIN = {
    "transform": None,
    "predictor": None,
    "target": None,
    "stop_gradient": False,
    "pair_weight": 1.0,
    "regulariser": None,
}
TOGETHER, APART = {"head_scope": "all_views"}, {"head_scope": "per_view"}
COSINE = {"pair_loss.kind": "normalised_mse", "pair_loss.directions": "mean"}
# arXiv 2002.05709, with the temperature of arXiv 2007.06346's comparison
NT_XENT = {"pair_loss.kind": "nt_xent", "pair_loss.temperature": 0.5, "pair_loss.l2_normalise": True}
PUBLISHED: dict[str, dict[str, Any]] = {
    "w_mse": HEAD | PLAIN | WHITENING | TOGETHER | COSINE,
    "plain_mse": HEAD | PLAIN | TOGETHER | COSINE,
    "contrastive": HEAD | PLAIN | {"transform.kind": "batch_norm"} | TOGETHER | NT_XENT,
    "whitened_contrastive": HEAD | PLAIN | WHITENING | TOGETHER | NT_XENT,
    # arXiv 2006.07733 in the sizes of arXiv 2007.06346, code: tau from 0.99, a pair's two directions summed
    "byol": HEAD
    | PLAIN
    | APART
    | {
        "predictor.predictor_hidden": 1024,
        "predictor.predictor_batch_norm": True,
        "predictor.predictor_bias": True,
        "predictor.constant_lr": False,
        "target.target_momentum": 0.99,
        "stop_gradient": True,
        "pair_loss.kind": "normalised_mse",
        "pair_loss.directions": "sum",
    },
    # arXiv 2011.10566, appendix D (two layers on CIFAR-10, 2048, bottleneck 512), and builder.py
    "simsiam": HEAD
    | PLAIN
    | APART
    | {
        "projector.hidden": (2048,),
        "projector.embedding_size": 2048,
        "projector.bias": False,
        "projector.output_norm": "plain",
        "projector.output_bias": False,
        "predictor.predictor_hidden": 512,
        "predictor.predictor_batch_norm": True,
        "predictor.predictor_bias": False,
        "predictor.constant_lr": True,
        "stop_gradient": True,
        "pair_loss.kind": "negative_cosine",
    },
    # arXiv 2103.03230: lambda 0.0051 = 5.1e-3; layers without bias, code; 2048 wide where the paper has 8192
    "barlow_twins": HEAD
    | PLAIN
    | APART
    | {
        "projector.hidden": (2048, 2048),
        "projector.embedding_size": 2048,
        "projector.bias": False,
        "projector.output_bias": False,
        "pair_loss.kind": "cross_correlation",
        "pair_loss.off_diagonal_weight": 0.0051,
    },
    # arXiv 2105.04906: 25, 25, 1, gamma 1, 1e-4, the variance term summed over views; last layer without bias, code
    "vicreg": HEAD
    | PLAIN
    | APART
    | {
        "projector.hidden": (2048, 2048),
        "projector.embedding_size": 2048,
        "projector.output_bias": False,
        "pair_loss.kind": "mse",
        "pair_weight": 25.0,
        "regulariser.variance_weight": 25.0,
        "regulariser.covariance_weight": 1.0,
        "regulariser.variance_views": "sum",
        "regulariser.gamma": 1.0,
        "regulariser.variance_eps": 1e-4,
    },
    "supervised": {},
    "untrained": {},
    "pixels": {},
    "given_weights": {},
}
# What a part has that a suite names by its kind alone, such as `pair_loss: {kind: cross_correlation}`
PARTS: dict[str, dict[str, Any]] = {
    "Projector": {name.removeprefix("projector."): value for name, value in HEAD.items()},
    "WhiteningTransform": {name.removeprefix("transform."): value for name, value in WHITENING.items()},
    "BatchNormTransform": {"kind": "batch_norm"},
    "Predictor": {
        "predictor_hidden": 1024,
        "predictor_batch_norm": True,
        "predictor_bias": True,
        "constant_lr": False,
    },
    "MomentumTarget": {"target_momentum": 0.99},
    "NormalisedMse": {"kind": "normalised_mse", "directions": "mean"},
    "Mse": {"kind": "mse"},
    "NegativeCosine": {"kind": "negative_cosine"},
    "NtXent": {"kind": "nt_xent", "temperature": 0.5, "l2_normalise": True},
    "CrossCorrelation": {"kind": "cross_correlation", "off_diagonal_weight": 0.0051},
    "VarianceCovariance": {
        "variance_weight": 25.0,
        "covariance_weight": 1.0,
        "variance_views": "sum",
        "gamma": 1.0,
        "variance_eps": 1e-4,
    },
}
# Of the losses as plain functions
FUNCTIONS: dict[str, dict[str, Any]] = {
    "w_mse_loss": {"slicing_iterations": 1, "distance": "normalised_mse", "variant": "cholesky", "eps": 0.0},
    "plain_mse_loss": {"distance": "normalised_mse"},
    "contrastive_loss": {"temperature": 0.5},
    "whitened_contrastive_loss": {
        "slicing_iterations": 1,
        "temperature": 0.5,
        "l2_normalise": True,
        "variant": "cholesky",
        "eps": 0.0,
    },
    "byol_loss": {},
    "simsiam_loss": {},
    "vicreg_loss": {
        "invariance_weight": 25.0,
        "variance_weight": 25.0,
        "covariance_weight": 1.0,
        "variance_views": "sum",
    },
    "barlow_twins_loss": {"off_diagonal_weight": 0.0051},
    "supervised_loss": {},
}
# Of what these are made of
FORMULAS: dict[Callable[..., Any], dict[str, Any]] = {
    normalised_mse: {"directions": "mean"},
    nt_xent: {"temperature": 0.5, "l2_normalise": True},
    variance_term: {"gamma": 1.0, "variance_eps": 1e-4},
    both_terms: {"gamma": 1.0, "variance_eps": 1e-4},
    variance_covariance: PARTS["VarianceCovariance"],
    whiten: {"variant": "cholesky", "eps": 0.0, "newton_iterations": 5, "monitor": None},
}
# arXiv 2105.04906, code (evaluate.py): SGD, momentum 0.9, batch 256, random resized crops and flips
SGD = {"batch_size": 256, "momentum": 0.9, "crop_scale": (0.08, 1.0), "flip_probability": 0.5}
PROBES: dict[str, dict[str, Any]] = {
    # arXiv 2007.06346, code
    "linear": {"epochs": 500, "batch_size": 1000, "lr": 1e-2, "final_lr": 1e-6, "weight_decay": 5e-6},
    "knn": {"k": 5},
    # scikit-learn's own C
    "lbfgs": {"c": 1.0, "max_iterations": 1000},
    "sgd": SGD | {"epochs": 100, "lr": 0.02, "weight_decay": 1e-6},
    # 1 % of the labels
    "fine_tune": SGD | {"epochs": 20, "lr": 0.08, "encoder_lr": 0.03, "weight_decay": 0.0},
}
# arXiv 2007.06346, code: CIFAR, STL-10 and Tiny ImageNet
TRAINING: dict[type[BaseModel], dict[str, Any]] = {
    Augmentation: {
        "order": "jitter_crop",
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "jitter_probability": 0.8,
        "greyscale_probability": 0.1,
        "crop_scale": (0.2, 1.0),
        "crop_ratio": (3 / 4, 4 / 3),
        "flip_probability": 0.5,
        "blur_probability": 0.0,
        "blur_sigma": (0.1, 2.0),  # of ImageNet-100's
        "solarise_probability": 0.0,
        "solarise_threshold": 0.5,
    },
    Optimiser: {
        "name": "adam",
        "lr": 3e-3,
        "weight_decay": 1e-6,
        "decay_bias_and_norm": True,
        "momentum": 0.9,
        "betas": (0.9, 0.999),
        "eps": 1e-8,  # torch's
        "trust_coefficient": 1e-3,
    },
    Schedule: {"name": "step", "warmup_steps": 500, "drops": (50, 25), "drop_factor": 0.2, "final_fraction": 0.0},
}


def leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@pytest.mark.parametrize("name", all_methods())
def test_a_method_by_default(name: str):
    inside = {path.split(".")[0] for path in PUBLISHED[name] if "." in path}
    expected = {path: value for path, value in PUBLISHED[name].items() if path not in inside}  # a part is no None
    assert dict(leaves(all_methods()[name].settings())) == expected


@pytest.mark.parametrize("name", PARTS)
def test_a_part_by_default(name: str):
    assert dict(leaves(getattr(composition, name)())) == PARTS[name]


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@pytest.mark.parametrize("name", losses.__all__)
def test_a_loss_by_default(name: str):
    assert defaults(getattr(losses, name)) == FUNCTIONS[name]


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_by_default(formula: Callable[..., Any]):
    assert defaults(formula) == FORMULAS[formula]


@pytest.mark.parametrize("name", all_probes())
def test_a_probe_by_default(name: str):
    assert dict(leaves(all_probes()[name].settings())) == PROBES[name]


@pytest.mark.parametrize("model", TRAINING)
def test_a_training_by_default(model: type[BaseModel]):
    assert dict(leaves(model())) == TRAINING[model]
