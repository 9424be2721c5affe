"""CIFAR-10 and CIFAR-100 in the form they are published in: Python pickles. Owns how those are read without running
them.

A pickle is a program. Of this one's vocabulary only containers, numbers, text and an array of bytes are kept, and the
array is rebuilt here from its shape and its bytes: no function that the file names is ever called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.data.datasets import DataError
from harness.data.packed import Chunk, Pixels

SIDE = 32
FIELDS = {
    "cifar10": ("batches.meta", b"label_names", b"labels"),
    "cifar100": ("meta", b"fine_label_names", b"fine_labels"),
}
BATCHES: dict[str, dict[str, tuple[str, ...]]] = {
    "cifar10": {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    "cifar100": {"train": ("train",), "test": ("test",)},
}


class _Type:
    """Stands for numpy.dtype: an element type that is looked at, never built."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code if isinstance(code, bytes) else str(code).encode()

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands for numpy.ndarray: keeps the state a pickle gives it."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> Pixels:
        """The bytes in their shape. ValueError if they are anything but unsigned bytes in C order."""
        _, shape, kind, fortran, data = self.state
        if not isinstance(kind, _Type) or kind.code not in (b"u1", b"|u1") or fortran or not isinstance(data, bytes):
            raise ValueError("an array that is not of unsigned bytes")
        return np.frombuffer(data, np.uint8).reshape(shape)


def _array(*_: Any) -> _Array:
    return _Array()


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


class _Reader(pickle.Unpickler):
    """Knows four names, each as something harmless."""

    known: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
        ("numpy.core.multiarray", "_reconstruct"): _array,
        ("numpy._core.multiarray", "_reconstruct"): _array,
        ("_codecs", "encode"): _encoded,  # how newer pickles of protocol 2 write bytes
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise DataError(f"it asks for {module}.{name}, which no CIFAR file needs: refused, nothing of it was run")
        return self.known[module, name]


def read_pickle(path: Path) -> dict[bytes, Any]:
    """The dictionary of one of CIFAR's pickles, keys as bytes. DataError for any other content."""
    try:
        content = _Reader(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: the copy is incomplete") from error
    except Exception as error:  # an unpickler on damaged bytes raises nearly anything
        raise DataError(f"{path} is damaged or not a CIFAR file ({error}): fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a CIFAR file: it holds a {type(content).__name__}, not a dictionary")
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}


def read_cifar(folder: Path, name: str) -> tuple[tuple[str, ...], Iterator[Chunk]]:
    """Class names, and the chunks of `cifar10` or `cifar100` (fine labels) in the published order."""
    meta, names_key, labels_key = FIELDS[name]
    names = read_pickle(folder / meta).get(names_key)
    if not isinstance(names, list) or not all(isinstance(text, bytes | str) for text in names):
        raise DataError(f"{folder / meta} has no {names_key.decode()}: not {name}?")
    classes = tuple(text.decode("latin1") if isinstance(text, bytes) else text for text in names)

    def chunks() -> Iterator[Chunk]:
        for split, files in BATCHES[name].items():
            for file in files:
                yield split, *_batch(folder / file, labels_key)

    return classes, chunks()


def _batch(path: Path, labels_key: bytes) -> tuple[Pixels, np.ndarray[Any, np.dtype[np.int64]]]:
    """Pixels (n, 32, 32, 3) and labels of one file, whose rows are the red, green and blue planes."""
    content = read_pickle(path)
    try:
        planes = content[b"data"].array().reshape(-1, 3, SIDE, SIDE)
        labels = np.array(content[labels_key], dtype=np.int64)
        if labels.shape != (len(planes),):
            raise ValueError(f"{len(planes)} images, {labels.size} labels")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is damaged or not a CIFAR file ({error!r}): fetch it again") from error
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
