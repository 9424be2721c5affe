"""The fields of a model as names: its keys, their paths, and its partial form, in which every field may be left out.

Owns what a suite may say of a cell, derived from the row's own models so that the two stay alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from harness.spec.identity import Frozen
from harness.suite.row import RowFields

NOT_WRITTEN: dict[type[BaseModel], set[str]] = {RowFields: {"method"}}  # of a cell, but never an override
ALIASES = {"d": "views", "seeds": "seed", "method_files": "extensions"}  # other names, of axes and of old
MOST_LISTED = 17  # names in a message


@cache
def partial(model: type[BaseModel]) -> type[BaseModel]:
    """The model with every field optional, at every depth: what may be written to override a part of it."""
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if name not in NOT_WRITTEN.get(model, ()):
            fields[name] = (_annotation(info), _default(info))
    base = _Open if model.model_config.get("extra") == "allow" else Frozen
    return create_model(f"Partial{model.__name__}", __base__=base, __doc__=model.__doc__, **fields)


class _Open(Frozen):
    """Base of partial models that have keys of which another model knows (a probe's own settings)."""

    model_config = ConfigDict(extra="allow")


def _annotation(info: FieldInfo) -> Any:
    annotation = _partial_type(info.annotation)
    return Annotated[annotation, *info.metadata] if info.metadata else annotation


def _default(info: FieldInfo) -> Any:
    default = info.default
    if isinstance(default, str | int | float | tuple):  # shown by editors
        return Field(default=default, description=info.description)
    return Field(default_factory=lambda: None, description=info.description)


def _partial_type(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return partial(annotation)
    if get_origin(annotation) in (Union, UnionType):
        choices = [_partial_type(choice) for choice in get_args(annotation)]
        return reduce(or_, choices)
    if get_origin(annotation) is dict:
        key, value = get_args(annotation)
        return dict.__class_getitem__((key, _partial_type(value)))
    if get_origin(annotation) is tuple:
        return tuple.__class_getitem__(tuple(_partial_type(item) for item in get_args(annotation)))
    return annotation


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field of this type may hold, looked for inside unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def keys_at(model: type[BaseModel], path: Iterable[str | int]) -> tuple[str, ...]:
    """Names of the fields of the model that stands at a path; none where a model does not say (free mappings)."""
    level: list[type[BaseModel]] = [model]
    free: list[Any] = []  # mappings and lists, whose next step is any key
    for step in path:
        if free:
            level, free = [part for inner in free for part in models_in(inner)], []
            continue
        fields = [part.model_fields[step] for part in level if step in part.model_fields]
        annotations = [part for field in fields for part in _choices(field.annotation)]
        free = [part for part in annotations if get_origin(part) in (dict, list, tuple)]
        level = [part for part in annotations if _is_model(part)]
    return tuple(dict.fromkeys(name for part in level for name in part.model_fields))


def _choices(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType, Annotated):
        for inner in get_args(annotation):
            yield from _choices(inner)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def paths_of(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of a model and of the models inside it, as paths; outer before inner. What the user names, as in
    `evaluations`, is called NAME; items of a list have no names, so no paths."""
    for name, info in model.model_fields.items():
        yield (*prefix, name)
        if any(get_origin(part) in (list, tuple) for part in _choices(info.annotation)):
            continue
        named = any(get_origin(part) is dict for part in _choices(info.annotation))
        for inner in models_in(info.annotation):
            yield from paths_of(inner, (*prefix, name, "NAME") if named else (*prefix, name))


@cache
def cell_paths() -> frozenset[tuple[str, ...]]:
    """Every field of a cell that a suite may write."""
    return frozenset(paths_of(partial(RowFields)))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that the user most likely meant, or None where none is near."""
    known = list(dict.fromkeys(known))
    folded: Mapping[str, str] = {item.lower(): item for item in reversed(known)}
    close = get_close_matches(name.lower(), list(folded), n=1, cutoff=0.7)
    return folded[close[0]] if close else None


def suggestion(name: str, known: Iterable[str], noun: str = "known") -> str:
    """What to write instead: `did you mean ...?`, or else all that is known."""
    known = list(dict.fromkeys(known))
    close = nearest(name, known)
    if close is not None:
        return f"did you mean `{close}`?"
    listed = ", ".join(known[:MOST_LISTED]) if known else "none"
    return f"{noun}: {listed}" + (f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else "")
