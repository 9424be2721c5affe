"""The second linear probe: multinomial logistic regression by L-BFGS. Owns only the call of scikit-learn's."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from harness.evaluation.probes.lbfgs import LbfgsSettings


@dataclass(frozen=True)
class LbfgsOutcome:
    """What L-BFGS arrived at."""

    predictions: Tensor
    """(M,) int64, on the CPU."""
    converged: bool
    """False where scikit-learn warned that it had not converged."""
    iterations: int


def lbfgs_predict(features: Tensor, labels: Tensor, test: Tensor, spec: LbfgsSettings) -> LbfgsOutcome:
    """Fit on features (N, F) and labels (N,), predict test (M, F). A class without training images is never predicted;
    with one class there is nothing to fit, and every prediction is that class."""
    classes = torch.unique(labels)
    if len(classes) == 1:
        return LbfgsOutcome(classes.cpu().expand(len(test)).clone(), converged=True, iterations=0)
    model = LogisticRegression(C=spec.c, max_iter=spec.max_iterations, solver="lbfgs")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(features.cpu().double().numpy(), labels.cpu().numpy())
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    predictions = torch.from_numpy(model.predict(test.cpu().double().numpy()))
    return LbfgsOutcome(predictions, converged, int(model.n_iter_.max()))
