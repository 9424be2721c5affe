"""Stored samples of features: geometry kept, sign and order fixed, collapse survived."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from harness.evaluation.sample import COMPONENTS, IMAGES, principal_sample, sample_rows
from harness.store.records import unpack_components


def test_components_are_those_of_scikit_learn_up_to_unit_and_sign():
    features = torch.randn(200, 60, generator=torch.Generator().manual_seed(0)) * torch.linspace(3, 0.1, 60)
    sample = principal_sample(features, torch.arange(200) % 7)
    found = unpack_components(sample)
    expected = PCA(COMPONENTS, svd_solver="full").fit(features.double().numpy())
    scores = expected.transform(features.double().numpy())
    assert found.shape == (200, COMPONENTS)
    np.testing.assert_allclose(np.abs(found), np.abs(scores) / scores[:, 0].std(), atol=4e-3)
    assert (found[np.abs(found).argmax(0), np.arange(COMPONENTS)] > 0).all()
    np.testing.assert_allclose(sample.explained, expected.explained_variance_ratio_.sum(), rtol=1e-9)
    assert sample.labels[:8] == (0, 1, 2, 3, 4, 5, 6, 0)


def test_the_same_features_give_the_same_bytes():
    features = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(50, dtype=torch.int64)
    assert principal_sample(features, labels) == principal_sample(features.clone(), labels)


def test_constant_features_are_points_in_one_place():
    sample = principal_sample(torch.ones(10, 4), torch.zeros(10, dtype=torch.int64))
    assert not unpack_components(sample).any()
    assert sample.explained == 0


def test_rows_are_drawn_once_and_for_all():
    rows = sample_rows(10_000)
    assert len(set(rows.tolist())) == IMAGES
    assert torch.equal(rows, sample_rows(10_000))
    assert sorted(sample_rows(20).tolist()) == list(range(20))
