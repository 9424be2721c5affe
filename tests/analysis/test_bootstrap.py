import itertools

import numpy as np
import pytest

from harness.analysis.bootstrap import bootstrap_accuracy, bootstrap_difference


def _drawn(seeds, images, accuracy, seed=0):
    return np.random.default_rng(seed).random((seeds, images)) < accuracy


def _enumerated(scores):
    """Every resample of seeds and of images, each as likely as any other."""
    seeds, images = scores.shape
    means = [
        scores[np.ix_(rows, columns)].mean()
        for rows in itertools.product(range(seeds), repeat=seeds)
        for columns in itertools.product(range(images), repeat=images)
    ]
    return np.array(means)


def test_all_resamples_of_a_tiny_case_give_the_same_range():
    hits = np.array([[1, 1, 0, 1, 0], [1, 0, 0, 1, 1]], dtype=bool)
    other = np.array([[0, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=bool)
    for found, scores in (
        (bootstrap_accuracy(hits), hits.astype(float)),
        (bootstrap_difference(hits, other), hits.astype(float) - other),
    ):
        low, high = np.quantile(_enumerated(scores), (0.025, 0.975))
        assert found.mean == pytest.approx(100 * scores.mean())
        assert (found.low, found.high) == (pytest.approx(100 * low, abs=5), pytest.approx(100 * high, abs=5))


def test_one_seed_is_the_binomial_of_its_images():
    found = bootstrap_accuracy(_drawn(1, 2000, 0.8))
    accuracy = found.mean / 100
    half = 196 * (accuracy * (1 - accuracy) / 2000) ** 0.5
    assert (found.low, found.high) == (
        pytest.approx(found.mean - half, abs=0.3),
        pytest.approx(found.mean + half, abs=0.3),
    )


def test_images_are_shared_by_seeds_and_methods():
    one = _drawn(1, 1000, 0.7)
    easy = bootstrap_accuracy(np.tile(one, (4, 1)))  # every seed is right on the same images: four are worth one
    accuracy = one.mean()
    width = 2 * 196 * (accuracy * (1 - accuracy) / 1000) ** 0.5
    assert easy.high - easy.low == pytest.approx(width, rel=0.1)
    none = bootstrap_difference(np.tile(one, (4, 1)), np.tile(one, (4, 1)))
    assert (none.mean, none.low, none.high) == (0.0, 0.0, 0.0)


def test_seeds_widen_the_range():
    hits = np.stack([_drawn(1, 2000, accuracy, seed=3)[0] for accuracy in (0.6, 0.7, 0.8, 0.9)])
    found = bootstrap_accuracy(hits)
    of_seeds = 100 * hits.mean(axis=1).std() / 4**0.5  # of the mean of four resampled seeds
    of_images = 100 * hits.mean(axis=0).std() / 2000**0.5
    width = 2 * 1.96 * (of_seeds**2 + of_images**2) ** 0.5
    assert found.high - found.low == pytest.approx(width, rel=0.1)


def test_the_same_hits_give_the_same_range():
    hits = _drawn(3, 500, 0.5)
    assert bootstrap_accuracy(hits) == bootstrap_accuracy(hits.copy())


def test_other_seeds_or_images_are_refused():
    with pytest.raises(ValueError, match=r"same seeds and images are needed: \(2, 9\) and \(2, 8\) were given"):
        bootstrap_difference(np.ones((2, 9), dtype=bool), np.ones((2, 8), dtype=bool))
