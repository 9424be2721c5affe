"""A training run's whole state as bytes, and their way to the disk beside the training. Never decides when.

A checkpoint holds tensors and plain values only, is read with `weights_only`, and names the pretraining it belongs to:
another one's checkpoint, or one that cannot be read whole, is refused.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used."""


def to_bytes(state: State) -> bytes:
    """The state as torch's own file format."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes, run_id: str) -> State:
    """The state that `to_bytes` wrote, on the CPU.

    Args:
        run_id: of the pretraining that is to go on.

    Raises:
        CheckpointError: the bytes are no checkpoint, or another pretraining's.
    """
    try:
        state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(
            f"pretraining {run_id}: the checkpoint cannot be read ({error}); delete it to start over"
        ) from error
    if state.get("pretraining") != run_id:
        other = state.get("pretraining")
        raise CheckpointError(
            f"pretraining {run_id}: the checkpoint is of pretraining {other}; delete it to start over"
        )
    return state


def snapshot(value: Any) -> Any:
    """A copy of nested tensors on the CPU, so that training may go on while it is written."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(snapshot(item) for item in value)
    return value


class BackgroundWriter:
    """Serialises and writes checkpoints in one thread, one at a time; a failed write is raised at the next call."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether the last checkpoint is still being written."""
        return self._pending is not None and not self._pending.done()

    def save(self, state: State, *, wait: bool) -> None:
        """Copy the state and write it; with `wait`, return when it is on the disk."""
        self.flush()
        copied = snapshot(state)
        self._pending = self._pool.submit(lambda: self._write(to_bytes(copied)))
        if wait:
            self.flush()

    def flush(self) -> None:
        """Wait for the write under way; raise what it raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Flush and end the thread."""
        try:
            self.flush()
        finally:
            self._pool.shutdown()
