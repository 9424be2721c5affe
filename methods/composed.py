"""The module that runs a `Composition` around an encoder. Owns the order of its parts, their batch statistics' scope,
the momentum target, and which function of `losses/` each settings' kind means; no formula of a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from methods.composition import (
    BatchNormTransform,
    Composition,
    CrossCorrelation,
    Mse,
    NegativeCosine,
    NormalisedMse,
    NtXent,
    VarianceCovariance,
    WhiteningTransform,
)
from methods.entry import Settings
from methods.losses.cross_correlation import cross_correlation
from methods.losses.distances import mse, negative_cosine, normalised_mse
from methods.losses.nt_xent import nt_xent
from methods.losses.precision import at_least_float32
from methods.losses.slice_monitor import SliceMonitor
from methods.losses.variance_covariance import variance_covariance
from methods.losses.whitening import slices, whiten
from methods.method import Batch, Loss, Method, ParameterGroup, Step
from methods.parts import cosine_momentum, mlp, momentum_copy, move_towards, over_views


def pair_loss_function(settings: Settings) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of (online, target), each (..., d, N, D), that a pair loss's settings mean.

    A user's own settings are the function themselves, by a `__call__` of theirs.

    Raises:
        ValueError: settings of a kind that is not known here, without a `__call__`.
    """
    if callable(settings):
        return settings
    match settings:
        case NormalisedMse():
            return partial(normalised_mse, directions=settings.directions)
        case Mse():
            return mse
        case NegativeCosine():
            return negative_cosine
        case NtXent():
            return partial(nt_xent, temperature=settings.temperature, l2_normalise=settings.l2_normalise)
        case CrossCorrelation():
            return partial(cross_correlation, off_diagonal_weight=settings.off_diagonal_weight)
    raise ValueError(f"pair_loss: {type(settings).__name__} computes nothing; give it __call__(self, online, target)")


def regulariser_function(settings: Settings) -> Callable[[Tensor], Tensor]:
    """The function of v (d, N, D) that a regulariser's settings mean; a user's own are it, by their `__call__`.

    Raises:
        ValueError: settings of a kind that is not known here, without a `__call__`.
    """
    if callable(settings):
        return settings
    if isinstance(settings, VarianceCovariance):
        return partial(
            variance_covariance,
            variance_weight=settings.variance_weight,
            covariance_weight=settings.covariance_weight,
            variance_views=settings.variance_views,
            gamma=settings.gamma,
            variance_eps=settings.variance_eps,
        )
    raise ValueError(f"regulariser: {type(settings).__name__} computes nothing; give it __call__(self, v)")


class Branch(nn.Module):
    """Projector and, where that is the transform, BatchNorm: what a momentum target copies besides the encoder."""

    def __init__(self, settings: Composition, features: int) -> None:
        super().__init__()
        p = settings.projector
        self.projector = mlp(
            (features, *p.hidden, p.embedding_size),
            batch_norm=p.batch_norm,
            bias=p.bias,
            output_norm=p.output_norm,
            output_bias=p.output_bias,
        )
        normed = isinstance(settings.transform, BatchNormTransform)
        self.batch_norm = nn.BatchNorm1d(p.embedding_size) if normed else nn.Identity()


class Composed(Method):
    """Any method of the family. The encoder runs once a view; everything after it in the scope of the settings, on the
    views of all groups together, whatever their sizes.

    Args:
        settings: every choice.
        encoder: images to features (N, F).
        features: F.
        classes: of the dataset; not used here.
    """

    def __init__(self, settings: Composition, encoder: nn.Module, features: int, classes: int) -> None:
        super().__init__(encoder)
        self.settings = settings
        self.pair_loss = pair_loss_function(settings.pair_loss)
        self.regulariser = None if settings.regulariser is None else regulariser_function(settings.regulariser)
        self.head = Branch(settings, features)
        self.predictor: nn.Module | None = None
        if (q := settings.predictor) is not None:
            size = settings.projector.embedding_size
            sizes = (size, q.predictor_hidden, size)
            self.predictor = mlp(sizes, batch_norm=q.predictor_batch_norm, bias=q.predictor_bias)
        self.target_encoder: nn.Module | None = None
        self.target_head: Branch | None = None
        if settings.target is not None:
            self.target_encoder, self.target_head = momentum_copy(encoder), momentum_copy(self.head)
        self._monitor = SliceMonitor()

    def loss(self, batch: Batch, step: Step) -> Loss:
        index = self._slices(batch.images, step.generator)
        constant = self._momentum_embeddings(batch, step, index)
        v = self._project(self.encoder, self.head, batch, step)  # (d, N, D)
        z = self._transform(self.head, v, index)  # (d, N, D), or (I, d, N, D) when whitened
        t = constant if constant is not None else z.detach() if self.settings.stop_gradient else z
        p = z if self.predictor is None else over_views(self.predictor, z, self.settings.head_scope)
        pair = self.settings.pair_weight * self.pair_loss(p, t)
        if self.regulariser is None:
            return Loss(pair)
        regulariser = self.regulariser(v)
        return Loss(pair + regulariser, {"pair": pair, "regulariser": regulariser})

    @torch.no_grad()
    def _momentum_embeddings(self, batch: Batch, step: Step, index: Tensor | None) -> Tensor | None:
        """The momentum target's transformed embeddings; None where the target is the online network."""
        if self.target_encoder is None or self.target_head is None:
            return None
        v = self._project(self.target_encoder, self.target_head, batch, step)
        return self._transform(self.target_head, v, index)

    def _slices(self, images: int, generator: torch.Generator) -> Tensor | None:
        """One draw a step, shared by views and by online and target network."""
        w = self.settings.transform
        if not isinstance(w, WhiteningTransform):
            return None
        return slices(images, w.sub_batch_size, w.slicing_iterations, generator)

    def _project(self, encoder: nn.Module, head: Branch, batch: Batch, step: Step) -> Tensor:
        return over_views(head.projector, step.features(encoder, batch), self.settings.head_scope)

    def _transform(self, head: Branch, v: Tensor, index: Tensor | None) -> Tensor:
        w = self.settings.transform
        if not isinstance(w, WhiteningTransform) or index is None:
            return over_views(head.batch_norm, v, self.settings.head_scope)
        steps = w.newton_iterations
        return whiten(v, index, variant=w.variant, eps=w.eps, newton_iterations=steps, monitor=self._monitor)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        if self.settings.target is None or self.target_encoder is None or self.target_head is None:
            return
        momentum = cosine_momentum(self.settings.target.target_momentum, step.epoch / step.epochs)
        pairs = ((self.target_encoder, self.encoder), (self.target_head, self.head))
        targets = [parameter for copy, _ in pairs for parameter in copy.parameters()]
        onlines = [parameter for _, online in pairs for parameter in online.parameters()]
        move_towards(targets, onlines, momentum)

    def embed(self, features: Tensor) -> Tensor:
        v: Tensor = self.head.projector(features)
        return at_least_float32(v)

    def parameter_groups(self) -> Iterable[ParameterGroup]:
        if self.settings.predictor is None or not self.settings.predictor.constant_lr or self.predictor is None:
            return ()
        return (ParameterGroup(self.predictor.parameters(), constant_lr=True),)

    def readings(self) -> dict[str, float]:
        return self._monitor.readings()

    def failure(self) -> Exception | None:
        return self._monitor.failure()
