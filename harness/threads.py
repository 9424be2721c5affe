"""Work shared by the threads of this process. Owns how a job of many blocks is split among them, and threads that each
keep a number of cores of their own; knows nothing of what is computed."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

SWITCH_SECONDS = 0.0002
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


def streams(count: int, threads: int) -> ThreadPoolExecutor:
    """`count` threads in each of which torch computes with `threads` cores; the same ones at every call. Where another
    holds the interpreter's lock they ask for it after a fifth of a millisecond, not after Python's five."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
    return _streams(count, threads, os.getpid())


@cache
def _streams(count: int, threads: int, process: int) -> ThreadPoolExecutor:
    everywhere = torch.get_num_threads()

    def begin() -> None:
        torch.get_num_threads()  # a thread takes over the process's number when it first asks, and keeps its own then
        torch.set_num_threads(threads)

    pool = ThreadPoolExecutor(count, thread_name_prefix="stream", initializer=begin)
    barrier = threading.Barrier(count)
    list(pool.map(lambda _: barrier.wait(), range(count)))
    torch.set_num_threads(everywhere)  # of this thread, and of those that have never asked
    return pool
