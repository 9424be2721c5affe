import math

import numpy as np
import pytest
import torch

from harness.evaluation import collapse
from harness.evaluation.collapse import alignment, alpha_req, diagnose, participation_ratio
from harness.spec.collapse import CollapseRule, is_collapsed


def gaussian(rows=4000, columns=32, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def with_singular_values(values, rows=200, centred=False):
    """A matrix (rows, D) of these singular values; if centred, its columns have mean 0."""
    generator = torch.Generator().manual_seed(1)
    left = torch.randn(rows, len(values), generator=generator, dtype=torch.float64)
    if centred:
        left = left - left.mean(0)
    u = torch.linalg.qr(left).Q
    v = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)).Q
    return u @ torch.diag(torch.as_tensor(values, dtype=torch.float64)) @ v.T


def test_isotropic_gaussian():
    result = diagnose(gaussian())
    assert result.dimensions == 32
    assert result.std == pytest.approx(1, abs=0.01)
    assert result.correlation == pytest.approx(math.sqrt(2 / math.pi / 4000), rel=0.1)  # mean |N(0, 1 / n)|
    assert result.rankme == pytest.approx(32, rel=0.01)
    assert result.participation_ratio == pytest.approx(32, rel=0.02)
    assert 0 <= result.alpha_req < 0.2  # flat, but for the spread of sample eigenvalues
    # Points on the sphere: E exp(-2 |x - y|^2) = exp(-4) E exp(4 cos), cos of variance 1 / D, nearly normal.
    assert result.uniformity == pytest.approx(-4 + 16 / 2 / 32, abs=0.02)
    assert result.alignment is None
    assert len(result.spectrum) == 32


def test_rank_one():
    direction = torch.tensor([3.0, -4.0, 12.0]) / 13
    result = diagnose(torch.linspace(1, 5, 101)[:, None] * direction)
    assert result.std == pytest.approx(0, abs=1e-6)  # all point one way
    assert result.correlation == pytest.approx(1, abs=1e-6)
    assert result.rankme == pytest.approx(1, abs=1e-5)
    assert result.participation_ratio == pytest.approx(1, abs=1e-9)
    assert result.spectrum[0] == pytest.approx(np.linspace(1, 5, 101).var(ddof=1), rel=1e-6)
    assert result.uniformity == pytest.approx(0, abs=1e-9)


def test_rankme_and_participation_ratio_of_known_spectra():
    x = with_singular_values([4.0, 2.0, 1.0, 1.0], centred=True)
    result = diagnose(x)
    p = np.array([0.5, 0.25, 0.125, 0.125])
    assert result.rankme == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-9)
    assert result.participation_ratio == pytest.approx((16 + 4 + 1 + 1) ** 2 / (256 + 16 + 1 + 1), rel=1e-9)
    assert result.spectrum == pytest.approx(np.array([16, 4, 1, 1]) / 199, rel=1e-9)


def test_rankme_is_of_the_features_as_they_are_and_the_covariance_of_the_centred():
    x = gaussian(300, 6).double() + 50
    result = diagnose(x)
    singular = np.linalg.svd(x.numpy(), compute_uv=False)
    p = singular / singular.sum()
    assert result.rankme == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-9)
    assert result.spectrum == pytest.approx(np.linalg.eigvalsh(np.cov(x.numpy().T))[::-1], rel=1e-9)


def test_directions_without_variance_do_not_participate():
    assert participation_ratio(torch.tensor([2.0, 2.0, 0.0])) == pytest.approx(2.0)
    assert participation_ratio(torch.zeros(3)) == 0.0


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_alpha_of_a_power_law(alpha):
    ranks = np.arange(1, 201)
    x = with_singular_values(ranks ** (-alpha / 2), rows=400, centred=True)
    assert diagnose(x).alpha_req == pytest.approx(alpha, rel=1e-6)


def test_alpha_is_the_weighted_fit_of_ranks_4_to_100():
    generator = np.random.default_rng(0)
    spectrum = np.sort(generator.random(150))[::-1].copy()
    ranks = np.arange(4, 101)
    slope = np.polyfit(np.log(ranks), np.log(spectrum[3:100]), 1, w=ranks**-0.5)[0]  # polyfit squares its weights
    assert alpha_req(torch.tensor(spectrum)) == pytest.approx(-slope, rel=1e-9)


def test_correlation_is_numpys_and_leaves_out_constant_dimensions(monkeypatch):
    monkeypatch.setattr(collapse, "BLOCK", 3)
    x = gaussian(50, 8).double()
    x[:, 1] += 2 * x[:, 0]
    expected = np.abs(np.corrcoef(x.numpy().T))[~np.eye(8, dtype=bool)].mean()
    assert diagnose(x).correlation == pytest.approx(expected, rel=1e-12)
    padded = torch.cat([x, torch.full((50, 3), 0.1, dtype=torch.float64)], 1)
    assert diagnose(padded).correlation == pytest.approx(expected, rel=1e-12)


def test_uniformity_and_alignment_by_hand(monkeypatch):
    monkeypatch.setattr(collapse, "BLOCK", 2)
    x = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])  # squared distances on the circle: 2, 4, 2
    expected = math.log((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert diagnose(x).uniformity == pytest.approx(expected, rel=1e-12)
    assert alignment(x, torch.tensor([[5.0, 0.0], [1.0, 0.0], [4.0, 0.0]])) == pytest.approx((0 + 2 + 4) / 3, rel=1e-12)
    assert diagnose(x, views=(x, 2 * x)).alignment == pytest.approx(0, abs=1e-12)


def test_std_by_hand():
    x = torch.tensor([[2.0, 0.0], [0.0, 5.0]])  # unit rows (1, 0), (0, 1): std 1/2 in both dimensions
    assert diagnose(x).std == pytest.approx(0.5 * math.sqrt(2), rel=1e-12)


def test_scale_by_hand():
    x = torch.tensor([[1.0, 10.0], [3.0, 10.0], [5.0, 16.0]])  # less its mean: -2 -2, 0 -2, 2 4
    assert diagnose(x).scale == pytest.approx(math.sqrt((4 + 4 + 0 + 4 + 4 + 16) / 6), rel=1e-12)


def test_scale_alone_sees_features_vanish():
    x = gaussian(200, 8).double()
    whole, small = diagnose(x), diagnose(x * 1e-6)
    assert small.scale == pytest.approx(1e-6 * whole.scale, rel=1e-9)
    assert diagnose(x + 100).scale == pytest.approx(whole.scale, rel=1e-9)
    for name in ("std", "correlation", "rankme", "participation_ratio", "alpha_req", "uniformity"):
        assert getattr(small, name) == pytest.approx(getattr(whole, name), rel=1e-6)


def test_names_of_the_values():
    x = gaussian(20, 3)
    names = {"dimensions", "nonfinite_rows", "scale", "std", "correlation", "rankme", "participation_ratio"}
    names |= {"alpha_req", "uniformity"}
    assert set(diagnose(x).values("h")) == {f"h_{name}" for name in names}
    assert set(diagnose(x, views=(x, x)).values("v")) == {f"v_{name}" for name in {*names, "alignment"}}


DEGENERATE = {
    "zeros": torch.zeros(20, 5),
    "one row": torch.ones(1, 5),
    "no row": torch.ones(0, 5),
    "constant": torch.full((20, 5), 0.1),
    "not finite": torch.full((20, 5), math.nan),
    "infinite": torch.full((20, 5), math.inf),
    "one dimension": torch.arange(20.0)[:, None],
    "tiny": torch.full((20, 5), 1e-40),
    "huge": gaussian(20, 5) * 1e37,
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_features_give_finite_numbers(case):
    x = DEGENERATE[case]
    found = diagnose(x, views=(x, x))
    values = found.values("h")
    assert all(math.isfinite(value) for value in (*values.values(), *found.spectrum))
    assert values["h_nonfinite_rows"] == (20 if case in ("not finite", "infinite") else 0)


@pytest.mark.parametrize("case", ["zeros", "constant", "not finite", "no row"])
def test_values_of_complete_collapse(case):
    result = diagnose(DEGENERATE[case])
    assert result.std == pytest.approx(0, abs=1e-12)
    assert result.correlation == 1
    assert result.rankme == pytest.approx(1 if case == "constant" else 0)
    assert result.participation_ratio == 0
    assert result.alpha_req == 0
    assert result.uniformity == pytest.approx(0, abs=1e-12)
    assert result.scale == pytest.approx(0, abs=1e-8)
    assert is_collapsed([result.values("v")], CollapseRule())


def test_rows_that_are_not_finite_are_left_out():
    x = gaussian(50, 4)
    broken = torch.cat([x, torch.tensor([[math.nan, 0, 0, 0], [math.inf, 0, 0, 0]])])
    result, clean = diagnose(broken), diagnose(x)
    assert result.nonfinite_rows == 2
    assert result.rankme == clean.rankme


def test_spectrum_is_bounded_and_has_every_dimension_counted():
    result = diagnose(gaussian(40, 200))  # fewer rows than dimensions
    assert len(result.spectrum) == 64
    assert result.dimensions == 200
    assert result.spectrum[38] > 1e-3
    assert max(result.spectrum[39:]) < 1e-12
