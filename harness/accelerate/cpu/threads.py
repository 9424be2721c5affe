"""Threads that each keep a number of cores of their own; they know nothing of what is computed."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def streams(count: int, threads: int) -> ThreadPoolExecutor:
    """`count` threads in each of which torch computes with `threads` cores; the same ones at every call."""
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
