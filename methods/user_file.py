"""A user's own method file as a module. Owns its import, and that of its neighbours: the modules in its own folder.

The folder stands last on `sys.path`, so that a neighbour hides no module of Python or of a library. Two modules of one
name are refused: Python would give the file the first without a word.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from methods.entry import MethodEntry, MethodFileError

OURS = frozenset({"harness", "methods"})
"""Names that mean this project's packages, whatever else lies beside a user's file."""


def user_method(path: Path) -> MethodEntry:
    """The `METHOD` of a file.

    Raises:
        MethodFileError: the file does not exist, cannot be imported or defines no `METHOD`, or a neighbour that it
            imports has the name of a module from elsewhere.
    """
    entry = getattr(_imported(path), "METHOD", None)
    if not isinstance(entry, MethodEntry):
        found = "defines no METHOD" if entry is None else f"defines METHOD as a {type(entry).__name__}"
        raise MethodFileError(f"{path}: {found}; a method file ends with METHOD = MethodEntry(name=..., ...)")
    if isinstance(entry.build, str):
        _refuse_strangers(path, _with_parents(entry.build.partition(":")[0]))
    return entry


def _imported(path: Path) -> ModuleType:
    """The file as a module, known to `sys.modules` so that its settings' annotations can be resolved."""
    if not path.is_file():
        raise MethodFileError(f"{path}: no such file; method files are Python files given by path")
    name = f"methods_of_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MethodFileError(f"{path}: not a Python file; a method file's name ends in .py")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    _refuse_strangers(path, _imported_names(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise MethodFileError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _refuse_strangers(path: Path, names: Iterable[str]) -> None:
    """Raise where a name stands for a neighbour of `path`, and Python has or would take another module for it."""
    for name, neighbour in _neighbours(path.resolve().parent, names):
        stranger = _origin(name)
        if stranger is not None and stranger != str(neighbour):
            raise MethodFileError(
                f"{path}: imports {name!r} and lies beside {neighbour}, but in this process {name!r} is {stranger}; "
                f"rename the module beside your file"
            )


def _neighbours(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Those of the modules that lie in the folder, with their files; then what these import from it in turn."""
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] in OURS:
            continue
        seen.add(name)
        place = folder.joinpath(*name.split("."))
        file = next((f for f in (place / "__init__.py", place.with_suffix(".py")) if f.is_file()), None)
        if file is not None:
            yield name, file.resolve()
            waiting.extend(_imported_names(file))


def _imported_names(path: Path) -> Iterator[str]:
    """Dotted names of all that the file imports, functions included: modules, and what is taken from them."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # its import says so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield from _with_parents(f"{node.module}.{alias.name}")


def _with_parents(name: str) -> Iterator[str]:
    """`a.b.c` as a, a.b and a.b.c."""
    parts = name.split(".")
    yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


def _origin(name: str) -> str | None:
    """Which file Python means by a module's name; None where it has not decided."""
    file: str | None
    if name in sys.modules:
        module = sys.modules[name]
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    elif "." in name:  # decided by its package, which is looked at by itself
        return None
    else:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return None
        file = spec.origin if spec.has_location else None
    return "a part of Python itself" if file is None else str(Path(file).resolve())
