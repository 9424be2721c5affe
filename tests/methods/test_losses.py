"""Every loss as a pure function of v: values and gradients beside loops over pairs, in float64, for several d."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.losses import (
    barlow_twins_loss,
    byol_loss,
    contrastive_loss,
    plain_mse_loss,
    simsiam_loss,
    supervised_loss,
    vicreg_loss,
    w_mse_loss,
    whitened_contrastive_loss,
)
from methods.losses.cross_correlation import cross_correlation
from methods.losses.distances import mse, negative_cosine, normalised_mse
from methods.losses.nt_xent import nt_xent
from methods.losses.objectives import Distance
from methods.losses.whitening import slices
from tests.benchmarks.conventional import losses as conventional

N, SUB_BATCH, ITERATIONS = 24, 12, 2


def embeddings(views: int, images: int = N, size: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(images, size, generator=generator, dtype=torch.float64)
    return (common + 0.7 * torch.randn(views, images, size, generator=generator, dtype=torch.float64)).requires_grad_()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def plain_whitened_contrastive(v: Tensor, l2_normalise: bool = True) -> Tensor:
    index = slices(N, SUB_BATCH, ITERATIONS, seeded())
    return torch.stack([conventional.nt_xent(conventional.whiten(v, one), 0.5, l2_normalise) for one in index]).mean()


def over_pairs(distance: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda v: torch.stack([distance(v[i], v[j]) for i, j in conventional.pairs(len(v))]).mean()


Loss = Callable[[Tensor], Tensor]
CASES: dict[str, tuple[Loss, Loss]] = {
    "w_mse": (
        lambda v: w_mse_loss(v, SUB_BATCH, ITERATIONS, generator=seeded()),
        lambda v: conventional.w_mse(v, slices(N, SUB_BATCH, ITERATIONS, seeded())),
    ),
    "w_mse euclidean": (
        lambda v: w_mse_loss(v, SUB_BATCH, ITERATIONS, generator=seeded(), distance="mse"),
        lambda v: conventional.w_mse(v, slices(N, SUB_BATCH, ITERATIONS, seeded()), euclidean=True),
    ),
    "plain_mse": (plain_mse_loss, over_pairs(conventional.normalised_mse)),
    "plain_mse euclidean": (lambda v: plain_mse_loss(v, "mse"), over_pairs(F.mse_loss)),
    "contrastive": (contrastive_loss, conventional.nt_xent),
    "contrastive cold": (lambda v: contrastive_loss(v, 0.01), lambda v: conventional.nt_xent(v, 0.01)),
    "inner products": (lambda v: nt_xent(9 * v, 9 * v, 0.1, False), lambda v: conventional.nt_xent(9 * v, 0.1, False)),
    "whitened_contrastive": (
        lambda v: whitened_contrastive_loss(v, SUB_BATCH, ITERATIONS, generator=seeded()),
        plain_whitened_contrastive,
    ),
    "whitened_contrastive inner": (
        lambda v: whitened_contrastive_loss(v, SUB_BATCH, ITERATIONS, generator=seeded(), l2_normalise=False),
        lambda v: plain_whitened_contrastive(v, l2_normalise=False),
    ),
    "vicreg": (vicreg_loss, conventional.vicreg),
    "vicreg weights": (lambda v: vicreg_loss(v, 3.0, 2.0, 7.0), lambda v: conventional.vicreg(v, (3.0, 2.0, 7.0))),
    "vicreg mean": (
        lambda v: vicreg_loss(v, 25.0, 50.0, 1.0, variance_views="mean"),
        lambda v: conventional.vicreg(v, (25.0, 25.0, 1.0)),
    ),
    "barlow_twins": (barlow_twins_loss, conventional.barlow_twins),
    "barlow_twins heavy": (lambda v: barlow_twins_loss(v, 0.5), lambda v: conventional.barlow_twins(v, 0.5)),
}


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_equal_the_loop_over_pairs(name: str, views: int):
    ours, plain = CASES[name]
    v, w = embeddings(views), embeddings(views)
    loss, expected = ours(v), plain(w)
    loss.backward()
    expected.backward()
    assert loss.shape == ()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(v.grad, w.grad)
    assert (v.grad.abs().amax((1, 2)) > 0).all(), "the gradient reaches every view"


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("name", ["vicreg", "barlow_twins heavy"])
def test_a_batch_smaller_than_the_embedding_takes_the_small_matrix_to_the_same_value(name: str, views: int):
    ours, plain = CASES[name]
    v, w = embeddings(views, 6, 17), embeddings(views, 6, 17)
    loss, expected = ours(v), plain(w)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(v.grad, w.grad)


def sides(views: int) -> tuple[Tensor, Tensor]:
    return embeddings(views, seed=1), embeddings(views, seed=2)


def directions(distance: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean over ordered pairs of views."""

    def mean(p: Tensor, t: Tensor) -> Tensor:
        ordered = [(i, j) for i in range(len(p)) for j in range(len(p)) if i != j]
        return torch.stack([distance(p[i], t[j]) for i, j in ordered]).mean()

    return mean


def nt_xent_directions(p: Tensor, t: Tensor) -> Tensor:
    """Rows of the online view i over the candidates of its own view's targets and view j's."""
    losses = []
    for i in range(len(p)):
        for j in range(len(p)):
            if i != j:
                rows, own, other = (F.normalize(x, dim=1) for x in (p[i], t[i], t[j]))
                own_logits = (rows @ own.T / 0.5).masked_fill(torch.eye(N, dtype=torch.bool), -torch.inf)
                logits = torch.cat([rows @ other.T / 0.5, own_logits], dim=1)
                losses.append(F.cross_entropy(logits, torch.arange(N)))
    return torch.stack(losses).mean()


TWO_SIDED: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "normalised mse": (normalised_mse, directions(conventional.normalised_mse)),
    "both directions summed": (
        partial(normalised_mse, directions="sum"),
        lambda p, t: 2 * directions(conventional.normalised_mse)(p, t),
    ),
    "mse": (mse, directions(F.mse_loss)),
    "negative cosine": (negative_cosine, directions(lambda x, y: -F.cosine_similarity(x, y, dim=-1).mean())),
    "nt_xent": (nt_xent, nt_xent_directions),
    "cross-correlation": (
        partial(cross_correlation, off_diagonal_weight=0.1),
        directions(lambda x, y: conventional.barlow_twins_pair(x, y, 0.1)),
    ),
}


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("name", TWO_SIDED)
def test_online_against_target(name: str, views: int):
    ours, plain = TWO_SIDED[name]
    (p, t), (p2, t2) = sides(views), sides(views)
    loss, expected = ours(p, t), plain(p2, t2)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(p.grad, p2.grad)
    torch.testing.assert_close(t.grad, t2.grad)


@pytest.mark.parametrize("name", TWO_SIDED)
def test_leading_dimensions_are_averaged(name: str):
    loss = TWO_SIDED[name][0]
    (p, t), (q, u) = sides(3), (embeddings(3, seed=3), embeddings(3, seed=4))
    both = loss(torch.stack([p, q]), torch.stack([t, u]))
    torch.testing.assert_close(both, (loss(p, t) + loss(q, u)) / 2)


def test_byol_sums_and_simsiam_averages_the_directions_with_constant_targets():
    p, t = sides(2)
    byol = conventional.normalised_mse(p[0], t[1]) + conventional.normalised_mse(p[1], t[0])
    torch.testing.assert_close(byol_loss(p, t), byol)
    cosines = F.cosine_similarity(p[0], t[1], dim=-1).mean() + F.cosine_similarity(p[1], t[0], dim=-1).mean()
    torch.testing.assert_close(simsiam_loss(p, t), -cosines / 2)
    (byol_loss(p, t) + simsiam_loss(p, t)).backward()
    assert t.grad is None
    assert (p.grad.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("views", [2, 3, 5])
@pytest.mark.parametrize("distance", ["normalised_mse", "mse"])
def test_identical_views_give_zero(views: int, distance: Distance):
    v = embeddings(1, 64, 16).detach().float().expand(views, -1, -1)
    assert abs(plain_mse_loss(v, distance).item()) < 1e-6
    assert abs(w_mse_loss(v, 32, 2, generator=seeded(), distance=distance).item()) < 1e-6
    for function in (mse, normalised_mse, partial(normalised_mse, directions="sum")):
        assert abs(function(v, v.clone()).item()) < 1e-6


def test_barlow_twins_of_decorrelated_identical_views_is_zero():
    design = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)  # orthogonal columns
    assert barlow_twins_loss(design.expand(3, 4, 2), 1.0).item() == pytest.approx(0.0, abs=1e-8)


def test_vicreg_by_hand():
    x = torch.tensor([[1.0, 1], [-1, -1]], dtype=torch.float64)  # variances 2, covariance 2: c = (4 + 4) / 2
    y = torch.zeros(2, 2, dtype=torch.float64)  # v = 1 - sqrt(1e-4), c = 0
    assert vicreg_loss(torch.stack([x, y]), 1.0, 10.0, 100.0).item() == pytest.approx(1.0 + 10 * 0.99 + 100 * 4.0)


def test_nt_xent_of_one_image_has_one_candidate():
    v = embeddings(2, 1)
    loss = contrastive_loss(v)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert v.grad.isfinite().all()


def test_nt_xent_gradient_is_optional():
    assert contrastive_loss(embeddings(2).detach()).item() == pytest.approx(contrastive_loss(embeddings(2)).item())


def test_supervised_is_the_mean_over_views():
    logits, labels = embeddings(3).detach(), torch.arange(N) % 5
    expected = torch.stack([F.cross_entropy(view, labels) for view in logits]).mean()
    torch.testing.assert_close(supervised_loss(logits, labels), expected)


@pytest.mark.parametrize("name", CASES)
def test_losses_are_float32_under_autocast(name: str):
    if name == "inner products":
        pytest.skip("its scaling by 9 is itself rounded to half precision")
    v = embeddings(2).detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, of_half = CASES[name][0](v), CASES[name][0](v.bfloat16())
    assert loss.dtype == of_half.dtype == torch.float32
    torch.testing.assert_close(loss, CASES[name][0](v), rtol=0, atol=0)


def test_nt_xent_memory_grows_with_views_not_pairs():
    """The largest temporary of d views holds one view's rows: N x d N numbers."""
    sizes: dict[int, int] = {}
    for views in (2, 4, 8):
        with LargestTensor() as seen:
            contrastive_loss(embeddings(views)).backward()
        sizes[views] = seen.elements
    assert sizes == {views: N * views * N for views in (2, 4, 8)}


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """The most elements of any tensor an operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result
