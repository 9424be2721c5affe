"""Work shared by the threads of this process. Owns how a job of many blocks is split among them; knows nothing of what
is computed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

PIECES_PER_THREAD = 4  # so that a thread that is held up leaves its work to the others


def share(work: Callable[[int, int], None], blocks: int, threads: int) -> None:
    """`work(begin, end)` on all blocks, piece by piece, by this thread and as many others as make up `threads`; those
    that come too late are not waited for. The work has to release the interpreter's lock to gain by it."""
    count = min(blocks, PIECES_PER_THREAD * threads if threads > 1 else 1)
    pieces = deque((blocks * i // count, blocks * (i + 1) // count) for i in range(count))

    def take() -> None:
        while True:
            try:
                begin, end = pieces.popleft()
            except IndexError:  # another thread took the last one
                return
            work(begin, end)

    helpers = [_helpers(os.getpid()).submit(take) for _ in range(min(threads, count) - 1)]
    take()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


@cache
def _helpers(process: int) -> ThreadPoolExecutor:
    """Threads do not survive a fork, so each process has its own."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="share")
