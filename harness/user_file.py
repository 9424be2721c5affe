"""A user's own file as a module. Owns its import, and that of its neighbours: the modules in its own folder.

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


class ExtensionError(ValueError):
    """An extension that a user's file or an installed distribution brings, and that cannot be used."""


VERSION = "__version_of_file__"
"""What a user's module knows of its file: time of modification and size."""
OURS = frozenset({"harness", "methods"})
"""Names that mean this project's packages, whatever else lies beside a user's file."""


def user_module(path: Path) -> ModuleType:
    """The file as a module, known to `sys.modules` so that its settings' annotations can be resolved; the same module
    again while the file is not edited.

    Raises:
        ExtensionError: the file does not exist or cannot be imported, or a neighbour that it imports has the name of a
            module from elsewhere.
    """
    if not path.is_file():
        raise ExtensionError(f"{path}: no such file; extensions are Python files given by path")
    name = f"extensions_of_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    status = path.stat()
    version = (status.st_mtime_ns, status.st_size)
    if name in sys.modules and getattr(sys.modules[name], VERSION) == version:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ExtensionError(f"{path}: not a Python file; the name of a file of extensions ends in .py")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    _refuse_strangers(path, _imported_names(path))
    module = importlib.util.module_from_spec(spec)
    setattr(module, VERSION, version)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ExtensionError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    return module


def refuse_stranger(path: Path, module: str) -> None:
    """ExtensionError where a module that the file names for later stands for a neighbour, and would be another one."""
    _refuse_strangers(path, _with_parents(module))


def _refuse_strangers(path: Path, names: Iterable[str]) -> None:
    """Raise where a name stands for a neighbour of `path`, and Python has or would take another module for it."""
    for name, neighbour in _neighbours(path.resolve().parent, names):
        stranger = _origin(name)
        if stranger is not None and stranger != str(neighbour):
            raise ExtensionError(
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
