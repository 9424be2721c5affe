"""What the C library keeps of memory that is freed. Owns its settings; knows nothing of what is allocated."""

from __future__ import annotations

from harness.memory import of_gnu_c

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # see mallopt(3)
KEPT_BYTES = 1 << 30  # of free memory at the end of a heap
HEAP_BYTES = 64 << 20  # of a thread's heap, of which it has several: an empty one is kept if the padding is larger
LARGE_BYTES = (64 << 20, 32 << 20)  # what is taken from no heap, but from the system; older versions allow the second


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next allocation, and not give it back to the system at once: each
    page that it gets anew is a fault, which costs more than filling it. Does nothing without GNU's library."""
    mallopt = of_gnu_c("mallopt")
    if mallopt is None:
        return
    any(mallopt(M_MMAP_THRESHOLD, size) for size in LARGE_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(M_TOP_PAD, 2 * HEAP_BYTES)
