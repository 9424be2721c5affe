"""The settings of one row that a sweep searches, as Optuna's distributions, and the points of them that can be run.

Choices are enumerated, and what a condition or the cell refuses is left out. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness.suite.axes import Path
from harness.suite.planned import shown

SIGNIFICANT_DIGITS = 4  # of a value from a range: what a reader can write down
EDGE_SHARE = 0.05  # of a range's length
MAX_CHECKED = 2000  # combinations that the cell is asked about here; any further one is when it is proposed
MAX_COMBINATIONS = 100_000

Values = Mapping[str, Any]
"""Setting, as the suite calls it -> value."""


@dataclass(frozen=True)
class Setting:
    """One setting that is searched."""

    name: str
    path: Path
    """Of the field in a cell."""
    distribution: FloatDistribution | IntDistribution | CategoricalDistribution
    points: int | None = None
    """Values of a range on a grid."""

    @property
    def choices(self) -> tuple[Any, ...] | None:
        """The values listed; None for a range."""
        listed = self.distribution
        return tuple(listed.choices) if isinstance(listed, CategoricalDistribution) else None

    @property
    def numeric(self) -> bool:
        """Whether its values have an order."""
        return self.choices is None or all(_is_number(value) for value in self.choices)

    @property
    def proposed(self) -> BaseDistribution:
        """What samplers draw from: of listed numbers the position, so that they know which are neighbours."""
        if self.choices is None or not self.numeric:
            return self.distribution
        return IntDistribution(0, len(self.choices) - 1)

    def from_proposed(self, param: Any) -> Any:
        """The value that a sampler's answer means."""
        if self.choices is not None:
            return self.choices[param] if self.numeric else param
        return self._rounded(param) if isinstance(self.distribution, FloatDistribution) else param

    def to_proposed(self, value: Any) -> Any:
        """A value as samplers know it."""
        return self.choices.index(value) if self.choices is not None and self.numeric else value

    def position(self, value: Any) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        limits = self.distribution
        if isinstance(limits, CategoricalDistribution):
            return limits.choices.index(value) / max(len(limits.choices) - 1, 1)
        if limits.log:
            return math.log(value / limits.low) / math.log(limits.high / limits.low)
        return float((value - limits.low) / (limits.high - limits.low))

    def edge(self, value: Any) -> str | None:
        """Which end of a range, or of three or more numbers, a value is at; None if at neither."""
        limits, position = self.distribution, self.position(value)
        if isinstance(limits, CategoricalDistribution):
            if not self.numeric or len(limits.choices) < 3 or 0 < position < 1:
                return None
            return f"the {'largest' if position else 'smallest'} of {', '.join(map(shown, limits.choices))}"
        if EDGE_SHARE < position < 1 - EDGE_SHARE:
            return None
        return f"at the {'high' if position > 0.5 else 'low'} end of {limits.low:g} to {limits.high:g}"

    def grid(self) -> list[Any]:
        """Its choices, or so many `points` of its range."""
        limits = self.distribution
        if isinstance(limits, CategoricalDistribution):
            return list(limits.choices)
        spread = (np.geomspace if limits.log else np.linspace)(limits.low, limits.high, self.points or 2)
        whole = isinstance(limits, IntDistribution)
        return list(dict.fromkeys(round(float(v)) if whole else self._rounded(float(v)) for v in spread))

    def record(self) -> dict[str, Any]:
        """As kept with the study."""
        limits = self.distribution
        if isinstance(limits, CategoricalDistribution):
            return {"field": ".".join(self.path), "choices": list(limits.choices)}
        return {"field": ".".join(self.path), "low": limits.low, "high": limits.high, "log": limits.log}

    def _rounded(self, value: float) -> float:
        limits = self.distribution
        assert isinstance(limits, FloatDistribution)
        return min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), limits.low), limits.high)


@dataclass(frozen=True)
class Condition:
    """How a choice must relate to another field: `divides`, `above` or `below`."""

    kind: str
    setting: str
    """The setting that is restricted."""
    other: str
    """Name of the other field, as the suite calls it."""

    def holds(self, value: Any, other: Any) -> bool:
        """Whether the value is allowed. A method without the other field has nothing to compare with."""
        if not _is_number(other):
            return True
        return bool({"divides": other % value == 0, "above": value > other, "below": value < other}[self.kind])

    def __str__(self) -> str:
        verb = {"divides": "does not divide", "above": "is not above", "below": "is not below"}[self.kind]
        return f"{verb} {self.other}"


@dataclass(frozen=True)
class Space:
    """All settings of one row, and the combinations of choices that can be run."""

    settings: tuple[Setting, ...]
    combinations: tuple[Values, ...]
    """Of the settings that are choices."""

    @cached_property
    def _allowed(self) -> frozenset[str]:
        return frozenset(repr(combination) for combination in self.combinations)

    def allows(self, values: Values) -> bool:
        """Whether the choices of a point are one of the combinations."""
        return repr({s.name: values[s.name] for s in self.settings if s.choices is not None}) in self._allowed

    def grid(self) -> list[dict[str, Any]]:
        """Every point of the grid, each with the settings in the order of the suite."""
        ranges = [s for s in self.settings if s.choices is None]
        points = [
            {**combination, **dict(zip([s.name for s in ranges], point, strict=True))}
            for point in product(*(s.grid() for s in ranges))
            for combination in self.combinations
        ]
        return [{s.name: point[s.name] for s in self.settings} for point in points]


def feasible_points(
    settings: Sequence[Setting],
    conditions: Sequence[Condition],
    field: Callable[[str], Any],
    refusal: Callable[[Values], str | None],
) -> tuple[Space, list[str]]:
    """The space without what cannot be run, and why combinations were left out.

    Args:
        settings: of the row.
        conditions: between a setting and a field, which may be a setting too.
        field: what the row's cell has under a name that is not searched.
        refusal: why a point cannot be run.
    """
    listed = {s.name: s.choices for s in settings if s.choices is not None}
    low_ends = {s.name: s.grid()[0] for s in settings if s.choices is None}
    feasible, reasons = list[dict[str, Any]](), dict[str, None]()
    for number, choice in enumerate(islice(product(*listed.values()), MAX_COMBINATIONS)):
        point = dict(zip(listed, choice, strict=True))
        others = {c.other: point[c.other] if c.other in point else field(c.other) for c in conditions}
        broken = [c for c in conditions if not c.holds(point[c.setting], others[c.other])]
        why = [f"{c.setting} {point[c.setting]}: {c}" for c in broken]
        if not broken and number < MAX_CHECKED and (refused := refusal({**point, **low_ends})):
            why = [refused]
        reasons |= dict.fromkeys(why)
        feasible += [] if why else [point]
    if not feasible:
        return Space((), ()), list(reasons)
    return Space(tuple(_without_unused(s, feasible) for s in settings), tuple(feasible)), list(reasons)


def _without_unused(setting: Setting, feasible: Sequence[Values]) -> Setting:
    """The setting without choices that no combination has."""
    if setting.choices is None:
        return setting
    used = [value for value in setting.choices if any(value == point[setting.name] for point in feasible)]
    return replace(setting, distribution=CategoricalDistribution(used))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
