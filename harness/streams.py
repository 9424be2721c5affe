"""Named streams of random numbers. Every draw of a run comes from one: order, workers and resuming change nothing."""

from __future__ import annotations

import hashlib

import torch


def stream_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed: the first bytes of SHA-256 of the seed and the purpose, such as ("augment", epoch, step)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator seeded by `stream_seed`."""
    return torch.Generator().manual_seed(stream_seed(seed, *purpose))
