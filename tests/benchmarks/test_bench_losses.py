"""Forward and backward of every loss beside its conventional form. Run with --benchmark-enable (or --benchmark-only).

One entry is one comparison; `extra_info` holds the ratio of the two medians, taken in turns in the same run, beside
the ratio to reach on two idle cores. The equality of the two values is asserted, the ratio is reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from methods.barlow_twins import barlow_twins_loss
from methods.contrastive import contrastive_loss
from methods.vicreg import vicreg_loss
from methods.w_mse import w_mse_loss
from methods.whitening import slices
from tests.benchmarks import conventional_losses as conventional

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Comparison:
    """A loss on v (views, images, embedding), and how many times faster than its conventional form it should be."""

    name: str
    shape: tuple[int, int, int]
    ours: Loss
    conventional: Loss
    target: float
    rounds: int = 30


def w_mse(views: int, images: int, size: int, sub_batch: int, iterations: int, target: float) -> Comparison:
    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    return Comparison(
        name=f"w_mse d={views} N={images} D={size} sub_batch={sub_batch} iterations={iterations}",
        shape=(views, images, size),
        ours=lambda v: w_mse_loss(v, sub_batch, iterations, generator=seeded()),
        conventional=lambda v: conventional.w_mse(v, slices(images, sub_batch, iterations, seeded())),
        target=target,
    )


COMPARISONS = (
    w_mse(2, 512, 64, 128, 1, target=4.0),
    w_mse(2, 512, 128, 256, 4, target=3.0),
    w_mse(4, 512, 64, 128, 1, target=4.0),
    w_mse(4, 512, 128, 256, 4, target=3.0),
    Comparison("nt_xent d=2 N=512 D=64", (2, 512, 64), contrastive_loss, conventional.nt_xent, target=1.0),
    Comparison("nt_xent d=4 N=256 D=64", (4, 256, 64), contrastive_loss, conventional.nt_xent, target=1.5),
    Comparison("vicreg d=2 N=256 D=2048", (2, 256, 2048), vicreg_loss, conventional.vicreg, target=10.0, rounds=7),
    Comparison(
        "barlow_twins d=2 N=256 D=2048", (2, 256, 2048), barlow_twins_loss, conventional.barlow_twins, 3.0, rounds=7
    ),
)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def forward_backward(loss: Loss, v: Tensor) -> Tensor:
    v.grad = None
    value = loss(v)
    value.backward()
    return value.detach()


def seconds(loss: Loss, v: Tensor) -> float:
    start = time.perf_counter()
    forward_backward(loss, v)
    return time.perf_counter() - start


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda c: c.name)
def test_loss(comparison: Comparison, benchmark: BenchmarkFixture) -> None:
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(comparison.shape, generator=generator).requires_grad_()
    ours = forward_backward(comparison.ours, v)
    torch.testing.assert_close(ours, forward_backward(comparison.conventional, v), rtol=1e-4, atol=1e-5)
    timings = [(seconds(comparison.ours, v), seconds(comparison.conventional, v)) for _ in range(comparison.rounds)]
    fast, plain = (statistics.median(column) for column in zip(*timings, strict=True))
    quickest, quickest_plain = (min(column) for column in zip(*timings, strict=True))
    benchmark.extra_info.update(
        ratio=round(plain / fast, 2),
        ratio_of_quickest=round(quickest_plain / quickest, 2),
        target=comparison.target,
        conventional_ms=round(1e3 * plain, 3),
    )
    benchmark.pedantic(forward_backward, args=(comparison.ours, v), rounds=comparison.rounds, warmup_rounds=2)
