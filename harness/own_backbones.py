"""Backbones of users and of installed distributions. Owns their entry, and how timm is told of them: an encoder is
built by its name in timm's registry, whoever wrote it (`harness.backbones`). Imports no torch until one is to be built.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.registry import BACKBONE, Extension, in_use, named

if TYPE_CHECKING:
    from torch import nn

BuildBackbone: TypeAlias = "Callable[..., nn.Module]"
"""(channels, size, **options) -> encoder of images (N, channels, size, size), whose output is (N, F)."""

default_cfgs: dict[str, dict[str, Any]] = {}
"""What timm looks up beside a model when it is registered, by name."""


@dataclass(frozen=True)
class BackboneEntry:
    """A backbone as suites find it: `backbone: {name: my_net, options: {depth: 3}}`."""

    name: str
    """As written in a suite; no name of timm's."""
    summary: str
    """One line for `harness list backbones`."""
    source: str
    """Paper, or whose it is."""
    build: str | BuildBackbone
    """What makes the encoder: "module:function", imported when it is needed, or the function itself. A row's `options`
    are its keyword arguments; `stem`, `width` and `zero_init_last` are of timm's ResNets alone. F is taken from the
    output. Weights are drawn by torch's global generator, which is seeded before."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a backbone's name is letters, digits and underscores, not {self.name!r}")


def register_with_timm(name: str | None) -> None:
    """Have timm build the backbone of that name in use, if it is an own one.

    Raises:
        BackboneError: timm has a model of that name itself.
        ExtensionError: what builds it cannot be imported.
    """
    extension = in_use(BACKBONE).get(name or "")
    if extension is None or name is None:
        return
    import timm
    from timm.models import register_model

    from harness.backbones import BackboneError

    ours = name in default_cfgs
    if timm.is_model(name) and not ours:
        raise BackboneError(f"{extension.owner}: timm has a model {name!r} itself; give BACKBONE another name")
    default_cfgs[name] = {"fixed_input_size": True}  # so that it is told the size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there was one of this name, of an earlier suite
        register_model(_as_timm_has_it(extension))


def _as_timm_has_it(extension: Extension) -> Callable[..., nn.Module]:
    build = named(extension.entry.build, f"{extension.owner}: the backbone {extension.entry.name!r} says build =")

    def create(in_chans: int, img_size: int, num_classes: int = 0, **options: Any) -> nn.Module:
        for key in [key for key in options if key.startswith("pretrained") or key == "cache_dir"]:
            del options[key]  # what timm adds; no option of a suite's is called so
        try:
            encoder: nn.Module = build(in_chans, img_size, **options)
            return encoder
        except Exception as error:
            told = ", ".join([str(in_chans), str(img_size), *(f"{key}={value!r}" for key, value in options.items())])
            call = f"{extension.entry.name}({told})"
            raise ValueError(f"{extension.owner}: {call}: {type(error).__name__}: {error}") from error

    create.__name__, create.__module__ = extension.entry.name, __name__
    return create
