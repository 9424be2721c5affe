"""Every method and control, one file each. Owns their discovery: those of this package, those that installed
distributions register, and the files a user names. Neither this nor the package's method files import torch.

A distribution registers a method by an entry point of the group `ssl_harness.methods` with the value "module:METHOD".
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from methods.entry import MethodEntry, MethodFileError
from methods.user_file import user_method

__all__ = ["MethodFileError", "catalogue", "method_sources"]

GROUP = "ssl_harness.methods"
DEFINES_METHOD = re.compile(r"^METHOD\b\s*[:=]", re.MULTILINE)


def catalogue(files: Iterable[Path] = ()) -> dict[str, MethodEntry]:
    """Methods by name: those of this package, those of installed distributions, then those of the users' own `files`.

    Raises:
        MethodFileError: a file or an entry point cannot be used, or takes a name already taken.
    """
    entries: dict[str, MethodEntry] = {}
    owners: dict[str, str] = {}
    for place in _places(files):
        entry = place.load()
        _claim(entry.name, place, owners)
        entries[entry.name] = entry
    return entries


def method_sources(files: Iterable[Path] = ()) -> dict[str, Path]:
    """The file that defines each method of `catalogue`, in its order. Imports only those that do not spell out a name.

    Raises:
        MethodFileError: a file or an entry point does not exist, or takes a name already taken.
    """
    sources: dict[str, Path] = {}
    owners: dict[str, str] = {}
    for place in _places(files):
        name = _written_name(place.file, place.attribute) or place.load().name
        _claim(name, place, owners)
        sources[name] = place.file
    return sources


@dataclass(frozen=True)
class _Place:
    """Where a method is defined."""

    owner: str
    """As errors name it."""
    file: Path
    attribute: str
    load: Callable[[], MethodEntry]


def _places(files: Iterable[Path]) -> Iterator[_Place]:
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if DEFINES_METHOD.search(file.read_text(encoding="utf-8")):
            yield _Place("the package", file, "METHOD", partial(_built_in, file.stem))
    for point in sorted(entry_points(group=GROUP), key=lambda point: (_distribution(point), point.name)):
        yield _Place(_distribution(point), _file_of(point), point.attr, partial(_registered, point))
    for file in files:
        yield _Place(str(file), file, "METHOD", partial(user_method, file))


def _claim(name: str, place: _Place, owners: dict[str, str]) -> None:
    if name in owners:
        raise MethodFileError(
            f"{place.owner}: the method name {name!r} is already taken by {owners[name]}; give METHOD another name"
        )
    owners[name] = place.owner


def _built_in(module: str) -> MethodEntry:
    entry = importlib.import_module(f"{__name__}.{module}").METHOD
    assert isinstance(entry, MethodEntry)
    return entry


def _registered(point: EntryPoint) -> MethodEntry:
    try:
        entry = point.load()
    except Exception as error:
        raise _broken(point, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(entry, MethodEntry):
        raise _broken(point, f"is of type {type(entry).__name__}, not a MethodEntry")
    return entry


def _file_of(point: EntryPoint) -> Path:
    """The file of an entry point's module; imports no more than the packages around it."""
    try:
        spec = importlib.util.find_spec(point.module)
    except Exception as error:
        raise _broken(point, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if spec is None or spec.origin is None:
        raise _broken(point, f"cannot be loaded: there is no module {point.module}")
    return Path(spec.origin)


def _distribution(point: EntryPoint) -> str:
    return f"the distribution {point.dist.name if point.dist else '?'}"


def _broken(point: EntryPoint, what: str) -> MethodFileError:
    return MethodFileError(
        f"{_distribution(point)}: its method {point.name} = {point.value} {what}; update the distribution or remove it"
    )


def _written_name(file: Path, attribute: str) -> str | None:
    """The name in `METHOD = MethodEntry(name="...")`; None where it is not written so."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return None
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Call(keywords=keywords)):
                pass
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.Call(keywords=keywords)):
                pass
            case _:
                continue
        names = [k.value.value for k in keywords if k.arg == "name" and isinstance(k.value, ast.Constant)]
        if target == attribute and names and isinstance(names[0], str):
            return names[0]
    return None
