"""Whitening against a loop over slices, its defining property, its gradients, and the words of its failures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.losses.slice_monitor import SliceMonitor, WhiteningError
from methods.losses.whitening import Variant, slices, whiten
from tests.benchmarks.conventional import losses as conventional

VARIANTS: tuple[Variant, ...] = ("cholesky", "zca", "pca", "newton")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def correlated(*shape: int, seed: int = 0) -> Tensor:
    """Embeddings whose dimensions have unequal variances, are correlated, and have a mean."""
    size = shape[-1]
    mixing = torch.eye(size, dtype=torch.float64) + 0.3 * torch.randn(size, size, generator=seeded(7)).double()
    v = torch.randn(shape, generator=seeded(seed), dtype=torch.float64)
    return v @ mixing * torch.linspace(0.5, 2, size, dtype=torch.float64) + 3


def image_order(z: Tensor, index: Tensor) -> Tensor:
    """Rows of (I, d, N, D) put back where their images are."""
    restored = torch.empty_like(z)
    for iteration, order in enumerate(index.flatten(1)):
        restored[iteration][:, order] = z[iteration]
    return restored


def test_slices_are_one_partition_of_the_images_per_iteration():
    index = slices(12, 4, 5, seeded())
    assert index.shape == (5, 3, 4)
    assert all(sorted(row.flatten().tolist()) == list(range(12)) for row in index)
    assert len({tuple(row.flatten().tolist()) for row in index}) == 5
    assert torch.equal(index, slices(12, 4, 5, seeded()))


def test_slices_must_divide_the_batch():
    with pytest.raises(ValueError, match="a batch of 10 images cannot be cut into sub-batches of 4"):
        slices(10, 4, 1, seeded())


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("iterations", [1, 3])
def test_cholesky_equals_a_loop_over_slices_and_views(views: int, iterations: int):
    v, index = correlated(views, 24, 5), slices(24, 8, iterations, seeded())
    expected = torch.stack([conventional.whiten(v, one) for one in index])
    torch.testing.assert_close(image_order(whiten(v, index), index), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_slice_of_every_view_has_zero_mean_and_identity_covariance(variant: Variant):
    v, index = correlated(3, 40, 4), slices(40, 20, 2, seeded())
    z = whiten(v, index, variant=variant, newton_iterations=25).unflatten(2, (2, 20))
    torch.testing.assert_close(z.mean(-2), torch.zeros(2, 3, 2, 4, dtype=torch.float64))
    identity = torch.eye(4, dtype=torch.float64).expand(2, 3, 2, 4, 4)
    torch.testing.assert_close(z.mT @ z / 19, identity, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient(variant: Variant):
    v, index = correlated(2, 12, 3).requires_grad_(), slices(12, 6, 2, seeded())
    assert torch.autograd.gradcheck(lambda x: whiten(x, index, variant=variant, eps=0.05), (v,))


def test_gradient_equals_that_of_the_loop():
    index, weights = slices(24, 12, 2, seeded()), correlated(2, 3, 24, 5, seed=3)
    ours, plain = correlated(3, 24, 5).requires_grad_(), correlated(3, 24, 5).requires_grad_()
    (image_order(whiten(ours, index), index) * weights).sum().backward()
    (torch.stack([conventional.whiten(plain, one) for one in index]) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_zca_is_symmetric_and_pca_has_ordered_axes_of_fixed_sign():
    v, index = correlated(1, 30, 4), slices(30, 30, 1, seeded())
    x = v[0, index[0, 0]]
    x = x - x.mean(0)
    solved = {name: torch.linalg.lstsq(x, whiten(v, index, variant=name)[0, 0]).solution.T for name in ("zca", "pca")}
    torch.testing.assert_close(solved["zca"], solved["zca"].T)
    axes = solved["pca"]  # row k is eigenvector k over the root of its eigenvalue
    lengths = axes.norm(dim=1)
    assert torch.all(lengths[1:] > lengths[:-1]), "largest eigenvalue first: the least stretching first"
    assert torch.all(axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0)


def test_newton_steps_approach_zca():
    v, index = correlated(2, 40, 4), slices(40, 20, 1, seeded())
    zca = whiten(v, index, variant="zca")
    errors = [(whiten(v, index, variant="newton", newton_iterations=n) - zca).abs().max().item() for n in (3, 6, 20)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9


@pytest.mark.parametrize("variant", ["zca", "pca"])
def test_equal_eigenvalues_give_finite_gradients(variant: Variant):
    x = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]).expand(2, 4, 2).clone().requires_grad_()
    z = whiten(x, torch.arange(4).view(1, 1, 4), variant=variant)
    (z * torch.arange(16.0).view(z.shape)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_eps_is_added_to_the_covariance():
    v, index = correlated(2, 16, 3), slices(16, 8, 1, seeded())
    expected = conventional.whiten(v, index[0], eps=0.5)
    torch.testing.assert_close(image_order(whiten(v, index, eps=0.5), index)[0], expected)
    assert whiten(correlated(2, 6, 8), slices(6, 3, 1, seeded()), eps=1e-3).isfinite().all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_autocast_and_half_precision_do_not_reach_whitening(variant: Variant):
    v, index = correlated(2, 32, 4).bfloat16(), slices(32, 16, 1, seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = whiten(v, index, variant=variant)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, whiten(v.float(), index, variant=variant), rtol=0, atol=0)
    assert whiten(correlated(2, 32, 4), index, variant=variant).dtype == torch.float64


def test_a_sub_batch_no_larger_than_the_embedding_is_refused_before_computing():
    with pytest.raises(WhiteningError, match=r"sub-batch of 8 images is singular in 8 dimensions by construction.*16"):
        whiten(torch.full((2, 16, 8), torch.nan), slices(16, 8, 1, seeded()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_singular_covariance_names_sizes_eigenvalue_and_remedy(variant: Variant):
    v = correlated(2, 32, 4).float()
    v[1, :, 3] = v[1, :, 2]  # one direction has no variance of its own
    with pytest.raises(WhiteningError) as caught:
        whiten(v, slices(32, 16, 1, seeded()), variant=variant)
    text = str(caught.value)
    for part in ("sub-batch of 16 images in 4 dimensions", "eps 0)", "smallest eigenvalue", "larger sub-batch"):
        assert part in text
    for part in ("twice the embedding, 8", "smaller embedding", "lower learning rate", "explicit eps"):
        assert part in text
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("variant", VARIANTS)
def test_embeddings_that_diverged_are_said_to_have_diverged(variant: Variant):
    v = correlated(2, 32, 4)
    v[0, 5, 1] = torch.inf
    with pytest.raises(WhiteningError, match=r"not finite.*diverged.*lower learning rate"):
        whiten(v, slices(32, 16, 1, seeded()), variant=variant)


def test_condition_numbers_are_read_from_the_last_step():
    monitor = SliceMonitor()
    assert monitor.readings() == {}
    x = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]])  # variances 8/3 and 2/3: condition number 4
    y = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    whiten(torch.stack([x, y, y]), torch.arange(4).view(1, 1, 4), monitor=monitor)
    assert monitor.readings() == pytest.approx({"slice_condition_max": 4.0, "slice_condition_median": 1.0})
    assert monitor.failure() is None


def test_the_first_failure_on_a_device_that_is_not_waited_for_is_kept():
    monitor, good, flat = SliceMonitor(), torch.eye(2), torch.diag(torch.tensor([3.0, 0.0]))
    monitor.keep(torch.stack([good, good]), 16, 0.0)
    monitor.keep_failure(torch.stack([good, good]), torch.tensor([False, False]))
    assert monitor.failure() is None
    monitor.keep_failure(torch.stack([good, flat]), torch.tensor([False, True]))
    monitor.keep_failure(torch.stack([good * torch.nan, good]), torch.tensor([True, False]))
    text = str(monitor.failure())
    assert "sub-batch of 16 images in 2 dimensions" in text
    assert "smallest eigenvalue 0, largest 3" in text


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_nan_instead_of_waiting():
    v, monitor = correlated(2, 32, 4).float().cuda(), SliceMonitor()
    v[1, :, 3] = v[1, :, 2]
    z = whiten(v, slices(32, 16, 1, seeded()), monitor=monitor)
    assert z[0, 1].isnan().all()
    assert z[0, 0].isfinite().all()
    assert "numerically singular" in str(monitor.failure())
