"""Augmented views a second, beside the conventional pipeline in the same run.

Run with `pytest -o addopts=--import-mode=importlib tests/benchmarks/test_bench_augment.py --benchmark-only -s`; rates
and ratios are in `extra_info`. Both sides use all cores and take short turns, of which the best counts, so that a busy
machine disturbs them alike; `cpu_ratio` compares processor seconds a view on one thread, which is disturbed least.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data.augment import augment, draw
from harness.suite.cell import AugmentationSpec

specification = importlib.util.spec_from_file_location("conventional", Path(__file__).with_name("conventional.py"))
assert specification is not None
assert specification.loader is not None
conventional = importlib.util.module_from_spec(specification)
specification.loader.exec_module(conventional)

SMALL = AugmentationSpec()  # the W-MSE paper's CIFAR pipeline
GREY = AugmentationSpec(saturation=0, hue=0, greyscale_probability=0)
LARGE = AugmentationSpec(
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    greyscale_probability=0.2,
    crop_scale=(0.08, 1.0),
    blur_probability=0.5,
)
TURNS = 3


def rate(work: Callable[[], int], seconds: float, clock: Callable[[], float]) -> float:
    """Views a second of one turn of about so long."""
    views, start, end = 0, clock(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        views += work()
    return views / (clock() - start)


@pytest.mark.parametrize(
    ("channels", "full", "size", "batch", "spec"),
    [(3, 32, 32, 512, SMALL), (1, 28, 28, 512, GREY), (3, 96, 64, 128, SMALL), (3, 256, 224, 16, LARGE)],
    ids=["cifar", "fashion-mnist", "stl-10", "imagenet"],
)
def test_two_views(benchmark, channels, full, size, batch, spec):
    """Two views of each image of a batch, from uint8 pixels to normalised tensors."""
    images = 64 * batch if full < 64 else 16 * batch
    pixels = np.random.default_rng(0).integers(0, 256, (images, full, full, channels), dtype=np.uint8)
    labels = np.zeros(images, dtype=np.int64)
    mean, std = (0.5,) * channels, (0.25,) * channels
    source, generator = torch.from_numpy(pixels), torch.Generator().manual_seed(0)
    loader = conventional.loader(pixels, labels, spec, size, mean, std, views=2, batch_size=batch)

    def ours() -> int:
        chosen = source[torch.randint(images, (batch,), generator=generator)].repeat(2, 1, 1, 1)
        augment(chosen, draw(spec, 2 * batch, full, full, generator), size, mean, std)
        return 2 * batch

    def one_image() -> int:
        return len(loader.dataset[int(torch.randint(images, ()))][0])

    def endless() -> Iterator[int]:
        while True:
            for views, _ in loader:
                yield len(views) * len(views[0])

    theirs = endless()
    queued = loader.prefetch_factor * loader.num_workers + 1
    rates: dict[str, list[float]] = {name: [] for name in ("ours", "theirs", "ours_cpu", "theirs_cpu")}
    threads = torch.get_num_threads()
    for _ in range(TURNS):
        for _ in range(queued):  # batches that the workers made while nobody measured
            next(theirs)
        rates["theirs"].append(rate(lambda: next(theirs), 2.0, time.perf_counter))
        time.sleep(1.0)  # the workers fill their queue and rest
        rates["ours"].append(rate(ours, 1.0, time.perf_counter))
        torch.set_num_threads(1)
        rates["ours_cpu"].append(rate(ours, 0.5, time.thread_time))
        rates["theirs_cpu"].append(rate(one_image, 0.5, time.thread_time))
        torch.set_num_threads(threads)
    benchmark.pedantic(ours, rounds=5, warmup_rounds=1)
    best = {name: max(values) for name, values in rates.items()}
    benchmark.extra_info.update(
        ours_views_per_second=round(best["ours"]),
        conventional_views_per_second=round(best["theirs"]),
        ratio=round(best["ours"] / best["theirs"], 1),
        median_ratio=round(float(np.median(rates["ours"]) / np.median(rates["theirs"])), 1),
        cpu_ratio=round(best["ours_cpu"] / best["theirs_cpu"], 1),
        cores=os.cpu_count(),
    )
    print("\n", benchmark.name, benchmark.extra_info)
