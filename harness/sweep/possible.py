"""Which points of a space can be: choices are enumerated, and what a condition or the cell refuses is left out before a
sampler sees it. No torch, no Optuna."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from harness.sweep.space import Options, Range, Setting, Space, Values

MOST_REFUSALS = 2000  # combinations that are shown to the cell one by one; of more, each point is when it is proposed
MOST_COMBINATIONS = 100_000


@dataclass(frozen=True)
class Condition:
    """One of `divides`, `above` and `below`: how a choice must relate to another field."""

    kind: str
    setting: str
    """The setting that is restricted."""
    other: str
    """Name of the other field, as the suite calls it."""

    def holds(self, value: Any, other: Any) -> bool:
        if not isinstance(other, int | float) or isinstance(other, bool):
            return True  # this method has no such field: nothing to compare with
        if self.kind == "divides":
            return bool(other % value == 0)
        return bool(value > other if self.kind == "above" else value < other)


def possible(
    settings: Sequence[Setting],
    conditions: Sequence[Condition],
    field: Callable[[str], Any],
    refused: Callable[[Values], str | None],
) -> tuple[Space, list[str]]:
    """The space without what cannot be, and why combinations were left out.

    Args:
        settings: of the row.
        conditions: between a setting and a field, which may be a setting too.
        field: what the row's cell has under a name that is not searched.
        refused: why a point cannot be run.
    """
    discrete = [s for s in settings if isinstance(s.domain, Options)]
    fixed = {s.name: s.domain.low for s in settings if isinstance(s.domain, Range)}
    everything = product(*(s.domain.values for s in discrete if isinstance(s.domain, Options)))
    kept, reasons = [], dict[str, None]()
    for number, choice in enumerate(islice(everything, MOST_COMBINATIONS)):
        point = dict(zip([s.name for s in discrete], choice, strict=True))
        known = {c.other: point[c.other] if c.other in point else field(c.other) for c in conditions}
        broken = [c for c in conditions if not c.holds(point[c.setting], known[c.other])]
        if broken:
            reasons |= dict.fromkeys(f"{c.setting} {point[c.setting]}: {_in_words(c)}" for c in broken)
            continue
        why = refused({**point, **fixed}) if number < MOST_REFUSALS else None
        if why:
            reasons[why] = None
        else:
            kept.append(point)
    reduced = tuple(Setting(s.name, s.path, _reduced(s.domain, s.name, kept)) for s in settings)
    return Space(reduced if kept else (), tuple(kept)), list(reasons)


def _reduced(domain: Range | Options, name: str, kept: Sequence[Values]) -> Range | Options:
    """Choices without those that no combination has."""
    if isinstance(domain, Range):
        return domain
    return Options(tuple(value for value in domain.values if any(value == point[name] for point in kept)))


def _in_words(condition: Condition) -> str:
    verb = {"divides": "does not divide", "above": "is not above", "below": "is not below"}[condition.kind]
    return f"{verb} {condition.other}"
