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
from harness.sweep import best, ledger, pictures, plots, report
from harness.sweep.progress import best as best_trial
from harness.sweep.report import Found
from harness.sweep.rows import Row
from harness.sweep.trials import Trials


def write_outputs(
    directory: Path,
    suite: Suite,
    rows: Sequence[Row],
    studies: Sequence[Trials],
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
    found = [Found(study.row, study.all(), study.budget) for study in studies]
    untuned = [row for row in rows if not row.tuned]
    paths = [ledger.write_trials(directory, [here.trials for here in found])]
    drawn = plots.write_plots(directory / pictures.DIRECTORY, found, score)
    results = [read_cell(store, trial.cell) for here in found for trial in here.trials if trial.ended]
    stale = sum(result is not None and result.stale(code) is not None for result in results)
    paths.append(report.write_report(directory / report.FILE, suite.title, spec, score, found, untuned, drawn, stale))
    winners = [_winner(row, found) for row in rows]
    paths.append(best.write_best(directory / pictures.BEST, suite, winners, catalogue, facts))
    return [*paths, *(file for files in drawn.values() for file in files)]


def _winner(row: Row, found: Sequence[Found]) -> best.Winner:
    here = next((here for here in found if here.row is row), None)
    if here is None:
        return best.Winner(row, None, "nothing to tune" if not row.tuned else "not swept")
    leader = best_trial(here.trials)
    ended = sum(trial.ended for trial in here.trials)
    if leader is None or leader.value is None:
        return best.Winner(row, None, f"as the suite has it: none of {ended} trials ended well")
    score = f"{row.metric.said(leader.value)} on validation, the best of {ended} trials"
    return best.Winner(row, leader.values, f"{row.text(leader.values)}: {score}")
