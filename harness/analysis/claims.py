"""Whether the runs bear out what a suite claims. Owns verdicts; the language is `harness.suite.claim_language`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.frame import Record

Answer = Literal["supported", "refuted", "inconclusive", "not testable"]


@dataclass(frozen=True)
class Verdict:
    """What the runs say of one claim."""

    claim: str
    answer: Answer
    lines: tuple[str, ...]
    """The numbers it rests on, each one sentence of plain text."""
    seeds_to_decide: int | None = None
    """Estimated, for what is inconclusive; None where it cannot be estimated."""


def test_claims(claims: Sequence[str], records: Iterable[Record]) -> tuple[Verdict, ...]:
    """A verdict for each claim, in their order.

    Args:
        claims: as a suite writes them.
        records: of the suite.
    """
    return tuple(Verdict(claim, "not testable", ()) for claim in claims)
