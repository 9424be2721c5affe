"""What a method is, to a suite: its settings and its entry. Owns both classes; knows no torch, so that a suite is
expanded and checked, and methods are listed, without it.

A method file defines a `Settings` subclass and names it in a `MethodEntry` called `METHOD`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import nn

    from methods.method import Method

Build: TypeAlias = "Callable[[Any, nn.Module, int, int], Method]"
"""(settings, encoder, feature size F, number of classes) -> method."""


class MethodFileError(ValueError):
    """A method that a user's file or an installed distribution brings, and that cannot be used."""


class Settings(BaseModel):
    """A method's own settings: frozen, typed, every default stated, unknown keys refused.

    A field added once results exist is declared `x: T = Field(default=v, json_schema_extra={"neutral": v})`: while it
    has that value it is absent from identities, so that the results of before keep theirs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    def problem(self, views: int, batch_size: int) -> str | None:
        """Why this method cannot run with d = `views` and `batch_size` images, and what to change; None if it can."""
        return None


@dataclass(frozen=True)
class MethodEntry:
    """A method as suites and the trainer find it."""

    name: str
    """As written in a suite."""
    summary: str
    """One line for `harness list methods`."""
    source: str
    """Paper and equation, or what the control controls for."""
    settings: type[Settings]
    build: str | Build | None
    """What makes the `Method`: "module:Class", imported when it is needed, or the class itself in a user's own file,
    where torch at import is fine. None: nothing is trained."""
    kind: Literal["method", "control"] = "method"
    """A control is a row to compare with, and no contender."""
    min_views: int = 2
    """The fewest views d of an image that it can train on."""
    represents: Literal["encoder", "pixels"] = "encoder"
    """What is evaluated: encoder features, or the normalised image itself."""
    reads_labels: bool = False
    """Whether its loss reads the training images' labels."""
    needs_weights: bool = False
    """Whether the encoder's weights must come from a file."""
    silent: tuple[str, ...] = ()
    """Names of trainable parameters that get no gradient at the first step, as shell patterns such as `prototypes.*`;
    any other without one is an error."""

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return self.build is not None

    def builder(self) -> Build:
        """`build` as a callable. Imports torch, for the methods of this package.

        Raises:
            MethodFileError: the module or its attribute does not exist, or cannot be called.
        """
        assert self.build is not None, f"{self.name} trains nothing, so there is nothing to build"
        if not isinstance(self.build, str):
            return self.build
        said = f"the method {self.name!r} says build={self.build!r}"
        module, _, attribute = self.build.partition(":")
        if not module or not attribute:
            raise MethodFileError(f"{said}; write it as 'module:Class', or give the class itself")
        try:
            built = getattr(importlib.import_module(module), attribute, None)
        except ImportError as error:
            raise MethodFileError(f"{said}, but {module} cannot be imported: {error}") from error
        if not callable(built):
            what = "has no" if built is None else "cannot call its"
            raise MethodFileError(f"{said}, but {module} {what} {attribute!r}; name a subclass of Method in it")
        return cast("Build", built)
