"""What is looked at once, at the first step: whether a loss can be right at all. Owns the checks and what they say.

Changes no parameter, buffer, gradient or random state, and waits on the device. The trainer calls it at the first step
of a process: of a run, and of a run that goes on from a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from harness.backbones import forked_rng
from methods.method import Batch, Loss, Method

MOST_NAMED = 5


class WrongLossError(ValueError):
    """A loss that cannot be right, or gradients that cannot be its."""


def check_loss(loss: Loss) -> None:
    """Before the backward pass.

    Raises:
        WrongLossError: the loss is not a float32 scalar that depends on a parameter, or a term is not a scalar.
    """
    total = loss.total
    if not isinstance(total, Tensor) or total.shape != () or total.dtype != torch.float32:
        raise WrongLossError(
            f"`loss` returned {_described(total)}, not a float32 scalar: average over the batch, and compute the loss "
            "of `.float()` embeddings, so that it is float32 in every precision"
        )
    if not total.requires_grad:
        raise WrongLossError(
            "the loss depends on no trainable parameter: look for `.detach()`, `torch.no_grad()` or a tensor made anew "
            "between encoder and loss"
        )
    for name, term in loss.terms.items():
        if not isinstance(term, Tensor) or term.shape != ():
            raise WrongLossError(f"the loss term {name!r} is {_described(term)}, not a scalar tensor: average it")


def check_gradients(method: Method, batch: Batch, silent: Sequence[str]) -> None:
    """After the backward pass.

    Args:
        silent: patterns of the names of parameters that need have no gradient.

    Raises:
        WrongLossError: a trainable parameter has no gradient (zeros are one), or the encoder has nothing but zeros.
    """
    trained = [p for p in method.encoder.parameters() if p.requires_grad]
    gradients = [p.grad for p in trained if p.grad is not None]
    if trained and gradients and not any(bool(gradient.any()) for gradient in gradients):
        raise WrongLossError(
            "the gradient of the encoder is nothing but zeros: the loss does not change with the features (a factor of "
            "zero, or embeddings that are constant)"
        )
    missing = [
        name
        for name, parameter in method.named_parameters()
        if parameter.requires_grad
        and parameter.grad is None
        and not any(fnmatchcase(name, pattern) for pattern in silent)
    ]
    if missing and gradients:
        unused = _unused(method.encoder, batch)
        missing = [name for name in missing if method.get_parameter(name) not in unused]
    if missing:
        named = ", ".join(missing[:MOST_NAMED])
        named += f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        where = "the encoder: none" if trained and not gradients else "every trainable parameter: none"
        raise WrongLossError(
            f"the gradient of the loss does not reach {where} for {named}. Look for `.detach()` or `torch.no_grad()` "
            "on the way; freeze what is not to be trained (`requires_grad_(False)`), or, if that is meant at the first "
            "step, declare the names in the method's entry, `MethodEntry(..., silent=(...))`"
        )


def _unused(encoder: nn.Module, batch: Batch) -> set[nn.Parameter]:
    """Trainable parameters of the encoder that its own output does not depend on: the backbone's matter, and no
    loss's. Runs it in eval mode, which moves no buffer."""
    training = encoder.training
    trained = [p for p in encoder.parameters() if p.requires_grad]
    with forked_rng(), torch.enable_grad():
        output: Tensor = encoder.eval()(batch.views[0][0])
        gradients = torch.autograd.grad(output.float().sum(), trained, allow_unused=True)
    encoder.train(training)
    return {p for p, gradient in zip(trained, gradients, strict=True) if gradient is None}


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"a tensor of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
