"""Digests of the code that makes the numbers. Reads source files as text; never imports or runs them.

Two kinds of code can change a result: the file of an extension (a method, a probe, a backbone) with every module
outside the installed libraries that it imports, directly or not, and the distribution that registers it, if one does;
and the shared rooms that a kind of result passes through. A digest is taken of the parsed program, so comments,
docstrings and layout do not enter it, nor does the version of Python that reads it: nobody's results go stale over a
docstring.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.registry import Extension

SOURCES = Path(__file__).resolve().parents[2]
"""The directory that holds the packages `harness` and `methods`."""

_OURS = ("harness", "methods")
_LIBRARIES = ("site-packages", "dist-packages")

_DATA = ("data/decoding.py", "data/formats.py", "data/images.py", "data/loading.py", "data/views.py")
_AUGMENTATION = ("data/augment.py", "data/draw.py")
_ENCODER = ("backbones.py", "streams.py")
_CPU_AUGMENTATION = ("data/fused.py", "data/kernels.py")
_CUDA_AUGMENTATION = ("data/blur.py", "data/colour.py", "data/plan.py", "data/resize.py", "data/tensors.py")
_CPU_TRAINING = (
    "threads.py",
    "accelerate/cpu/convolutions.py",
    "accelerate/cpu/flat.py",
    "accelerate/cpu/memory.py",
    "accelerate/cpu/norm.py",
    "accelerate/cpu/norm_gradients.py",
    "accelerate/cpu/norm_kernels.py",
    "accelerate/cpu/resnet.py",
    "accelerate/cpu/side_by_side.py",
    "strided_convolutions.py",
    "accelerate/cpu/threads.py",
)
_CUDA_TRAINING = ("accelerate/cuda/compiled.py",)
_TRAINING = (
    "accelerate/__init__.py",
    "accelerate/precision.py",
    "engines/pretrain.py",
    "training/checkpoints.py",
    "training/networks.py",
    "training/optimisers.py",
    "training/schedules.py",
    "training/trainer.py",
)
_FEATURES = ("evaluation/arithmetic.py", "evaluation/features.py", "training/networks.py")
_EVALUATION = (
    "strided_convolutions.py",
    "engines/evaluate.py",
    "evaluation/accuracy.py",
    "evaluation/evaluate.py",
    "evaluation/split.py",
)
_DESCRIPTION = ("engines/cost.py", "engines/describe.py", "evaluation/collapse.py")

ROOMS: Mapping[str, tuple[str, ...]] = {
    "training on cpu": (*_DATA, *_AUGMENTATION, *_ENCODER, *_CPU_AUGMENTATION, *_TRAINING, *_CPU_TRAINING),
    "training on cuda": (*_DATA, *_AUGMENTATION, *_ENCODER, *_CUDA_AUGMENTATION, *_TRAINING, *_CUDA_TRAINING),
    "evaluation": (*_DATA, *_ENCODER, *_FEATURES, *_EVALUATION),
    "description": (*_DATA, *_AUGMENTATION, *_ENCODER, *_FEATURES, *_DESCRIPTION),
}
"""Files below `harness` that a kind of result passes through. A CUDA result is not aged by a CPU kernel, an evaluation
not by the trainer, nothing by a chart; how a local copy of a dataset is made is vouched for by fingerprints."""


def code_digest(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 of the programs in the files, in any order, each under its path below `root` or, elsewhere, its name."""
    programs = []
    for path in set(paths):
        label = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        programs.append(f"{label}\n{_program_digest(*_version(path))}\n")
    return hashlib.sha256("".join(sorted(programs)).encode()).hexdigest()


def room_digest(room: str, root: Path = SOURCES) -> str:
    """Of the shared files that a kind of result passes through."""
    return code_digest((path for name in ROOMS[room] if (path := root / "harness" / name).exists()), root)


def digest_of(extension: Extension, root: Path = SOURCES) -> str:
    """Of an extension: its file, as `extension_digest`, what augments images if it is a probe that says so, and the
    version and list of files of its distribution."""
    built_in = extension.distribution is None and not extension.user
    own = extension_digest(root / extension.file.relative_to(SOURCES) if built_in else extension.file, root)
    if getattr(extension.entry, "augments", False):
        files = (root / "harness" / name for name in (*_AUGMENTATION, *_CPU_AUGMENTATION, *_CUDA_AUGMENTATION))
        own = hashlib.sha256(f"{own} {code_digest(files, root)}".encode()).hexdigest()
    if extension.distribution is None:
        return own
    text = f"{own}\n{extension.distribution.version}\n{extension.distribution.read_text('RECORD') or ''}"
    return hashlib.sha256(text.encode()).hexdigest()


def extension_digest(file: Path, root: Path = SOURCES) -> str:
    """Of an extension's file and of every module that it imports, directly or not, that is no installed library."""
    return code_digest(extension_files(file, root), root)


def extension_files(file: Path, root: Path = SOURCES) -> set[Path]:
    """The files that `extension_digest` is of. What they import of `harness` is the rooms' matter, but for a built-in
    probe, whose algorithm stands beside it, in no room."""
    file, root = file.resolve(), root.resolve()
    ours = root / "harness"
    followed = ours / "evaluation" if file.is_relative_to(ours) else None
    shared = {ours / name for name in ROOMS["evaluation"]}
    needed: set[Path] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current not in needed:
            needed.add(current)
            waiting.extend(
                path
                for path in imported_files(current, file.parent, root)
                if not path.is_relative_to(ours) or (followed and path.is_relative_to(followed) and path not in shared)
            )
    return needed


def imported_files(path: Path, home: Path, root: Path = SOURCES) -> list[Path]:
    """Files of the modules that a file imports, or names as `module:Name` for later.

    They are looked for in `home` (the folder of the extension), then on the path of imports outside the installed
    libraries; our own packages below `root` only, whatever else has their names.
    """
    imported: list[Path] = []
    for level, module, names in _imports(*_version(path)):
        if level:  # relative
            base = path.parents[level - 1] if level <= len(path.parents) else path.parent
            imported.extend(file for file in [base / "__init__.py"] if file.is_file())
            imported.extend(_module_files(base, module, names))
        elif module.partition(".")[0] in sys.stdlib_module_names:  # which no neighbour hides
            continue
        elif module.partition(".")[0] in _OURS:
            imported.extend(_module_files(root, module, names, packages=False))
        else:
            places = [place for place in (home, *_own_places()) if not _is_library(place)]
            imported.extend(next((files for place in places if (files := _module_files(place, module, names))), []))
    return list(dict.fromkeys(file.resolve() for file in imported))


def _module_files(place: Path, module: str, names: tuple[str, ...], packages: bool = True) -> list[Path]:
    """The module's file below a place, and those of its submodules among the names.

    Args:
        packages: with the files of the packages around it. Ours do nothing but find and re-export.
    """
    parts = module.split(".") if module else []
    files = []
    for depth in range(1, len(parts) + 1):
        here = place.joinpath(*parts[:depth])
        file = next((f for f in (here / "__init__.py", here.with_suffix(".py")) if f.is_file()), None)
        if file is None and depth == len(parts) and not here.is_dir():
            return []
        files += [file] if file and (packages or depth == len(parts)) else []
    inner = place.joinpath(*parts)
    submodules = [f for name in names for f in (inner / name / "__init__.py", inner / f"{name}.py") if f.is_file()]
    if not packages and len(submodules) == len(names) > 0:
        return submodules
    return files + submodules


@lru_cache(maxsize=1)
def _own_places() -> tuple[Path, ...]:
    """Directories that modules are imported from."""
    return tuple(Path(entry or ".").resolve() for entry in sys.path if not entry.endswith(".zip"))


@lru_cache(maxsize=64)
def _is_library(place: Path) -> bool:
    """Whether a directory is Python's own or of installed libraries."""
    python = (Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
    return any(part in _LIBRARIES for part in place.parts) or any(place.is_relative_to(library) for library in python)


_LATER = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")


Version = tuple[Path, int, int]
"""A file as it is now: its path, time of modification and size. What is found in it is kept by that."""


def _version(path: Path) -> Version:
    status = path.stat()
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1024)
def _imports(path: Path, modified: int, size: int) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """(level, module, names taken from it) of every import, and of texts like `methods.composed:Composed`."""
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(_parsed(path, modified, size)):
        if isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _LATER.fullmatch(node.value):
            imports.append((0, node.value.partition(":")[0], ()))
    return tuple(imports)


@lru_cache(maxsize=1024)
def _program_digest(path: Path, modified: int, size: int) -> str:
    return hashlib.sha256("".join(_parts(_parsed(path, modified, size))).encode()).hexdigest()


@lru_cache(maxsize=16)
def _parsed(path: Path, modified: int, size: int) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # half edited: its text is all there is to go by
        return ast.Module([ast.Assign([ast.Name("text")], ast.Constant(path.read_bytes()))], [])


def _parts(node: object) -> Iterator[str]:
    """The tree as text. Unlike `ast.dump`, empty fields are left out, since Python versions differ in them."""
    if isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for field, value in ast.iter_fields(node):
            items = [item for item in value if not _is_bare_string(item)] if isinstance(value, list) else value
            if items is not None and items != []:
                yield f"{field}="
                yield from _parts(items)
        if isinstance(node, ast.Constant) and node.value is None:
            yield "None"
        yield ")"
    elif isinstance(node, list):
        for item in node:
            yield from _parts(item)
            yield ","
    else:
        yield repr(node)


def _is_bare_string(node: object) -> bool:
    """A docstring of a module, class, function or attribute; such a statement does nothing when it runs."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
