"""Optimisers from torch and timm, with the parameter groups that a training asks for. Never scales a learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from timm.optim.lars import Lars
from torch import nn

from harness.spec.models import Optimiser
from methods.method import Method, ParameterGroup

EVERYTHING_ELSE = ParameterGroup(())


def build_optimiser(method: Method, spec: Optimiser) -> torch.optim.Optimizer:
    """The optimiser of every trainable parameter of `method`.

    Groups carry what the schedules ask: `constant_lr`, whether their rate, once warmed up, stays (SimSiam's predictor);
    `lr_scale`, what it is multiplied by; `decayed`, whether they have weight decay. Without `decay_bias_and_norm`,
    parameters of one dimension (biases, normalisation) form groups of their own, without weight decay and without
    LARS's layer-wise rate, unless the method's own group says otherwise.

    Raises:
        ValueError: the method names a parameter in two groups, or one that is none of its own.
    """
    groups = list(_groups(method, spec))
    if spec.name == "adam":
        return torch.optim.Adam(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
    if spec.name == "adamw":
        return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, fused=True)
    for group in groups:
        group["always_adapt"] = group["decayed"]
    lars: torch.optim.Optimizer = Lars(
        groups, lr=spec.lr, momentum=spec.momentum, trust_coeff=spec.trust_coefficient, eps=spec.eps
    )
    return lars


def _groups(method: Method, spec: Optimiser) -> Iterable[dict[str, Any]]:
    own = _own_groups(method)
    sorted_out: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for parameter in method.parameters():
        if parameter.requires_grad:
            group = own.get(parameter, EVERYTHING_ELSE)
            decayed = (spec.decay_bias_and_norm or parameter.ndim > 1) if group.decay is None else group.decay
            sorted_out.setdefault((group.lr_scale, group.constant_lr, decayed), []).append(parameter)
    for (lr_scale, constant_lr, decayed), parameters in sorted_out.items():
        yield {
            "params": parameters,
            "lr": spec.lr * lr_scale,
            "weight_decay": spec.weight_decay if decayed else 0.0,
            "lr_scale": lr_scale,
            "constant_lr": constant_lr,
            "decayed": decayed,
        }


def _own_groups(method: Method) -> dict[nn.Parameter, ParameterGroup]:
    names = {parameter: name for name, parameter in method.named_parameters()}
    group_of: dict[nn.Parameter, ParameterGroup] = {}
    for group in method.parameter_groups():
        for parameter in group.parameters:
            if parameter not in names:
                raise ValueError(
                    f"parameter_groups of {type(method).__name__}: a parameter of shape {tuple(parameter.shape)} is "
                    "none of the method's; make it an attribute of the method or of a module in it"
                )
            if parameter in group_of:
                raise ValueError(
                    f"parameter_groups of {type(method).__name__}: {names[parameter]} stands in two groups; "
                    "name it once"
                )
            group_of[parameter] = group
    return group_of
