"""The composition as a module: order and scope of its parts, both kinds of target, VICReg's ablation as settings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from harness.registry import all_methods
from methods.byol import ByolSettings
from methods.composed import Composed, pair_loss_function, regulariser_function
from methods.composition import (
    BatchNormTransform,
    Composition,
    CrossCorrelation,
    MomentumTarget,
    Mse,
    NegativeCosine,
    NormalisedMse,
    NtXent,
    Predictor,
    Projector,
    VarianceCovariance,
    WhiteningTransform,
)
from methods.entry import Settings
from methods.losses.cross_correlation import cross_correlation
from methods.losses.distances import mse, negative_cosine, normalised_mse
from methods.losses.nt_xent import nt_xent
from methods.losses.slice_monitor import WhiteningError
from methods.losses.variance_covariance import covariance_term, variance_term
from methods.losses.whitening import Variant, slices, whiten
from methods.method import Batch, Step
from methods.parts import cosine_momentum
from methods.simsiam import SimSiamSettings
from methods.vicreg import VicRegSettings

N, SIDE, FEATURES, EMBEDDING = 16, 2, 6, 4
SMALL = Projector(hidden=(8,), embedding_size=EMBEDDING)
LABELS = torch.zeros(N, dtype=torch.int64)


def images(views: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(views, N, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)).double()


def encoder() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, FEATURES), nn.BatchNorm1d(FEATURES), nn.Tanh())


def built(settings: Composition, seed: int = 0) -> Composed:
    torch.manual_seed(seed)
    return Composed(settings, encoder(), FEATURES, 10).double()


def loss_of(method: Composed, views: Tensor) -> Tensor:
    return method.loss(*given(views)).total


def given(*groups: Tensor, epoch: int = 0, epochs: int = 1) -> tuple[Batch, Step]:
    """What the trainer gives a loss."""
    step = Step(index=0, steps=1, epoch=epoch, epochs=epochs, generator=torch.Generator().manual_seed(3))
    return Batch(groups, LABELS, torch.arange(N)), step


def shrunk(name: str, **changes: Any) -> Composition:
    """A method's defaults with a head small enough for tests."""
    settings = all_methods()[name].settings()
    assert isinstance(settings, Composition)
    small: dict[str, Any] = {
        "projector": settings.projector.model_copy(update={"hidden": (8,), "embedding_size": EMBEDDING})
    }
    if settings.predictor is not None:
        small["predictor"] = settings.predictor.model_copy(update={"predictor_hidden": 8})
    if isinstance(settings.transform, WhiteningTransform):
        small["transform"] = settings.transform.model_copy(update={"sub_batch_size": 8})
    return settings.model_copy(update={**small, **changes})


FAMILY = [name for name, entry in all_methods().items() if entry.trains and entry.builder() is Composed]
PER_VIEW = {"byol", "simsiam", "vicreg", "barlow_twins"}


def test_the_family_is_complete():
    assert set(FAMILY) == PER_VIEW | {"w_mse", "contrastive", "whitened_contrastive", "plain_mse"}


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("views", [2, 3])
def test_every_method_trains_every_parameter_through_every_view(name: str, views: int):
    method, batch = built(shrunk(name)), images(views).requires_grad_()
    loss = loss_of(method, batch)
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    assert (batch.grad.abs().amax((1, 2, 3, 4)) > 0).all()
    trainable = {key: p for key, p in method.named_parameters() if p.requires_grad}
    assert [key for key, p in trainable.items() if p.grad is None] == []


@pytest.mark.parametrize("name", FAMILY)
def test_batch_statistics_of_the_head_are_shared_between_views_or_not(name: str):
    """A shift of one view's features is removed by BatchNorm of that view alone, and not by that of all views."""
    method = built(shrunk(name))
    h = torch.randn(2, N, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shift = torch.zeros(2, 1, FEATURES, dtype=torch.float64)
    shift[1] = 5.0
    head = method.head
    plain, shifted = (_projected(method, x) for x in (h, h + shift))
    if name in PER_VIEW:
        torch.testing.assert_close(shifted, plain)
    else:
        assert not torch.allclose(shifted[1], plain[1], atol=0.1)
        concatenated = head.projector(h.flatten(0, 1)).view_as(plain)
        torch.testing.assert_close(plain, concatenated)


def _projected(method: Composed, h: Tensor) -> Tensor:
    return method._project(nn.Identity(), method.head, *given(h))


class Counting(nn.Module):
    """An encoder that notes the images of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = encoder(), []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        result: Tensor = self.inner(x)
        return result


@pytest.mark.parametrize("name", FAMILY)
def test_the_encoder_runs_once_a_view(name: str):
    watched = Counting()
    Composed(shrunk(name), watched, FEATURES, 10).double().loss(*given(images(3)))
    assert watched.calls == [N, N, N]


@pytest.mark.parametrize("name", FAMILY)
def test_views_of_all_groups_count_alike_whatever_their_sizes(name: str):
    """An encoder that pools takes any size: two groups are as all their views in one."""

    def pooling() -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(SIDE), encoder())

    def made() -> Composed:
        torch.manual_seed(0)
        return Composed(shrunk(name), pooling(), FEATURES, 10).double()

    four = images(4)
    larger = four[2:].repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)  # pooled, they are the small ones again
    apart, together = made().loss(*given(four[:2], larger)), made().loss(*given(four))
    torch.testing.assert_close(apart.total, together.total, rtol=1e-12, atol=1e-12)


def test_the_terms_of_a_loss_with_a_regulariser_add_up():
    found = built(shrunk("vicreg")).loss(*given(images()))
    assert set(found.terms) == {"pair", "regulariser"}
    torch.testing.assert_close(found.terms["pair"] + found.terms["regulariser"], found.total)


def test_contrastive_batch_norm_has_weights_and_spans_all_views():
    method = built(shrunk("contrastive"))
    norm = method.head.batch_norm
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.affine
    v = _projected(method, torch.stack([method.encoder(x) for x in images()]))
    expected = nt_xent(*(F.batch_norm(v.flatten(0, 1), None, None, training=True).view_as(v),) * 2)
    torch.testing.assert_close(loss_of(method, images()), expected)


def test_heads_follow_the_papers():
    def layers(name: str, part: str = "projector") -> list[tuple[Any, ...]]:
        method = Composed(all_methods()[name].settings(), encoder(), FEATURES, 10)
        module = method.predictor if part == "predictor" else method.head.projector
        assert module is not None
        return [
            (x.in_features, x.out_features, x.bias is not None)
            if isinstance(x, nn.Linear)
            else ("norm", x.affine)
            if isinstance(x, nn.BatchNorm1d)
            else ("relu",)
            for x in module
        ]

    shared = [(FEATURES, 1024, True), ("norm", True), ("relu",), (1024, 64, True)]
    assert all(layers(n) == shared for n in ("w_mse", "contrastive", "byol", "whitened_contrastive", "plain_mse"))
    assert layers("byol", "predictor") == [(64, 1024, True), ("norm", True), ("relu",), (1024, 64, True)]
    wide = [(FEATURES, 2048, False), ("norm", True), ("relu",), (2048, 2048, False)]
    assert layers("simsiam") == [*wide, ("norm", False)]
    assert layers("simsiam", "predictor") == [(2048, 512, False), ("norm", True), ("relu",), (512, 2048, True)]
    hidden = [("norm", True), ("relu",)]
    for name, bias in (("vicreg", True), ("barlow_twins", False)):
        first, second = (FEATURES, 2048, bias), (2048, 2048, bias)
        assert layers(name) == [first, *hidden, second, *hidden, (2048, 2048, False)]


def test_linear_layers_keep_torchs_initialisation():
    torch.manual_seed(0)
    projector = Composed(Composition(projector=SMALL), nn.Identity(), FEATURES, 10).head.projector
    torch.manual_seed(0)
    reference = [nn.Linear(FEATURES, 8), nn.Linear(8, EMBEDDING)]
    ours = [layer for layer in projector if isinstance(layer, nn.Linear)]
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(ours, reference, strict=True))


def test_constant_learning_rate_parameters():
    simsiam, byol = built(shrunk("simsiam")), built(shrunk("byol"))
    assert simsiam.predictor is not None
    (group,) = simsiam.parameter_groups()
    assert group.constant_lr
    assert [id(p) for p in group.parameters] == [id(p) for p in simsiam.predictor.parameters()]
    assert list(byol.parameter_groups()) == []


def test_embed_is_the_projectors_output_in_float32():
    method = built(shrunk("w_mse")).float().eval()
    features = torch.randn(5, FEATURES)
    torch.testing.assert_close(method.embed(features), method.head.projector(features))
    assert method.bfloat16().embed(features.bfloat16()).dtype == torch.float32


# Targets


def test_momentum_rises_along_a_cosine():
    assert cosine_momentum(0.99, 0.0) == pytest.approx(0.99)
    assert cosine_momentum(0.99, 0.5) == pytest.approx(0.995)
    assert cosine_momentum(0.99, 1 - 1e-6) == pytest.approx(1.0, abs=1e-12)


def test_the_target_moves_by_the_formula_and_its_buffers_stay():
    method = built(shrunk("byol"))
    assert method.target_encoder is not None
    loss_of(method, images()).backward()
    with torch.no_grad():
        for p in method.parameters():
            if p.requires_grad:
                p -= 0.1 * p.grad
    pairs = ((method.target_encoder, method.encoder), (method.target_head, method.head))
    before = [copy.deepcopy(target.state_dict()) for target, _ in pairs]
    buffers = [{name: b.clone() for name, b in target.named_buffers()} for target, _ in pairs]
    method.after_step(given(images(), epoch=25, epochs=100)[1])  # epoch / epochs, as the authors have it
    tau = 1 - 0.01 * (2**-0.5 + 1) / 2
    for (target, online), old, kept in zip(pairs, before, buffers, strict=True):
        own = dict(online.named_parameters())
        for name, p in target.named_parameters():
            torch.testing.assert_close(p, tau * old[name] + (1 - tau) * own[name], rtol=1e-12, atol=1e-12)
        assert all(torch.equal(b, kept[name]) for name, b in target.named_buffers())
    weight = method.target_encoder[1].weight
    assert not torch.equal(weight, before[0]["1.weight"])


def test_the_target_starts_equal_is_never_trained_and_never_evaluated():
    method = built(shrunk("byol"))
    target = [p for key, p in method.named_parameters() if key.startswith("target_")]
    assert target
    assert not any(p.requires_grad for p in target)
    assert method.evaluated() is method.encoder
    for mine, theirs in zip(method.encoder.parameters(), method.target_encoder.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine is not theirs
    loss_of(method, images()).backward()
    assert all(p.grad is None for p in target)
    assert any(key.startswith("target_encoder") for key in method.state_dict())


def test_the_target_normalises_with_its_own_batch_statistics():
    method = built(shrunk("byol")).train()
    online, target = method.encoder[2], method.target_encoder[2]
    loss_of(method, images())
    assert int(target.num_batches_tracked) == 2  # one call a view, in train mode
    method.after_step(given(images())[1])
    torch.testing.assert_close(online.running_mean, target.running_mean)  # equal weights saw equal images


def test_byol_is_predictions_against_the_targets_embeddings():
    method, batch = built(shrunk("byol")), images(3)
    online, target, predict = copy.deepcopy((method.head, method.target_head, method.predictor))
    encode = copy.deepcopy(method.encoder)
    p = [predict(online.projector(encode(x))) for x in batch]
    t = [target.projector(encode(x)).detach() for x in batch]
    ordered = [(i, j) for i in range(3) for j in range(3) if i != j]
    expected = sum((2 - 2 * F.cosine_similarity(p[i], t[j])).mean() for i, j in ordered) / 3
    torch.testing.assert_close(loss_of(method, batch), expected)


def test_a_momentum_target_without_stop_gradient_is_a_contradiction():
    with pytest.raises(ValidationError, match="set stop_gradient to true, or target to null"):
        Composition(target=MomentumTarget(), stop_gradient=False)


# Whitening in the composition


def test_w_mse_whitens_the_heads_output_and_reads_its_slices():
    method, batch = built(shrunk("w_mse")), images(4)
    v = _projected(method, torch.stack([copy.deepcopy(method.encoder)(x) for x in batch]))
    z = whiten(v, slices(N, 8, 1, torch.Generator().manual_seed(3)))
    torch.testing.assert_close(loss_of(method, batch), normalised_mse(z, z))
    readings = method.readings()
    assert readings["slice_condition_max"] >= readings["slice_condition_median"] > 1
    assert method.failure() is None


@pytest.mark.parametrize("name", ["byol", "simsiam"])
def test_asymmetry_combined_with_whitening(name: str):
    """Predictions of the whitened views against the target's, whitened in the same slices."""
    whitening = WhiteningTransform(sub_batch_size=8, slicing_iterations=2)
    method, batch = built(shrunk(name, transform=whitening)), images()
    head, predict, encode = copy.deepcopy((method.head, method.predictor, method.encoder))
    v = torch.stack([head.projector(encode(x)) for x in batch])
    z = whiten(v, slices(N, 8, 2, torch.Generator().manual_seed(3)))
    p = torch.stack([predict(z[:, i].flatten(0, 1)).view(2, N, -1) for i in range(2)], dim=1)
    torch.testing.assert_close(loss_of(method, batch), method.pair_loss(p, z.detach()))


def test_whitening_stays_float32_under_autocast():
    method = built(shrunk("w_mse")).float()
    seen: list[torch.dtype] = []
    method.head.projector.register_forward_hook(lambda *given: seen.append(given[2].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(method, images().float())
    assert seen == [torch.bfloat16]
    assert loss.dtype == torch.float32
    assert method._monitor._covariance.dtype == torch.float32


def test_a_collapsed_head_fails_with_an_explanation():
    method = built(shrunk("w_mse"))
    nn.init.zeros_(method.head.projector[-1].weight)
    with pytest.raises(WhiteningError, match="smallest eigenvalue 0"):
        loss_of(method, images())


# From settings to functions


SPREAD = (1.0, 2.0, 0.5, 4.0)  # some standard deviations above gamma, some below
PAIR_LOSSES: list[tuple[Settings, Callable[[Tensor, Tensor], Tensor]]] = [
    (NormalisedMse(), normalised_mse),
    (NormalisedMse(directions="sum"), lambda p, t: 2 * normalised_mse(p, t)),
    (Mse(), mse),
    (NegativeCosine(), negative_cosine),
    (NtXent(temperature=0.2, l2_normalise=False), lambda p, t: nt_xent(p, t, 0.2, False)),
    (CrossCorrelation(off_diagonal_weight=0.3), lambda p, t: cross_correlation(p, t, 0.3)),
]


def embeddings(seed: int) -> Tensor:
    v = torch.randn(2, N, EMBEDDING, generator=torch.Generator().manual_seed(seed)).double()
    return v * torch.tensor(SPREAD)


@pytest.mark.parametrize(("settings", "function"), PAIR_LOSSES, ids=lambda given: type(given).__name__)
def test_a_pair_losss_settings_reach_its_function(settings: Settings, function: Callable[[Tensor, Tensor], Tensor]):
    p, t = embeddings(1), embeddings(2)
    assert torch.equal(pair_loss_function(settings)(p, t), function(p, t))


def test_a_regularisers_settings_reach_its_function():
    settings = VarianceCovariance(
        variance_weight=2.0, covariance_weight=3.0, variance_views="mean", gamma=1.5, variance_eps=0.01
    )
    v = embeddings(1)
    function = regulariser_function(settings)
    expected = 2 * variance_term(v, 1.5, 0.01).mean() + 6 * covariance_term(v).mean()
    torch.testing.assert_close(function(v), expected)


class Manhattan(Settings):
    """A user's own pair loss: its settings are called."""

    kind: Literal["manhattan"] = "manhattan"
    scale: float = 3.0

    def __call__(self, online: Tensor, target: Tensor) -> Tensor:
        return self.scale * (online[0] - target[1]).abs().mean()


class Far(Settings):
    """A user's own regulariser."""

    def __call__(self, v: Tensor) -> Tensor:
        return v.square().mean()


class OwnSettings(Composition):
    projector: Projector = SMALL
    pair_loss: Manhattan = Manhattan()
    regulariser: Far | None = None


def test_a_users_own_pair_loss_and_regulariser_are_called():
    batch = images()
    for regulariser in (None, Far()):
        settings = OwnSettings(pair_loss={"scale": 2.0}, regulariser=regulariser, pair_weight=5.0)
        method = built(settings)
        v = _projected(method, torch.stack([copy.deepcopy(method.encoder)(x) for x in batch]))
        expected = 5 * 2 * (v[0] - v[1]).abs().mean() + (0 if regulariser is None else v.square().mean())
        torch.testing.assert_close(loss_of(method, batch), expected)


class Mute(Settings):
    """Settings without a function."""


def test_settings_that_compute_nothing_are_refused():
    with pytest.raises(ValueError, match=r"pair_loss: Mute computes nothing; give it __call__\(self, online, target\)"):
        pair_loss_function(Mute())
    with pytest.raises(ValueError, match=r"regulariser: Mute computes nothing; give it __call__\(self, v\)"):
        regulariser_function(Mute())


def test_a_whitening_that_settings_allow_is_one_that_is_computed():
    variants = get_args(WhiteningTransform.model_fields["variant"].annotation)
    assert variants == get_args(Variant)


# VICReg's ablation: momentum encoder, stop-gradient, predictor, BatchNorm; what prevents collapse


BYOL = ByolSettings(projector=SMALL, predictor=Predictor(predictor_hidden=8))
SIMSIAM = SimSiamSettings(
    projector=Projector(hidden=(8,), embedding_size=EMBEDDING, output_norm="plain"),
    predictor=Predictor(predictor_hidden=8),
)
VICREG = VicRegSettings(projector=SMALL, regulariser=None)
BARE = Projector(hidden=(8,), embedding_size=EMBEDDING, batch_norm=False)
PLAIN_PREDICTOR = Predictor(predictor_hidden=8, predictor_batch_norm=False)
ROWS: dict[str, tuple[Composition, str]] = {
    "BYOL": (BYOL, "ME SG PR BN"),
    "SimSiam": (SIMSIAM, "SG PR BN"),
    "SimSiam, no BN": (SIMSIAM.model_copy(update={"projector": BARE, "predictor": PLAIN_PREDICTOR}), "SG PR"),
    "SimSiam, no BN, no PR": (SIMSIAM.model_copy(update={"projector": BARE, "predictor": None}), "SG"),
    "VICReg, PR, no BN": (VICREG.model_copy(update={"projector": BARE, "predictor": PLAIN_PREDICTOR}), "PR"),
    "VICReg, PR": (VICREG.model_copy(update={"predictor": Predictor(predictor_hidden=8)}), "PR BN"),
    "VICReg": (VICREG, "BN"),
    "VICReg, no BN": (VICREG.model_copy(update={"projector": BARE}), ""),
}
DISTANCES = {"BYOL": partial(normalised_mse, directions="sum"), "SimSiam": negative_cosine, "VICReg": mse}
COLUMNS = (
    None,
    VarianceCovariance(variance_weight=1.0, covariance_weight=0.0),
    VarianceCovariance(variance_weight=1.0, covariance_weight=0.01),
)


@pytest.mark.parametrize("column", COLUMNS, ids=["none", "variance", "both"])
@pytest.mark.parametrize("row", ROWS)
def test_each_cell_of_vicregs_ablation(row: str, column: VarianceCovariance | None):
    settings, marks = ROWS[row]
    settings = type(settings).model_validate({**settings.model_dump(), "regulariser": column})
    method, batch = built(settings), images()
    encode, head, predict = copy.deepcopy((method.encoder, method.head, method.predictor))
    assert (method.target_encoder is not None) == ("ME" in marks)
    assert (method.predictor is not None) == ("PR" in marks)
    heads = [m for part in (method.head, method.predictor) if part is not None for m in part.modules()]
    assert any(isinstance(m, nn.BatchNorm1d) for m in heads) == ("BN" in marks)

    v = torch.stack([head.projector(encode(x)) for x in batch])
    p = v if predict is None else torch.stack([predict(x) for x in v])
    t = v.detach() if "SG" in marks else v
    expected = settings.pair_weight * DISTANCES[row.split(",")[0]](p, t)
    if column is not None:
        variance, covariance = 2 * variance_term(v).mean(), 2 * covariance_term(v).mean()
        expected = expected + column.variance_weight * variance + column.covariance_weight * covariance
    loss = loss_of(method, batch)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    reference = [*encode.parameters(), *head.parameters()]
    ours = [*method.encoder.parameters(), *method.head.parameters()]
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


# What cannot run


def whitened(**fields: Any) -> Composition:
    return Composition(projector=Projector(embedding_size=64), transform=WhiteningTransform(**fields))


@pytest.mark.parametrize(
    ("settings", "views", "batch", "text"),
    [
        (Composition(), 1, 64, "at least 2 views, not 1: set views to 2"),
        (Composition(), 2, 1, "at least 2 images, not 1: use a larger batch"),
        (
            whitened(sub_batch_size=128),
            2,
            320,
            "a batch of 320 images cannot be cut into sub-batches of 128: make batch_size a multiple of sub_batch_size",
        ),
        (
            whitened(sub_batch_size=64),
            2,
            128,
            "a sub-batch of 64 images has a singular covariance in 64 dimensions: use a sub_batch_size of about 128",
        ),
        (whitened(sub_batch_size=64, eps=1e-3), 2, 128, None),
        (whitened(sub_batch_size=128), 8, 256, None),
        (Composition(transform=BatchNormTransform()), 2, 3, None),
    ],
)
def test_problems_are_named_with_their_remedy(settings: Composition, views: int, batch: int, text: str | None):
    problem = settings.problem(views, batch)
    assert problem is None if text is None else problem is not None and text in problem


def test_leaf_names_are_unique_within_a_settings_tree():
    full = Composition(
        transform=WhiteningTransform(),
        predictor=Predictor(),
        target=MomentumTarget(),
        stop_gradient=True,
        pair_loss=NtXent(),
        regulariser=VarianceCovariance(),
    )

    def leaves(tree: dict[str, Any]) -> list[str]:
        nested = [leaf for value in tree.values() if isinstance(value, dict) for leaf in leaves(value)]
        return nested + [key for key, value in tree.items() if not isinstance(value, dict) and key != "kind"]

    names = leaves(full.model_dump())
    assert len(names) == len(set(names))
