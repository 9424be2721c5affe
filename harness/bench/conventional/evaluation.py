"""Probes and neighbours as the paper's code and scikit-learn do them. Owns the plain side of evaluation's comparisons.

scikit-learn works on the CPU whatever the device.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from harness.evaluation.probes.linear import LinearSettings


def plain_probe(features: Tensor, labels: Tensor, classes: int, spec: LinearSettings) -> None:
    """One probe as the paper's code trains it: autograd, torch.optim's default Adam, indexing; (N, F) and (N,)."""
    layer = nn.Linear(features.shape[1], classes).to(features.device)
    optimiser = torch.optim.Adam(layer.parameters(), lr=spec.lr, weight_decay=spec.weight_decay)
    for epoch in range(spec.epochs):
        for group in optimiser.param_groups:
            group["lr"] = spec.lr * (spec.final_lr / spec.lr) ** (epoch / spec.epochs)
        for rows in torch.split(torch.randperm(len(features), device=features.device), spec.batch_size):
            optimiser.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(layer(features[rows]), labels[rows]))
            optimiser.step()


def sgd_epoch(features: Tensor, labels: Tensor) -> None:
    """One pass of scikit-learn's stochastic gradient descent over (N, F)."""
    model = SGDClassifier(loss="log_loss", max_iter=1, tol=None)
    model.fit(features.numpy(force=True), labels.numpy(force=True))


def logistic_iterations(features: Tensor, labels: Tensor, iterations: int) -> int:
    """scikit-learn's logistic regression by L-BFGS, stopped early: the iterations it made, each a pass or more."""
    model = LogisticRegression(max_iter=iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features.numpy(force=True), labels.numpy(force=True))
    return int(model.n_iter_.max())


def brute_neighbours(features: Tensor, labels: Tensor, k: int) -> Any:
    """scikit-learn's exact k nearest neighbours, fitted: `predict` takes (M, F) as an array."""
    model = KNeighborsClassifier(k, algorithm="brute")
    return model.fit(features.numpy(force=True), labels.numpy(force=True))
