"""The charts of a suite, each described once: the report draws them on its page, `write_charts` into files.

Owns which charts there are and how they look (Vega-Lite, by Altair). Computes nothing but means, intervals and fronts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from altair.typing import ChartType

from harness.analysis.charts.accuracy import accuracy_chart
from harness.analysis.charts.curves import curves_chart, losses_chart
from harness.analysis.charts.embeddings import alignment_chart
from harness.analysis.charts.files import save_chart
from harness.analysis.charts.frontier import frontier_chart
from harness.analysis.charts.spectra import spectra_chart
from harness.analysis.frame import Record
from harness.analysis.row_results import RowResults, group_by_row

CHARTS = {
    "accuracy": "",
    "curves": "",
    "losses": ": training loss",
    "frontier": "",
    "spectra": "",
    "alignment": ": alignment and uniformity",
}
"""Names of charts, and what their titles say beside the suite's."""


def suite_charts(rows: Sequence[RowResults], metrics: Sequence[str], title: str = "") -> dict[str, ChartType | None]:
    """Every chart of `CHARTS`, None where the rows have nothing for it.

    Args:
        metrics: accuracies in per cent; without any, neither they nor the frontier are drawn.
        title: of the suite; empty on a page, whose headings say it.
    """
    rows = [row for row in rows if row.results]
    if not rows:
        return dict.fromkeys(CHARTS)
    titles = {name: title + said if title else "" for name, said in CHARTS.items()}
    return {
        "accuracy": accuracy_chart(titles["accuracy"], rows, metrics),
        "curves": curves_chart(titles["curves"], rows),
        "losses": losses_chart(titles["losses"], rows),
        "frontier": frontier_chart(titles["frontier"], rows, metrics),
        "spectra": spectra_chart(titles["spectra"], rows),
        "alignment": alignment_chart(titles["alignment"], rows),
    }


def write_charts(
    directory: Path, title: str, results: Sequence[Record], metrics: Sequence[str], controls: Collection[str]
) -> list[Path]:
    """Write NAME.png and NAME.svg of each chart that there is something for, and return their paths.

    Files of charts that have nothing to show any more are removed.

    Args:
        results: of a suite; what is not done is left out.
        metrics: accuracies in per cent, the first of which the frontier shows.
        controls: names of methods that are there to be compared with.

    Raises:
        StoreError: a file cannot be written.
    """
    written = []
    for name, chart in suite_charts(group_by_row(results, controls), metrics, title).items():
        if chart is not None:
            written += save_chart(chart, directory / name)
        else:
            for suffix in (".png", ".svg"):
                (directory / name).with_suffix(suffix).unlink(missing_ok=True)
    return written
