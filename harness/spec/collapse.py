"""When a training run counts as collapsed: a rule of the analysis, applied to what is stored. Changes no id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import PositiveInt

from harness.spec.identity import Frozen
from harness.spec.models import NonNegative, Probability


class CollapseRule(Frozen):
    """Thresholds on the diagnostics of v (of h where there is no head)."""

    min_std: NonNegative = 0.1
    """Collapsed if the mean per-dimension std of the L2-normalised features, times sqrt(D), is below this."""
    min_rank_fraction: Probability = 0.05
    """Collapsed if RankMe is below this fraction of D."""
    consecutive: PositiveInt = 3
    """So many readings in a row, the last at the end of training; all of them if a run has fewer."""


def is_collapsed(history: Sequence[Mapping[str, float | None]], rule: CollapseRule) -> bool:
    """Whether the last `rule.consecutive` readings (all, if there are fewer; never if there is none) each show std
    below `min_std` or RankMe below `min_rank_fraction` of D.

    Args:
        history: per reading, diagnostics named `v_std`, `v_rankme`, `v_dimensions` or, without a head, `h_...`.
    """
    recent = history[-rule.consecutive :]
    return bool(recent) and all(_below(values, rule) for values in recent)


def _below(values: Mapping[str, float | None], rule: CollapseRule) -> bool:
    prefix = "v" if values.get("v_std") is not None else "h"
    std, rank, dimensions = (values.get(f"{prefix}_{name}") for name in ("std", "rankme", "dimensions"))
    if std is None or rank is None or not dimensions:
        return False
    return std < rule.min_std or rank / dimensions < rule.min_rank_fraction
