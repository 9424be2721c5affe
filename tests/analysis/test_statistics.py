import itertools

import numpy as np
import pytest
from scipy import stats

from harness.analysis.statistics import holm, mcnemar, mean_interval, p_value, paired_difference, seeds_needed

FIRST = {0: 91.2, 1: 90.4, 2: 92.9, 3: 91.7, 4: 90.8, 5: 93.0}
SECOND = {0: 90.1, 1: 90.9, 2: 91.0, 3: 90.2, 4: 89.9, 5: 91.6}


def test_an_interval_is_students():
    interval = mean_interval([90.0, 92.0, 94.0])
    assert (interval.mean, interval.sd, interval.n) == (92.0, pytest.approx(2.0), 3)
    half = 4.302652729911275 * 2.0 / 3**0.5  # t of 2 degrees of freedom at 97.5 %, from a printed table
    assert (interval.low, interval.high) == (pytest.approx(92 - half), pytest.approx(92 + half))
    assert interval.excludes(80.0)
    assert not interval.excludes(90.0)
    assert not interval.excludes(interval.low)
    assert not interval.excludes(interval.high)


def test_a_single_value_and_values_that_do_not_vary_have_no_interval():
    one, same = mean_interval([90.0]), mean_interval([78.61 - 78.33, 95.28 - 95.0])
    assert (one.sd, one.low, one.high, one.n) == (None, None, None, 1)
    assert (same.sd, same.low, same.high, same.n) == (0.0, None, None, 2)
    assert not one.excludes(0.0)
    assert not same.excludes(0.0)


def test_differences_are_paired_by_seed_and_tested_as_scipy_does():
    found = paired_difference(FIRST, dict(reversed(SECOND.items())))
    expected = stats.ttest_rel(list(FIRST.values()), list(SECOND.values()))
    low, high = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.interval.low, found.interval.high) == (pytest.approx(low), pytest.approx(high))
    assert found.effect == pytest.approx(expected.statistic / 6**0.5)


def test_a_difference_without_a_spread_has_no_effect_size():
    assert paired_difference({0: 2.0}, {0: 1.0}).effect is None
    assert paired_difference({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}).effect is None


def test_only_common_seeds_are_compared_and_few_are_not_tested():
    found = paired_difference({0: 1.0, 1: 3.0, 7: 9.0}, {1: 1.0, 0: 0.0, 2: 5.0})
    assert (found.seeds, found.values, found.p) == ((0, 1), (1.0, 2.0), None)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    four = {seed: float(seed**2) for seed in range(4)}
    assert paired_difference(four, dict.fromkeys(four, 0.0)).p is None
    assert paired_difference(four | {4: 16.0}, dict.fromkeys(range(5), 0.0)).p is not None


@pytest.mark.parametrize("against", [-1.0, 0.0, 0.9, 3.0])
def test_p_is_below_five_per_cent_where_the_interval_excludes(against):
    values = [FIRST[seed] - SECOND[seed] for seed in FIRST]
    interval = mean_interval(values)
    assert p_value(interval, against) == pytest.approx(stats.ttest_1samp(values, against).pvalue)
    assert (p_value(interval, against) < 0.05) == interval.excludes(against)


def test_without_spread_the_sign_is_tested():
    for n in (1, 2, 5, 6):
        expected = stats.binomtest(n, n).pvalue  # all of one sign
        assert p_value(mean_interval([1.5] * n)) == pytest.approx(expected)
    assert p_value(mean_interval([1.5] * 6), against=1.5) == 1.0


def test_holm_by_hand():
    # ordered 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, never less than the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_as_statsmodels_has_it():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    values = np.random.default_rng(0).random(50) ** 3
    assert holm(list(values)) == pytest.approx(list(multitest.multipletests(values, method="holm")[1]))


@pytest.mark.parametrize(("difference", "sd", "alpha"), [(1.0, 1.0, 0.05), (-0.5, 1.5, 0.05), (0.3, 1.0, 0.0125)])
def test_seeds_needed_as_statsmodels_has_it(difference, sd, alpha):
    power = pytest.importorskip("statsmodels.stats.power")
    solved = power.TTestPower().solve_power(abs(difference) / sd, alpha=alpha, power=0.8)
    assert seeds_needed(difference, sd, alpha=alpha) == int(np.ceil(solved))


def test_so_many_seeds_do_find_it():
    n = seeds_needed(1.0, 1.2)
    drawn = np.random.default_rng(0).normal(1.0, 1.2, (4000, n))
    assert (stats.ttest_1samp(drawn, 0.0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.04)
    assert (stats.ttest_1samp(drawn[:, :-3], 0.0, axis=1).pvalue < 0.05).mean() < 0.8


def test_beyond_a_thousand_seeds_nobody_runs_a_test():
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    just, too_small = (power.solve_power(nobs=nobs, alpha=0.05, power=0.8) for nobs in (999.5, 1000.5))
    assert seeds_needed(just, 1.0) == 1000
    assert seeds_needed(too_small, 1.0) is None


def test_seeds_needed_at_the_edges():
    assert seeds_needed(1.0, None) is None
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.001, 1.0) is None  # thousands
    assert seeds_needed(100.0, 1.0) == 5  # no fewer are tested
    assert seeds_needed(14.0, 1.0) == 5
    assert seeds_needed(1.0, 0.0) == 6  # 2 x 0.5^6 is below 5 %


def test_mcnemar_by_enumeration():
    first = np.array([1, 1, 1, 1, 1, 0, 1, 0, 1, 0], dtype=bool)
    second = np.array([0, 0, 0, 0, 1, 1, 1, 0, 1, 0], dtype=bool)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (4, 1)
    coins = [sum(flips) for flips in itertools.product((0, 1), repeat=5)]
    assert found.p == pytest.approx(sum(heads <= 1 or heads >= 4 for heads in coins) / len(coins))
    assert mcnemar(first, first).p == 1.0


def test_mcnemar_as_statsmodels_has_it():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    drawn = np.random.default_rng(1)
    first, second = drawn.random(500) < 0.8, drawn.random(500) < 0.74
    counts = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    assert mcnemar(first, second).p == pytest.approx(tables.mcnemar(counts, exact=True).pvalue)


def test_mcnemar_needs_the_same_images():
    with pytest.raises(ValueError, match="needs the same images: 3 and 2 were given"):
        mcnemar(np.ones(3, dtype=bool), np.ones(2, dtype=bool))
