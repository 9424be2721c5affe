"""The C version of `augment` for CPUs: compiled by the machine's own compiler on first use, kept in the user's cache.

Owns the compiled library and the call into it; `views.c` holds the formulas. Never needed: without a compiler `augment`
does the same with tensor operations, and says once what that costs.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.data.draw import Drawn

SOURCE = Path(__file__).with_name("views.c")
FLAGS = ("-O3", "-fno-math-errno", "-fopenmp-simd", "-shared", "-fPIC")
CALLS_PER_THREAD = 4  # so that a thread that is held up leaves work to the others
POINTER, INTEGER = ctypes.c_void_p, ctypes.c_int64


FIELDS: tuple[tuple[str, Any], ...] = (  # of `Batch` in views.c
    ("pixels", POINTER),
    *((f"{name}_stride", INTEGER) for name in ("image", "row", "column", "channel")),
    *((name, INTEGER) for name in ("channels", "height", "width", "size")),
    *((name, POINTER) for name in ("order", "jittered", "brightness", "contrast", "saturation", "hue", "grey")),
    *((name, POINTER) for name in ("top", "left", "crop_height", "crop_width", "flip", "blurred", "blur_sigma")),
    ("blur_radius", INTEGER),
    ("solarised", POINTER),
    ("threshold", ctypes.c_float),
    *((name, POINTER) for name in ("scale", "shift", "out")),
)


class _Batch(ctypes.Structure):
    _fields_ = FIELDS


def augment_native(
    library: ctypes.CDLL, pixels: Tensor, drawn: Drawn, mean: Sequence[float], std: Sequence[float], out: Tensor
) -> None:
    """As `augment`, of checked CPU tensors, into contiguous `out`, by as many threads as torch uses."""
    scale = torch.tensor([1 / (255 * spread) for spread in std])
    shift = torch.tensor([-centre / spread for centre, spread in zip(mean, std, strict=True)])
    tensors: dict[str, Tensor] = {"pixels": pixels, "scale": scale, "shift": shift, "out": out}
    for name, _ in FIELDS:
        if isinstance(value := getattr(drawn, name, None), Tensor):
            tensors[name] = value.contiguous()
    strides = dict(zip(("image_stride", "row_stride", "column_stride", "channel_stride"), pixels.stride(), strict=True))
    batch = _Batch(
        channels=pixels.shape[3],
        height=drawn.height,
        width=drawn.width,
        size=out.shape[2],
        blur_radius=drawn.blur_radius,
        threshold=255 * drawn.solarise_threshold,
        **strides,
        **{name: tensor.data_ptr() for name, tensor in tensors.items()},
    )
    images, threads = len(pixels), torch.get_num_threads()
    calls = min(images, CALLS_PER_THREAD * threads if threads > 1 else 1)
    ends = [images * i // calls for i in range(calls + 1)]

    def run(first: int, last: int) -> int:
        return int(library.augment_views(ctypes.byref(batch), first, last))  # releases the interpreter's lock

    outcomes = list((map if calls == 1 else _pool(threads, os.getpid()).map)(run, ends[:-1], ends[1:]))
    if any(outcomes):
        raise MemoryError(f"no memory to augment images of {drawn.height} x {drawn.width} pixels")


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads do not survive a fork, so each process has its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="augment")


@cache
def native_library() -> ctypes.CDLL | None:
    """The compiled `views.c`; None, with a warning, where it cannot be had."""
    try:
        compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), "cc", "gcc", "clang"))), None)
        if compiler is None:
            raise OSError("there is no C compiler (cc, gcc or clang)")
        library = _loaded(compiler)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        warnings.warn(
            "views are augmented by tensor operations, several times slower on a CPU than compiled code with the "
            f"same result: {reason.strip().splitlines()[0]}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    library.augment_views.argtypes = (POINTER, INTEGER, INTEGER)
    return library


def _loaded(compiler: str) -> ctypes.CDLL:
    """The library for this source, compiler and processor, compiled if it is not in the user's cache."""
    processor = _processor()
    native = ("-march=native",) if processor else ()
    command = (compiler, *FLAGS, *native)
    text = SOURCE.read_bytes()
    key = hashlib.sha256("\0".join((*command, platform.machine(), processor)).encode() + text).hexdigest()[:20]
    library = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssl-harness" / f"views-{key}.so"
    if library.exists():
        return ctypes.CDLL(str(library))
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / library.name
        subprocess.run((*command, "-o", made, SOURCE, "-lm"), check=True, capture_output=True, text=True)
        with suppress(OSError):  # a cache that cannot be written only means compiling again next time
            library.parent.mkdir(parents=True, exist_ok=True)
            copy = library.with_name(f"{library.name}.{os.getpid()}")
            shutil.copy(made, copy)
            copy.replace(library)  # atomic: another process finds all of it or nothing
        return ctypes.CDLL(str(made))


def _processor() -> str:
    """What the processor can do, or "": machines that share a cache must not share code that one of them cannot run."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("flags")), "")
