"""Names of the accuracies that a suite may ask for. Computes none of them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from harness.suite.fields import suggestion

METRICS = ("linear_top1", "linear_top5", "knn5_top1", "lbfgs_top1")


def known_metric(name: str) -> str:
    """The name itself; a ValueError says what was meant, if there is no such metric."""
    if name not in METRICS and not re.fullmatch(r"knn[1-9][0-9]*_top1", name):
        raise ValueError(f"there is no metric `{name}`; {suggestion(name, METRICS)}")
    return name


Metric = Annotated[str, AfterValidator(known_metric)]
