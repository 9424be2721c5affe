"""The figures of a suite, for slides and papers: each as a PNG of 300 dpi and as an SVG.

Owns which figures there are. Needs matplotlib (the extra `figures`). The same records give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from harness.analysis.figures.accuracy import accuracy
from harness.analysis.figures.curves import curves, losses
from harness.analysis.figures.frontier import frontier
from harness.analysis.figures.spectra import spectra
from harness.analysis.figures.style import save
from harness.analysis.frame import Record
from harness.analysis.report.rows import rows_of

FIGURES = ("accuracy", "curves", "losses", "frontier", "spectra")


def write_figures(
    directory: Path, title: str, records: Sequence[Record], metrics: Sequence[str], controls: Collection[str]
) -> list[Path]:
    """Write NAME.png and NAME.svg for each of `FIGURES` that the records have something for, and return their paths.

    Files of figures that have nothing to show any more are removed.

    Args:
        records: of a suite; what is not done is left out.
        metrics: accuracies in per cent, the first of which the frontier shows; without any, neither it nor they are
            drawn.
        controls: names of methods that are there to be compared with.

    Raises:
        StoreError: a file cannot be written.
    """
    rows = [row for row in rows_of(records, controls) if row.results]
    drawn: dict[str, Callable[[], Figure | None]] = {
        "accuracy": lambda: accuracy(title, rows, metrics) if metrics else None,
        "curves": lambda: curves(title, rows),
        "losses": lambda: losses(title, rows),
        "frontier": lambda: frontier(title, rows, metrics[0]) if metrics else None,
        "spectra": lambda: spectra(title, rows),
    }
    written = []
    for name in FIGURES:
        figure = drawn[name]() if rows else None
        if figure is not None:
            written += save(figure, directory / name)
        else:
            for suffix in (".png", ".svg"):
                (directory / name).with_suffix(suffix).unlink(missing_ok=True)
    return written
