"""The statistics of a table's entries as text, below it, and as a long data frame. Computes nothing: see `lines`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.bootstrap import REPLICATES, Resampled
from harness.analysis.entries import title_of
from harness.analysis.frame import NOTHING
from harness.analysis.lines import Line
from harness.analysis.statistics import MIN_PAIRS, Interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Statistics:
    """The lines as text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int
    notes: tuple[str, ...]


def as_text(
    lines: Sequence[Line],
    row_names: Sequence[str],
    column_names: Sequence[str],
    titles: Mapping[str, str] | None = None,
) -> Statistics | None:
    """The lines as a table; None where nothing is compared and no mean is of two runs.

    Args:
        titles: headings of metrics.
    """
    if not any(line.difference or line.entry.spread is not None for line in lines):
        return None
    several = len({line.place[1] for line in lines}) > 1
    names = [name.rpartition(".")[2] for name in (*row_names, *(column_names if several else ()))]
    columns = [(title, [text(line) for line in lines]) for title, text in _columns(lines)]
    columns = [(title, texts) for title, texts in columns if any(text != NOTHING for text in texts)]
    rows = [
        (
            *line.place[0],
            *(line.place[1] if several else ()),
            title_of(line.place[2], titles),
            *(texts[at] for _, texts in columns),
        )
        for at, line in enumerate(lines)
    ]
    header = (*names, "measure", *(title for title, _ in columns))
    return Statistics(header, tuple(rows), len(names) + 1, tuple(_notes(lines, [title for title, _ in columns])))


def statistics_frame(lines: Iterable[tuple[str, Line]]) -> pd.DataFrame:
    """The lines of some tables by title, in long format: a row for each row, column and measure of a table.

    Each in its metric's unit; empty where there is nothing to say, a mean over missing runs above all.
    """
    import pandas as pd

    return pd.DataFrame([_flat(title, line) for title, line in lines], columns=list(_FLAT), dtype=object)


_FLAT = (
    *("table", "row", "column", "measure", "mean", "sd", "low", "high", "n", "planned", "best"),
    *("baseline", "difference", "difference_low", "difference_high", "effect", "p_holm", "seeds_needed"),
    *("resampled_low", "resampled_high"),
)


def _flat(title: str, line: Line) -> dict[str, object]:
    entry, difference = line.entry, line.difference
    interval = entry.interval
    values: dict[str, object] = {"table": title, "n": len(entry.values), "planned": len(entry.records)}
    values |= dict(zip(("row", "column", "measure"), (*map(" ".join, line.place[:2]), line.place[2]), strict=True))
    values |= {"best": entry.best, "baseline": line.baseline, "p_holm": line.p}
    if interval is not None:
        values |= {"mean": interval.mean, "sd": interval.sd, "low": interval.low, "high": interval.high}
    if difference is not None:
        of_it = difference.interval
        values |= {"difference": of_it.mean, "difference_low": of_it.low, "difference_high": of_it.high}
        values |= {"effect": difference.effect, "seeds_needed": difference.seeds_needed}
    if line.resampled is not None:
        values |= {"resampled_low": line.resampled.low, "resampled_high": line.resampled.high}
    return values


def _columns(lines: Sequence[Line]) -> list[tuple[str, Callable[[Line], str]]]:
    baseline = next((line.baseline for line in lines if line.baseline is not None), None)
    return [
        ("n", lambda line: f"{len(line.entry.values)} of {len(line.entry.records)}"),
        ("95 % interval", lambda line: _range(line.entry.interval, _text(line))),
        (f"minus {baseline}", _difference),
        ("its 95 % interval", lambda line: _range(line.difference and line.difference.interval, _signed(line))),
        ("effect d", lambda line: _number(line.difference and line.difference.effect, "{:+.1f}")),
        ("p (Holm)", lambda line: _number(line.p, "{:.2g}")),
        ("seeds for a test", _seeds),
        ("seeds and images", lambda line: _range(line.resampled, _signed(line) if line.baseline else _text(line))),
        ("McNemar p", lambda line: _number(line.single and line.single.p, "{:.2g}")),
    ]


def _seeds(line: Line) -> str:
    """Where there are too few for a test, or the test found nothing."""
    if line.difference is None or (line.p is not None and line.p <= 0.05):
        return NOTHING
    return _number(line.difference.seeds_needed, "{:d}")


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


def _difference(line: Line) -> str:
    return NOTHING if line.difference is None else _signed(line)(line.difference.interval.mean)


def _text(line: Line) -> Callable[[float], str]:
    return line.entry.metric.text


def _signed(line: Line) -> Callable[[float], str]:
    return line.entry.metric.difference


def _range(value: Interval | Resampled | None, text: Callable[[float], str]) -> str:
    if value is None or value.low is None or value.high is None:
        return NOTHING
    return f"[{text(value.low)}, {text(value.high)}]"


def _notes(lines: Sequence[Line], shown: Collection[str]) -> Iterable[str]:
    yield "95 % intervals are Student's over seeds; values that do not vary over seeds have none."
    compared = [line for line in lines if line.difference is not None]
    tested = sum(line.p is not None for line in compared)
    if compared:
        yield (
            "Differences are taken seed by seed: runs of one seed see the same images in the same order. "
            "Effect d is their mean over their standard deviation."
        )
    if tested:
        yield f"p is of a paired t-test, by Holm's correction over all {tested} differences that this table tests."
    if tested < len(compared):
        yield f"Fewer than {MIN_PAIRS} seeds are not tested: read the intervals and effects."
    if "seeds for a test" in shown:
        yield (
            "Seeds for a test: how many a paired t-test would need to find the observed difference with a power of "
            "80 % at 5 %, before correction; an estimate from the observed spread, and a rough one from few seeds."
        )
    if "seeds and images" in shown:
        what = "the difference" if compared else "the mean"
        yield (
            f"Seeds and images: the middle 95 % of {REPLICATES} resamples of {what} over seeds and, together, over the "
            "images of the evaluation split; from few seeds it is too narrow."
        )
    if "McNemar p" in shown:
        yield "McNemar's exact test is of two single runs on the same images, and not of their methods."
