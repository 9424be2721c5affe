"""Everything a sweep leaves in its directory: trials, report, pictures, the winners' suite. Computes none of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.analysis.entries import headings
from harness.store.cell_result import read_cell
from harness.store.provenance import Code
from harness.store.store import Store
from harness.suite.facts import Catalogue, Facts
from harness.suite.suite import Suite
from harness.sweep import best, frames, pictures, plots, report
from harness.sweep.rows import SweepRow
from harness.sweep.trials import RowStudy, StudyResult


def write_outputs(
    directory: Path,
    suite: Suite,
    rows: Sequence[SweepRow],
    studies: Sequence[RowStudy],
    catalogue: Catalogue,
    facts: Facts,
    store: Store,
    code: Code,
) -> list[Path]:
    """Write trials.csv, sweep.md, best.yaml and the charts; return their paths.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    spec = suite.content.sweep
    assert spec is not None
    metrics = {name: metric for row in rows for name, metric in row.metrics.items()}
    score = headings(metrics).get(spec.metric, spec.metric)
    results = [study.result() for study in studies]
    untuned = [row for row in rows if not row.tuned]
    paths = [frames.write_trials(directory, studies)]
    drawn = plots.write_plots(directory / pictures.DIRECTORY, results, score)
    cells = [read_cell(store, trial.cell) for result in results for trial in result.trials if trial.ended]
    stale = sum(cell is not None and cell.stale(code) is not None for cell in cells)
    paths.append(report.write_report(directory / report.FILE, suite.title, spec, score, results, untuned, drawn, stale))
    by_row = {id(result.row): result for result in results}
    winners = [_winner(row, by_row.get(id(row))) for row in rows]
    paths.append(best.write_best(directory / pictures.BEST, suite, winners, catalogue, facts))
    return [*paths, *(file for files in drawn.values() for file in files)]


def _winner(row: SweepRow, result: StudyResult | None) -> best.Winner:
    if result is None:
        return best.Winner(row, {}, "nothing to tune" if not row.tuned else "not swept")
    trial = result.best
    if trial is None or trial.value is None:
        return best.Winner(row, {}, f"as the suite has it: none of {result.ended} trials ended well")
    score = f"{row.metric.said(trial.value)} on validation, the best of {result.ended} trials"
    return best.Winner(row, trial.values, f"{row.text(trial.values)}: {score}")
