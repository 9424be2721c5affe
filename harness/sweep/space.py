"""Where a sweep looks: the settings of one row, which combinations are possible, how a sampler chooses among them.

Only possible points are ever proposed (`possible.py` says which those are). Knows the samplers' way of asking
(`suggest_...`), not Optuna itself; no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

from harness.suite.axes import Path
from harness.suite.planned import shown

DIGITS = 4  # significant ones of a value from a range: what a reader can write down
EDGE = 0.05  # of a range's length

Values = Mapping[str, Any]
"""Setting, as the suite calls it -> value."""


class Suggests(Protocol):
    """What a sampler answers (`optuna.trial.Trial`)."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any: ...


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included."""

    low: float
    high: float
    log: bool
    whole: bool
    """Whether only integers are meant."""
    points: int | None = None
    """Values of a grid."""

    def suggest(self, trial: Suggests, name: str) -> float:
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return self.readable(trial.suggest_float(name, self.low, self.high, log=self.log))

    def readable(self, value: float) -> float:
        """The value with few digits."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def grid(self) -> list[float]:
        """So many `points`, evenly spread."""
        steps = [index / ((self.points or 2) - 1) for index in range(self.points or 2)]
        if self.log:
            values = [self.low * (self.high / self.low) ** step for step in steps]
        else:
            values = [self.low + (self.high - self.low) * step for step in steps]
        return list(dict.fromkeys(round(value) if self.whole else self.readable(value) for value in values))

    def record(self) -> dict[str, Any]:
        """As kept with the study."""
        return {"low": self.low, "high": self.high, "log": self.log}

    def edge(self, value: float) -> str | None:
        """Which end of the range a value is at; None if at neither."""
        if self.place(value) <= EDGE:
            return f"at the low end of {self.low:g} to {self.high:g}"
        return f"at the high end of {self.low:g} to {self.high:g}" if self.place(value) >= 1 - EDGE else None


@dataclass(frozen=True)
class Options:
    """Some values; numbers in their order, so that a sampler knows which are neighbours."""

    values: tuple[Any, ...]

    @property
    def ordered(self) -> bool:
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    def suggest(self, trial: Suggests, name: str) -> Any:
        if len(self.values) == 1:
            return self.values[0]
        if self.ordered:
            return self.values[trial.suggest_int(f"{name} (index)", 0, len(self.values) - 1)]
        texts = [shown(value) for value in self.values]
        return self.values[texts.index(trial.suggest_categorical(name, texts))]

    def record(self) -> dict[str, Any]:
        """As kept with the study."""
        return {"choices": list(self.values)}

    def edge(self, value: Any) -> str | None:
        """Which end of three or more numbers a value is at; None if at neither."""
        if not self.ordered or len(self.values) < 3 or value not in (self.values[0], self.values[-1]):
            return None
        side = "smallest" if value == self.values[0] else "largest"
        return f"the {side} of {', '.join(map(shown, self.values))}"


@dataclass(frozen=True)
class Setting:
    """One setting that is searched."""

    name: str
    path: Path
    """Of the field in a cell."""
    domain: Range | Options


@dataclass(frozen=True)
class Space:
    """All settings of one row, and the combinations of choices that are possible."""

    settings: tuple[Setting, ...]
    combinations: tuple[Values, ...]
    """Of the settings that are choices."""

    @property
    def size(self) -> int | None:
        """Number of points on the grid; None where a range does not say how many it has."""
        if any(isinstance(s.domain, Range) and s.domain.points is None for s in self.settings):
            return None
        return len(self.grid())

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """A possible point, chosen setting by setting: of the choices, those that the ones before leave possible."""
        values: dict[str, Any] = {}
        for setting in self.settings:
            name = setting.name
            if isinstance(setting.domain, Options):
                left = self.options(name, values)
                if left != setting.domain.values:  # a sampler must not take different choices for the same parameter
                    name = f"{name} of {', '.join(map(shown, left))}"
                values[setting.name] = Options(left).suggest(trial, name)
            else:
                values[setting.name] = setting.domain.suggest(trial, name)
        return values

    def options(self, name: str, before: Values) -> tuple[Any, ...]:
        """What a setting may be, given those before it."""
        left = [c[name] for c in self.combinations if all(c.get(key, value) == value for key, value in before.items())]
        domain = next(s.domain for s in self.settings if s.name == name)
        assert isinstance(domain, Options)
        return tuple(value for value in domain.values if value in left)

    def grid(self) -> list[dict[str, Any]]:
        """Every point of the grid, in the order in which the suite writes the settings."""
        ranges = [s for s in self.settings if isinstance(s.domain, Range)]
        spread = [s.domain.grid() for s in ranges if isinstance(s.domain, Range)]
        points = [
            {**combination, **dict(zip([s.name for s in ranges], point, strict=True))}
            for point in product(*spread)
            for combination in self.combinations
        ]
        return [{s.name: point[s.name] for s in self.settings} for point in points]

    def record(self) -> dict[str, Any]:
        """As kept with the study: a space with another record is another search."""
        return {s.name: {"field": ".".join(s.path), **s.domain.record()} for s in self.settings}
