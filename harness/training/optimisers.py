"""Optimisers from torch and timm, with the parameter groups that a training asks for. Never scales a learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from timm.optim.lars import Lars
from torch import nn

from harness.spec.models import Optimiser
from methods.method import Method


def build_optimiser(method: Method, spec: Optimiser) -> torch.optim.Optimizer:
    """The optimiser of every trainable parameter of `method`.

    Groups carry `constant_lr`: whether their rate, once warmed up, stays (SimSiam's predictor). Without
    `decay_bias_and_norm`, parameters of one dimension (biases, normalisation) form groups of their own, without weight
    decay and without LARS's layer-wise rate.
    """
    groups = list(_groups(method, spec))
    if spec.name == "adam":
        return torch.optim.Adam(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
    if spec.name == "adamw":
        return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, fused=True)
    for group in groups:
        group["always_adapt"] = group["adapted"]
    lars: torch.optim.Optimizer = Lars(
        groups, lr=spec.lr, momentum=spec.momentum, trust_coeff=spec.trust_coefficient, eps=spec.eps
    )
    return lars


def _groups(method: Method, spec: Optimiser) -> Iterable[dict[str, Any]]:
    constant = {id(parameter) for parameter in method.constant_lr_parameters()}
    sorted_out: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in method.parameters():
        if parameter.requires_grad:
            adapted = spec.decay_bias_and_norm or parameter.ndim > 1
            sorted_out.setdefault((id(parameter) in constant, adapted), []).append(parameter)
    for (constant_lr, adapted), parameters in sorted_out.items():
        yield {
            "params": parameters,
            "weight_decay": spec.weight_decay if adapted else 0.0,
            "constant_lr": constant_lr,
            "adapted": adapted,
        }
