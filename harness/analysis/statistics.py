"""What the seeds say: means with intervals, paired differences, Holm's correction, how many seeds a test would need.

The unit is the seed. Runs of one seed see the same images in the same order whatever their method, so methods are
compared seed by seed. scipy does the arithmetic. Reads no record and prints nothing; images are in `bootstrap`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

LEVEL = 0.95
"""Of every interval."""
POWER = 0.8
"""Of the tests for which seeds are counted."""
MIN_PAIRS = 5
"""Fewer pairs than this are not tested: a paired t-test on them hardly is one. Intervals and effects stand alone."""
MOST_SEEDS = 1000
"""Beyond this nobody runs a test."""
_NO_SPREAD = 1e-9  # differences that agree to this agree exactly, but for rounding


@dataclass(frozen=True)
class Interval:
    """A mean and how sure it is."""

    mean: float
    sd: float | None
    """Sample standard deviation (n - 1); None for a single value."""
    low: float | None
    high: float | None
    """Student's t at LEVEL; None for a single value and for values that do not vary at all, because accuracies are
    counted in whole images and two equal ones do not say that a third would be equal."""
    n: int

    def excludes(self, value: float) -> bool:
        """Whether there is an interval, and the value is outside it."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


@dataclass(frozen=True)
class Difference:
    """One method minus another, seed by seed."""

    interval: Interval
    seeds: tuple[int, ...]
    """Those that both have."""
    values: tuple[float, ...]
    """The difference of each seed."""
    p: float | None
    """Two-sided, of a paired t-test against no difference; None for fewer than MIN_PAIRS."""

    @property
    def effect(self) -> float | None:
        """Cohen's d of paired differences: their mean over their standard deviation."""
        sd = self.interval.sd
        return self.interval.mean / sd if sd is not None and sd > _NO_SPREAD else None

    @property
    def seeds_needed(self) -> int | None:
        """For a test to find this difference if it is real; an estimate from the observed spread."""
        return seeds_needed(self.interval.mean, self.interval.sd)


@dataclass(frozen=True)
class McNemar:
    """Two single runs on the same images. It is about these two runs, not about their methods."""

    only_first: int
    """Images that only the first got right."""
    only_second: int
    p: float
    """Two-sided, exact."""


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean, sample standard deviation and Student's interval of at least one value."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Interval(mean, None, None, None, n)
    sd = float(np.std(values, ddof=1))
    if sd <= _NO_SPREAD:
        return Interval(mean, 0.0, None, None, n)
    half = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * sd / n**0.5
    return Interval(mean, sd, mean - half, mean + half, n)


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference | None:
    """First minus second over the seeds that both have; None if there are none.

    Args:
        first, second: a value for each seed.
    """
    seeds = tuple(sorted(first.keys() & second.keys()))
    if not seeds:
        return None
    values = tuple(first[seed] - second[seed] for seed in seeds)
    interval = mean_interval(values)
    p = p_value(interval) if interval.n >= MIN_PAIRS else None
    return Difference(interval, seeds, values, p)


def p_value(interval: Interval, against: float = 0.0) -> float:
    """Two-sided, that the mean is `against`: of a t-test, so that it is below 1 - LEVEL where the interval excludes it.

    Values that do not vary have no t; their sign is tested, 2 x 0.5^n. Given for any n, 1 for a single value: who
    prints it minds MIN_PAIRS.
    """
    if interval.sd is None or abs(interval.mean - against) <= _NO_SPREAD:
        return 1.0
    if interval.sd == 0:
        return float(0.5 ** (interval.n - 1))
    t = (interval.mean - against) / (interval.sd / interval.n**0.5)
    return float(2 * special.stdtr(interval.n - 1, -abs(t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given (Holm 1979): each may be compared with the level itself."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=float)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(p_values) else steps
    return [float(p) for p in adjusted]


def seeds_needed(difference: float, sd: float | None, *, alpha: float = 1 - LEVEL, power: float = POWER) -> int | None:
    """Fewest pairs with which a two-sided paired t-test finds a difference with that power; at least MIN_PAIRS.

    Args:
        difference: the true mean difference assumed.
        sd: standard deviation of the differences of single seeds.

    Returns:
        None where nothing can be said (no spread known, no difference), or more than MOST_SEEDS would be needed. For
        differences that do not vary, the pairs that a test of their sign takes.
    """
    from scipy import stats  # slow to load, and intervals need none of it

    if sd is None or abs(difference) <= _NO_SPREAD:
        return None
    n = np.arange(MIN_PAIRS, MOST_SEEDS + 1)
    if sd <= _NO_SPREAD:
        enough = n[0.5 ** (n - 1) <= alpha]
    else:
        critical = stats.t.isf(alpha / 2, n - 1)
        shift = abs(difference) / sd * np.sqrt(n)
        wrong_sign = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))  # scipy's is nan where it is next to nothing
        enough = n[stats.nct.sf(critical, n - 1, shift) + wrong_sign >= power]
    return int(enough[0]) if len(enough) else None


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> McNemar:
    """Exact test of whether two runs are right equally often, from the hits (images,) of each on the same images.

    Raises:
        ValueError: the runs were not evaluated on the same number of images.
    """
    from scipy import stats  # slow to load

    if first.shape != second.shape:
        raise ValueError(f"McNemar's test needs the same images: {first.shape[0]} and {second.shape[0]} were given")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    tested: Any = stats.binomtest(only_first, only_first + only_second) if only_first + only_second else None
    return McNemar(only_first, only_second, float(tested.pvalue) if tested else 1.0)
