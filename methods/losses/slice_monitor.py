"""What whitening saw: the covariances of the last step's sub-batches, and why one could not be factored. Owns the
wording of that failure. Never waits for a CUDA device except where its methods are asked."""

from __future__ import annotations

import torch
from torch import Tensor


class WhiteningError(ValueError):
    """A sub-batch whose covariance is singular: in the authors' runs always a wrong hyperparameter."""


class SliceMonitor:
    """Memory of one method's whitening, for its readings and for the failure that CUDA must not stop to report."""

    def __init__(self) -> None:
        self._covariance: Tensor | None = None  # (..., D, D) of the last call
        self._failed: Tensor | None = None  # (D, D): the first that could not be factored; zeros before
        self._has_failed: Tensor | None = None  # bool scalar
        self._sub_batch_size, self._eps = 0, 0.0

    def keep(self, covariance: Tensor, sub_batch_size: int, eps: float) -> None:
        """Hold the covariances (..., D, D) of the last call."""
        self._covariance, self._sub_batch_size, self._eps = covariance, sub_batch_size, eps

    def keep_failure(self, covariance: Tensor, bad: Tensor) -> None:
        """Hold the first of the covariances (..., D, D) that is `bad` (...), if none was held, without waiting."""
        wrong = bad.flatten()
        first = covariance.flatten(0, -3).index_select(0, wrong.to(torch.uint8).argmax().view(1))[0]
        if self._failed is None or self._has_failed is None:
            self._failed, self._has_failed = torch.zeros_like(first), torch.zeros_like(wrong[0])
        self._failed = torch.where(self._has_failed | ~wrong.any(), self._failed, first)
        self._has_failed = self._has_failed | wrong.any()

    def failure(self) -> WhiteningError | None:
        """The first failure so far, explained."""
        if self._failed is None or self._has_failed is None or not bool(self._has_failed):
            return None
        return WhiteningError(explanation(self._failed, self._sub_batch_size, self._eps))

    def readings(self) -> dict[str, float]:
        """Largest and median condition number of the last step's slice covariances (eps included)."""
        if self._covariance is None:
            return {}
        values = _eigenvalues(self._covariance.flatten(0, -3))
        numbers = values[:, -1] / values[:, 0].clamp(min=0)
        return {"slice_condition_max": numbers.max().item(), "slice_condition_median": numbers.median().item()}


def refused(covariance: Tensor, bad: Tensor, sub_batch_size: int, eps: float, monitor: SliceMonitor | None) -> bool:
    """Raise the failure on the CPU; elsewhere True: the caller poisons the `bad` (...) slices of its output instead.

    Raises:
        WhiteningError: on the CPU, where a covariance (..., D, D) is bad.
    """
    if monitor is not None:
        monitor.keep(covariance, sub_batch_size, eps)
    if covariance.device.type != "cpu":
        if monitor is not None:
            monitor.keep_failure(covariance, bad)
        return True
    if bool(bad.any()):
        raise WhiteningError(explanation(covariance[bad][0], sub_batch_size, eps))
    return False


def singular_by_construction(sub_batch_size: int, embedding_size: int) -> str:
    """Why so few images cannot be whitened without an eps, and what to change."""
    return (
        f"the covariance of a sub-batch of {sub_batch_size} images is singular in {embedding_size} dimensions by "
        f"construction: its smallest eigenvalue is 0. Use a sub-batch larger than the embedding (twice it, "
        f"{2 * embedding_size}, in every published cell), a smaller embedding, or an explicit eps such as 1e-4"
    )


def explanation(covariance: Tensor, sub_batch_size: int, eps: float) -> str:
    """Why one covariance (D, D) could not be factored, and what to change."""
    size = covariance.shape[-1]
    head = (
        f"whitening failed: the covariance of a sub-batch of {sub_batch_size} images in {size} dimensions (eps {eps:g})"
    )
    if not bool(covariance.isfinite().all()):
        return (
            f"{head} is not finite, so its smallest eigenvalue is unknown: the embeddings themselves have diverged. "
            f"Use a lower learning rate, a longer warm-up or a wider precision"
        )
    values = _eigenvalues(covariance)
    return (
        f"{head} is numerically singular: smallest eigenvalue {values[0].item():.3g}, largest {values[-1].item():.3g}. "
        f"Use a larger sub-batch (about twice the embedding, {2 * size}), a smaller embedding, a lower learning rate, "
        f"or an explicit eps such as 1e-4"
    )


def _eigenvalues(covariance: Tensor) -> Tensor:
    """Ascending, in float64 on the CPU; NaN where a matrix is not finite."""
    matrix = covariance.detach().double().cpu()
    finite = matrix.isfinite().flatten(-2).all(-1)
    values = torch.linalg.eigvalsh(torch.where(finite[..., None, None], matrix, torch.zeros_like(matrix)))
    spectrum: Tensor = values.masked_fill(~finite.unsqueeze(-1), torch.nan)
    return spectrum
