"""What a number that a probe gives is called, in which unit it is, and which way is better. Owns how it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass

PER_CENT = "%"


@dataclass(frozen=True)
class Metric:
    """One number of a probe."""

    name: str
    """Such as `top1`: a suite's `knn5` with this metric is `knn5_top1`. Letters and digits, no underscore."""
    title: str
    """As tables head it, without the unit: `5-NN`."""
    unit: str = PER_CENT
    """Behind the title and the number; empty where it has none."""
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", self.name):
            raise ValueError(f"`{self.name}` is no name of a metric: letters and digits alone, a letter first")

    @property
    def heading(self) -> str:
        """Title and unit: `5-NN %`."""
        return f"{self.title} {self.unit}".strip()

    @property
    def sign(self) -> float:
        """Multiplied by it, more is better."""
        return 1.0 if self.higher_is_better else -1.0

    def text(self, value: float) -> str:
        """`95.28`; in another unit four digits that count, `0.01234`."""
        return f"{value:.2f}" if self.unit == PER_CENT else f"{value:.4g}"

    def difference(self, value: float) -> str:
        """`+0.39`."""
        return f"{value:+.2f}" if self.unit == PER_CENT else f"{value:+.4g}"

    def said(self, value: float) -> str:
        """With its unit: `95.28 %`."""
        return f"{self.text(value)} {self.unit}".strip()
