"""The one way to find methods, probes, datasets, backbones and loggers: built in, by entry point, by file.

A built-in one is a file of its kind's package, and nothing else lists its name. An installed distribution registers one
by an entry point of the group `ssl_harness.methods` (probes, datasets, ...) with the value "module:METHOD". A user's
file is named by a suite, `extensions: [my.py]`, or a command, `--extensions my.py`, and ends with
METHOD = MethodEntry(...), PROBE = ..., or METHODS = (...) for several; one file may hold several kinds.

The files of the suite at work are known to the whole process (`use`), so that whatever is deep in it finds what they
define (`in_use`). Imports no torch, nor does any built-in entry.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.user_file import ExtensionError as ExtensionError
from harness.user_file import refuse_stranger, user_module

if TYPE_CHECKING:
    from harness.data.datasets import DatasetInfo
    from harness.evaluation.probes import ProbeEntry
    from harness.loggers import LoggerEntry
    from harness.own_backbones import BackboneEntry
    from methods.entry import MethodEntry

_log = logging.getLogger(__name__)
_files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Kind:
    """What can be added."""

    name: str
    """As messages, the group `ssl_harness.<name>s` and the attributes <NAME> and <NAME>S have it."""
    entry: str
    """The class of its entries, "module:Class"."""
    package: str | None = None
    """Whose files hold the built-in ones."""
    builder: str = "build"
    """The field of an entry that may name code for later, "module:name"."""

    @property
    def group(self) -> str:
        return f"ssl_harness.{self.name}s"

    @property
    def attributes(self) -> tuple[str, str]:
        """What a file calls its one entry, or a tuple of several."""
        return self.name.upper(), f"{self.name.upper()}S"


METHOD = Kind("method", "methods.entry:MethodEntry", "methods")
PROBE = Kind("probe", "harness.evaluation.probes:ProbeEntry", "harness.evaluation.probes")
DATASET = Kind("dataset", "harness.data.datasets:DatasetInfo", "harness.data", builder="load")
BACKBONE = Kind("backbone", "harness.own_backbones:BackboneEntry")
LOGGER = Kind("logger", "harness.loggers:LoggerEntry", "harness.loggers")
KINDS = (METHOD, PROBE, DATASET, BACKBONE, LOGGER)


@dataclass(frozen=True)
class Extension:
    """An entry, and where it comes from."""

    entry: Any
    file: Path
    """That defines it."""
    owner: str
    """As errors name it."""
    distribution: Distribution | None = None
    """The installed one that registers it."""
    user: bool = False
    """Whether the file is a user's own."""


def find(kind: Kind, files: Iterable[Path] = ()) -> dict[str, Extension]:
    """Everything of a kind by name: built in, of installed distributions, then in the users' own `files`.

    A distribution whose entry cannot be used is left out, and said once: who does not use it need not mend it.

    Raises:
        ExtensionError: a file cannot be used, or takes a name that is taken.
    """
    extensions: dict[str, Extension] = {}
    for here in _built_in(kind):
        _add(kind, extensions, here)
    for point in sorted(entry_points(group=kind.group), key=lambda point: (_owner(point), point.name)):
        try:
            for here in _registered(kind, point):
                _add(kind, extensions, here)
        except ExtensionError as error:
            _warn(str(error))
    for file in files:
        for here in _in_file(kind, file):
            _add(kind, extensions, here)
    return extensions


def use(files: Iterable[Path]) -> None:
    """From now on this process knows what these files define, and no other file."""
    global _files
    _files = tuple(dict.fromkeys(files))
    in_use.cache_clear()


@cache
def in_use(kind: Kind) -> Mapping[str, Extension]:
    """Everything of a kind by name, the files given to `use` among it. Raises as `find` does."""
    return find(kind, _files)


def all_methods(files: Iterable[Path] | None = None) -> dict[str, MethodEntry]:
    """Every method by name: of these files, or of those in use."""
    return _entries(METHOD, files)


def all_probes(files: Iterable[Path] | None = None) -> dict[str, ProbeEntry]:
    """Every probe by name, likewise."""
    return _entries(PROBE, files)


def all_datasets(files: Iterable[Path] | None = None) -> dict[str, DatasetInfo]:
    """Every dataset by name, likewise."""
    return _entries(DATASET, files)


def all_backbones(files: Iterable[Path] | None = None) -> dict[str, BackboneEntry]:
    """Every backbone beside timm's by name, likewise."""
    return _entries(BACKBONE, files)


def all_loggers(files: Iterable[Path] | None = None) -> dict[str, LoggerEntry]:
    """Every logger by name, likewise."""
    return _entries(LOGGER, files)


def _entries(kind: Kind, files: Iterable[Path] | None) -> dict[str, Any]:
    extensions = in_use(kind) if files is None else find(kind, files)
    return {name: here.entry for name, here in extensions.items()}


def named(given: str | Callable[..., Any], said: str) -> Callable[..., Any]:
    """What an entry gives as its builder: a callable, or the one that "module:name" names, imported now.

    Args:
        said: who names it, for the error.

    Raises:
        ExtensionError: the module or its attribute does not exist, or cannot be called.
    """
    if not isinstance(given, str):
        return given
    module, _, attribute = given.partition(":")
    if not module or not attribute:
        raise ExtensionError(f"{said} {given!r}; write it as 'module:name', or give the function itself")
    try:
        attribute_value: Callable[..., Any] | None = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise ExtensionError(f"{said} {given!r}, but {module} cannot be imported: {error}") from error
    if not callable(attribute_value):
        raise ExtensionError(f"{said} {given!r}, but {module} has no function or class {attribute!r}")
    return attribute_value


def _built_in(kind: Kind) -> Iterator[Extension]:
    if kind.package is None:
        return
    defines = re.compile(rf"^({'|'.join(kind.attributes)})\b\s*[:=]", re.MULTILINE)
    for file in sorted(Path(__file__).resolve().parents[1].joinpath(*kind.package.split(".")).glob("*.py")):
        if written := defines.search(file.read_text(encoding="utf-8")):
            module = importlib.import_module(f"{kind.package}.{file.stem}")
            for entry in _checked(kind, getattr(module, written[1]), written[1], str(file)):
                yield Extension(entry, file, "the package")


def _registered(kind: Kind, point: EntryPoint) -> list[Extension]:
    said = f"{_owner(point)}: its {kind.name} {point.name} = {point.value}"
    try:
        given = point.load()
        file = Path(str(importlib.import_module(point.module).__file__))
    except Exception as error:
        raise ExtensionError(
            f"{said} cannot be loaded: {type(error).__name__}: {error}; update the distribution or remove it"
        ) from error
    return [Extension(entry, file, _owner(point), point.dist) for entry in _checked(kind, given, point.attr, said)]


def _in_file(kind: Kind, file: Path) -> Iterator[Extension]:
    module = user_module(file)
    if not any(hasattr(module, name) for other in KINDS for name in other.attributes):
        raise ExtensionError(
            f"{file}: defines no {', '.join(other.attributes[0] for other in KINDS)}; a file of extensions ends with "
            "METHOD = MethodEntry(name=..., ...), or likewise for another kind"
        )
    for attribute in kind.attributes:
        for entry in _checked(kind, getattr(module, attribute, ()), attribute, str(file)):
            builder = getattr(entry, kind.builder, None)
            if isinstance(builder, str):
                refuse_stranger(file, builder.partition(":")[0])
            yield Extension(entry, file, str(file), user=True)


def _checked(kind: Kind, given: Any, attribute: str, said: str) -> list[Any]:
    """The entries that an attribute holds: one, or several in a tuple, list or mapping."""
    module, _, name = kind.entry.partition(":")
    entry = getattr(importlib.import_module(module), name)
    several = list(given.values()) if isinstance(given, Mapping) else given if isinstance(given, tuple | list) else None
    for one in [given] if several is None else several:
        if not isinstance(one, entry):
            raise ExtensionError(
                f"{said}: {attribute} holds a {type(one).__name__}, not a {name}; write "
                f"{kind.attributes[0]} = {name}(name=..., ...)"
            )
    return [given] if several is None else list(several)


def _add(kind: Kind, extensions: dict[str, Extension], here: Extension) -> None:
    name = here.entry.name
    if name in extensions:
        raise ExtensionError(
            f"{here.owner}: the {kind.name} name {name!r} is already taken by {extensions[name].owner}; give "
            f"{kind.attributes[0]} another name"
        )
    extensions[name] = here


def _owner(point: EntryPoint) -> str:
    return f"the distribution {point.dist.name if point.dist else '?'}"


@cache
def _warn(message: str) -> None:
    """Once a process."""
    _log.warning("%s", message)
