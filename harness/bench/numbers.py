"""Numbers of the speed tables as text: three significant digits, and what stands for none."""

from __future__ import annotations

NOTHING = "–"


def number(value: float) -> str:
    """1,234,000; 1,234; 123; 12.3; 0.0123."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def span(least: float, most: float) -> str:
    """From the least to the largest."""
    return f"{number(least)}..{number(most)}"


def bytes_text(size: int) -> str:
    """In MiB."""
    return f"{number(size / 2**20)} MiB"
