"""The identity of a spec: a hash of everything in it that can change a number, and of nothing else.

Owns the canonical JSON and which fields are left out of it. A field that is added once results exist declares its
neutral value, which is its default, `Field(default=False, json_schema_extra={"neutral": False})`, and is left out while
it has it: a new option renames no old result. `tests/golden/` holds ids that must not move.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 2
ID_LENGTH = 20  # hexadecimal digits kept of the SHA-256: 80 bits
_NONE = object()  # stands for no neutral value, as None may be one


class Frozen(BaseModel):
    """Base of everything that is passed around: immutable, no unknown keys, no NaN, fields documented in place."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values of some fields. What is computed once (an id) is computed anew."""
        copied = super().model_copy(update=update, deep=deep)
        for computed in set(copied.__dict__) - set(type(self).model_fields):
            del copied.__dict__[computed]
        return copied


def identity_of(value: Any) -> Any:
    """What of a value enters an identity, as plain JSON: fields with their neutral value are left out, and a model that
    has a method `identity` says itself what stands for it."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, BaseModel):
        own = _own_identity(type(value))
        return identity_fields(value) if own is None else own(value)
    if isinstance(value, dict):
        return {str(key): identity_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [identity_of(item) for item in value]
    return value


def identity_fields(model: BaseModel) -> dict[str, Any]:
    """The fields of a model that enter its identity, by name."""
    fields = {}
    for name, neutral in _neutral_values(type(model)).items():
        value = identity_of(getattr(model, name))
        if neutral is _NONE or value != neutral:
            fields[name] = value
    return fields


@cache
def _own_identity(model: type[BaseModel]) -> Callable[[Any], Any] | None:
    return getattr(model, "identity", None)


@cache
def _neutral_values(model: type[BaseModel]) -> dict[str, Any]:
    """Every field of a model, with the value at which it is left out, or _NONE."""
    extras = {name: info.json_schema_extra for name, info in model.model_fields.items()}
    return {name: extra.get("neutral", _NONE) if isinstance(extra, dict) else _NONE for name, extra in extras.items()}


def canonical(kind: str, model: BaseModel) -> str:
    """The identity as JSON with sorted keys and no spaces: equal specs give equal text.

    Args:
        kind: what the model is, so that no two kinds of spec can have one id.
    """
    content = {"kind": kind, "schema": SCHEMA_VERSION, **identity_of(model)}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(text: str) -> str:
    """The first digits of the SHA-256 of a text: an id."""
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]
