"""Digests of the code that makes the numbers. Reads source files as text; never imports or runs them.

A digest is taken of the parsed program, so comments, docstrings and layout do not enter it, nor does the version of
Python that reads it: nobody's results go stale over a docstring.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2]
"""The directory that holds the packages `harness` and `methods`."""

SHARED = (
    "harness/data",
    "harness/backbones.py",
    "harness/training",
    "harness/evaluation",
    "harness/streams.py",
    "harness/threads.py",
    "harness/engines/measure.py",
)
"""What every method's numbers rest on, besides those files in `methods/` that are no method's own."""

PREPARATION = (
    "archives",
    "cifar",
    "datasets",
    "download",
    "folders",
    "formats",
    "imagenet",
    "packed",
    "prepare",
    "recipes",
)
"""Modules of `harness/data` that only make the local copies: what those hold, fingerprints and cells vouch for."""


def code_digest(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 of the programs in the files, in any order, each under its path below `root` or, elsewhere, its name."""
    digest = hashlib.sha256()
    for path in sorted(set(paths)):
        label = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        digest.update(f"{label}\n{_program(path)}\n".encode())
    return digest.hexdigest()


def shared_digest(root: Path = SOURCES) -> str:
    """Of the shared rooms and of the parts that methods share."""
    files: list[Path] = []
    for name in SHARED:
        place = root / name
        files.extend(place.rglob("*.py") if place.is_dir() else [place] if place.exists() else [])
    files = [path for path in files if not (path.parent.name == "data" and path.stem in PREPARATION)]
    methods = set(method_files(root).values())
    files.extend(path for path in (root / "methods").rglob("*.py") if path not in methods)
    return code_digest(files, root)


def method_digest(file: Path, root: Path = SOURCES) -> str:
    """Of a method's file and of the files of the package's other methods that it builds on, directly or not."""
    methods = {path.stem: path for path in method_files(root).values()}
    needed: set[Path] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current not in needed:
            needed.add(current)
            waiting.extend(methods[name] for name in _imported(current) if name in methods)
    return code_digest(needed, root)


def method_files(root: Path = SOURCES, files: Iterable[Path] = ()) -> dict[str, Path]:
    """By the method's name: the files of `methods/` that define METHOD, then those of the users' own `files`."""
    found: dict[str, Path] = {}
    for path in (*sorted((root / "methods").glob("*.py")), *files):
        if (name := _method_name(path)) is not None:
            found[name] = path
    return found


def _method_name(path: Path) -> str | None:
    """The name in `METHOD = MethodEntry(name=...)`, or the file's where it is no literal; None without a METHOD."""
    for statement in _tree(path).body:
        targets: list[ast.expr] = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        if any(isinstance(target, ast.Name) and target.id == "METHOD" for target in targets):
            call = getattr(statement, "value", None)
            keywords = call.keywords if isinstance(call, ast.Call) else []
            literals = [k.value for k in keywords if k.arg == "name" and isinstance(k.value, ast.Constant)]
            return str(literals[0].value) if literals else path.stem
    return None


def _imported(path: Path) -> Iterator[str]:
    """Last parts of all names this file imports: modules, and what is taken from them."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "").rpartition(".")[2]
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.name.rpartition(".")[2] for alias in node.names)


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # half edited: its text is all there is to go by
        return ast.Module([ast.Assign([ast.Name("text")], ast.Constant(path.read_bytes()))], [])


def _program(path: Path) -> str:
    return "".join(_parts(_tree(path)))


def _parts(node: object) -> Iterator[str]:
    """The tree as text. Unlike `ast.dump`, empty fields are left out, since Python versions differ in them."""
    if isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for field, value in ast.iter_fields(node):
            if value is not None and value != []:
                yield f"{field}="
                yield from _parts(value)
        if isinstance(node, ast.Constant) and node.value is None:
            yield "None"
        yield ")"
    elif isinstance(node, list):
        for item in node:
            if not _is_bare_string(item):
                yield from _parts(item)
                yield ","
    else:
        yield repr(node)


def _is_bare_string(node: object) -> bool:
    """A docstring of a module, class, function or attribute; such a statement does nothing when it runs."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
