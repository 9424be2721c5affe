"""Every method and control, one file each. Owns their discovery; importing this package imports no torch.

`catalogue()` finds the modules of this package that define `METHOD`, and the files a user names.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from methods.method import MethodEntry

__all__ = ["MethodFileError", "catalogue"]


class MethodFileError(ValueError):
    """A user's method file that cannot be used."""


def catalogue(files: Iterable[Path] = ()) -> dict[str, MethodEntry]:
    """Methods by name, those of this package first, then those of the users' own `files`.

    Raises:
        MethodFileError: a file does not exist, cannot be imported, defines no `METHOD`, or takes a name already taken.
    """
    entries: dict[str, MethodEntry] = {}
    origins: dict[str, str] = {}
    for info in pkgutil.iter_modules(__path__):
        entry = getattr(importlib.import_module(f"{__name__}.{info.name}"), "METHOD", None)
        if entry is not None:
            assert entry.name not in entries, f"two methods of the package are called {entry.name!r}"
            entries[entry.name], origins[entry.name] = entry, "the package"
    for path in files:
        entry = _entry_of(path)
        if entry.name in entries:
            raise MethodFileError(
                f"{path}: the method name {entry.name!r} is already taken by {origins[entry.name]}; "
                f"give METHOD another name"
            )
        entries[entry.name], origins[entry.name] = entry, str(path)
    return entries


def _entry_of(path: Path) -> MethodEntry:
    from methods.method import MethodEntry

    entry = getattr(_imported(path), "METHOD", None)
    if not isinstance(entry, MethodEntry):
        found = "defines no METHOD" if entry is None else f"defines METHOD as a {type(entry).__name__}"
        raise MethodFileError(f"{path}: {found}; a method file ends with METHOD = MethodEntry(name=..., ...)")
    return entry


def _imported(path: Path) -> ModuleType:
    """The file as a module, known to `sys.modules` so that its settings' annotations can be resolved."""
    if not path.is_file():
        raise MethodFileError(f"{path}: no such file; method files are Python files given by path")
    name = f"methods_of_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MethodFileError(f"{path}: not a Python file; a method file's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise MethodFileError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    return module
