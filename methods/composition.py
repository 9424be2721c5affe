"""The family's one composition: views -> encoder -> projector -> [transform] -> [predictor] -> pair loss (+
regulariser), against the same network or a momentum copy, with or without stop-gradient. Owns the settings of that
choice and which of them contradict each other, without torch; `composed.py` runs it, and a method file states its own
defaults."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from methods.entry import Settings

Scope = Literal["all_views", "per_view"]
OutputNorm = Literal["none", "plain", "affine"]


class Projector(Settings):
    """The head g from encoder features to embeddings: linear layers, BatchNorm and ReLU between them."""

    hidden: tuple[PositiveInt, ...] = (1024,)
    """Width of each hidden layer; none makes the head linear."""
    embedding_size: PositiveInt = 64
    """D, the dimensions of v."""
    batch_norm: bool = True
    """BatchNorm after every hidden layer."""
    bias: bool = True
    """Biases in the hidden linear layers."""
    output_norm: OutputNorm = "none"
    """BatchNorm on the output, part of v: none, `plain` (no scale and shift) or `affine`."""
    output_bias: bool = True
    """Bias in the last linear layer."""


class BatchNormTransform(Settings):
    """BatchNorm on v, with scale and shift, in the head's scope."""

    kind: Literal["batch_norm"] = "batch_norm"


class WhiteningTransform(Settings):
    """Whitening of v per view and sub-batch (W-MSE, section 3)."""

    kind: Literal["whitening"] = "whitening"
    sub_batch_size: PositiveInt = 128
    """Images in a slice; divides the batch. Twice the embedding in every published cell."""
    slicing_iterations: PositiveInt = 1
    """Independent partitions of the batch that the loss is averaged over."""
    variant: Literal["cholesky", "zca", "pca", "newton"] = "cholesky"
    eps: NonNegativeFloat = 0.0
    """Added to the diagonal of every covariance; the authors use none."""
    newton_iterations: NonNegativeInt = 5
    """`newton` only."""


class Predictor(Settings):
    """The network q from transformed embeddings to predictions of the target's: one hidden layer."""

    predictor_hidden: PositiveInt = 1024
    """Width of the hidden layer."""
    predictor_batch_norm: bool = True
    """BatchNorm after the hidden layer."""
    predictor_bias: bool = True
    """Bias in the hidden linear layer; the output's always has one."""
    constant_lr: bool = False
    """Whether its learning rate ignores the schedule's decay."""


class MomentumTarget(Settings):
    """An exponential moving average of the encoder's and head's parameters (BYOL, section 3.2). BatchNorm buffers are
    not averaged: the target normalises with its own batch statistics."""

    target_momentum: Annotated[float, Field(ge=0.0, le=1.0)] = 0.99
    """tau at the start; rises to 1 along a cosine of the training's progress."""


Transform = Annotated[BatchNormTransform | WhiteningTransform, Field(discriminator="kind")]


class NormalisedMse(Settings):
    """2 - 2 cos(z_i, z_j) (W-MSE, section 3; BYOL, equation 2)."""

    kind: Literal["normalised_mse"] = "normalised_mse"
    directions: Literal["mean", "sum"] = "mean"
    """A pair's two directions (online i against target j, and the reverse) averaged, as W-MSE counts a pair, or
    summed, as BYOL does."""


class Mse(Settings):
    """Mean over elements of (z_i - z_j)^2: the Euclidean W-MSE, and VICReg's invariance term (its equation 5)."""

    kind: Literal["mse"] = "mse"


class NegativeCosine(Settings):
    """-cos(p_i, z_j), the mean of both directions (SimSiam, equations 1 to 4)."""

    kind: Literal["negative_cosine"] = "negative_cosine"


class NtXent(Settings):
    """Cross-entropy of every row over the 2N - 1 other rows of its pair of views (SimCLR, arXiv 2002.05709, equation
    1)."""

    kind: Literal["nt_xent"] = "nt_xent"
    temperature: PositiveFloat = 0.5
    l2_normalise: bool = True
    """Whether similarities are cosines; otherwise plain inner products."""


class CrossCorrelation(Settings):
    """The cross-correlation of two views driven to the identity (Barlow Twins, equation 1)."""

    kind: Literal["cross_correlation"] = "cross_correlation"
    off_diagonal_weight: PositiveFloat = 0.0051
    """lambda, the weight of the off-diagonal terms."""


PairLoss = Annotated[
    NormalisedMse | Mse | NegativeCosine | NtXent | CrossCorrelation,
    Field(discriminator="kind"),
]


class VarianceCovariance(Settings):
    """variance_weight [v(Z) + v(Z')] + covariance_weight [c(Z) + c(Z')] (VICReg, equation 6), averaged over pairs of
    views.

    For d views the mean over pairs of a sum of two is twice the mean over views.
    """

    variance_weight: NonNegativeFloat = 25.0
    covariance_weight: NonNegativeFloat = 1.0
    variance_views: Literal["sum", "mean"] = "sum"
    """The variance term of a pair: the sum over its views, as in the paper, or their mean, as in the authors' code. The
    covariance term is the sum in both."""
    gamma: PositiveFloat = 1.0
    """Standard deviation below which a dimension is pushed apart."""
    variance_eps: PositiveFloat = 1e-4
    """Added to the variance under the root."""


class Composition(Settings):
    """One choice for every part of the family."""

    projector: Projector = Projector()
    head_scope: Scope = "all_views"
    """Whose rows share BatchNorm statistics in projector, transform and predictor. The encoder always runs per view."""
    transform: Transform | None = None
    predictor: Predictor | None = None
    target: MomentumTarget | None = None
    """None: the online network."""
    stop_gradient: bool = False
    """Whether the target side of a pair is a constant."""
    pair_loss: PairLoss = NormalisedMse()
    pair_weight: NonNegativeFloat = 1.0
    regulariser: VarianceCovariance | None = None
    """Acts on the online projector's outputs v, before transform and predictor."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.target is not None and not self.stop_gradient:
            raise ValueError("a momentum target receives no gradient: set stop_gradient to true, or target to null")
        return self

    def problem(self, views: int, batch_size: int) -> str | None:
        if views < 2:
            return f"a pair loss needs at least 2 views, not {views}: set views to 2 or more"
        if batch_size < 2:
            return f"batch statistics need at least 2 images, not {batch_size}: use a larger batch"
        if not isinstance(self.transform, WhiteningTransform):
            return None
        size, embedding = self.transform.sub_batch_size, self.projector.embedding_size
        if batch_size % size:
            return (
                f"a batch of {batch_size} images cannot be cut into sub-batches of {size}: "
                f"make batch_size a multiple of sub_batch_size"
            )
        if size <= embedding and self.transform.eps == 0.0:
            return (
                f"a sub-batch of {size} images has a singular covariance in {embedding} dimensions: "
                f"use a sub_batch_size of about {2 * embedding}, a smaller embedding_size, or an explicit eps"
            )
        return None
