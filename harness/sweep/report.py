"""What a sweep has found, as Markdown: the best setting of each row, what it cost, and what to be wary of. Owns the
text of `sweep.md`; the same trials give the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.markdown import grid, prose
from harness.analysis.tables import Table
from harness.progress import duration
from harness.store.atomic import write_text
from harness.suite.planned import shown
from harness.suite.search import SweepSpec
from harness.sweep.importance import importances
from harness.sweep.progress import best
from harness.sweep.rows import Row, final_seeds
from harness.sweep.trials import Trial

FILE = "sweep.md"


@dataclass(frozen=True)
class Found:
    """One row's trials."""

    row: Row
    trials: Sequence[Trial]
    budget: int


def write_report(
    path: Path,
    title: str,
    spec: SweepSpec,
    score: str,
    found: Sequence[Found],
    untuned: Sequence[Row],
    pictures: Mapping[str, Sequence[Path]],
    stale: int,
) -> Path:
    """Write `sweep.md`.

    Args:
        score: what the trials are judged by, as tables head it.
        untuned: rows that have none of the settings.
        pictures: heading -> PNG files beside the report.
        stale: trials whose result is of older code.
    """
    parts = [f"# {prose(title)}: the search", _opening(spec, score, found)]
    parts += ["## Best settings", grid(_best(spec, score, found))]
    parts += ["## Importance", _importances_text(), grid(_importances(found))]
    parts += ["## Notes", "\n".join(f"- {prose(line)}" for line in notes(spec, found, untuned, stale))]
    for heading, files in pictures.items():
        parts += [f"## {heading}", *(f"![{heading}]({file.relative_to(path.parent).as_posix()})" for file in files)]
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def _opening(spec: SweepSpec, score: str, found: Sequence[Found]) -> str:
    seeds = ", ".join(map(str, final_seeds(spec)))
    ended = sum(trial.ended for here in found for trial in here.trials)
    way = "asynchronous" if spec.asynchronous else f"batches of {spec.batch}"
    pruner = "no pruning" if spec.pruner == "none" else f"pruning by {spec.pruner.replace('_', ' ')} on the k-NN curve"
    budget = sum(here.budget for here in found)
    return (
        f"{score} on a validation split held out of the training images; the test split was not looked at. Sampler "
        f"{spec.sampler}, seed {spec.seed}, {way}, {pruner}; {ended} of {budget} trials, the same budget for every "
        f"row. `best.yaml` runs the winners on all training images with seeds {seeds}, which no trial had, and scores "
        "them on the test split."
    )


def _best(spec: SweepSpec, score: str, found: Sequence[Found]) -> Table:
    names = list(dict.fromkeys(s.name for here in found for s in here.row.space.settings))
    header = ("method", "dataset", *names, f"validation {score}", "trials", "pruned", "failed", "time")
    rows = []
    for here in found:
        leader = best(here.trials)
        values = [shown(leader.values[n]) if leader and n in leader.values else "–" for n in names]
        value = here.row.metric.text(leader.value) if leader and leader.value is not None else "–"
        states = Counter(trial.state for trial in here.trials)
        pruned = str(states["pruned"]) if spec.pruner == "none" or here.row.prune else "not pruned"
        ended = sum(trial.ended for trial in here.trials)
        time = duration(spent(here.trials))
        counts = [f"{ended} of {here.budget}", pruned, str(states["failed"]), time]
        rows.append((here.row.name, here.row.dataset, *values, value, *counts))
    return Table("", header, tuple(rows), labels=2)


def spent(trials: Sequence[Trial]) -> float:
    """Seconds of training and evaluation."""
    return sum(trial.seconds or 0.0 for trial in trials)


def _importances_text() -> str:
    return (
        "Share of the variance of the validation score that each setting explains by itself or with others (fANOVA, on "
        "trials that ended). Of few trials it is a hint, not a measurement."
    )


def _importances(found: Sequence[Found]) -> Table:
    names = list(dict.fromkeys(s.name for here in found for s in here.row.space.settings))
    rows = []
    for here in found:
        shares = importances(here.row, here.trials)
        texts = [f"{shares[name]:.2f}" if name in shares else "–" for name in names]
        rows.append((here.row.name, here.row.dataset, *texts))
    return Table("", ("method", "dataset", *names), tuple(rows), labels=2)


def notes(spec: SweepSpec, found: Sequence[Found], untuned: Sequence[Row], stale: int) -> list[str]:
    """What a reader should know before believing the table."""
    lines = []
    for here in found:
        leader = best(here.trials)
        if leader is None:
            lines.append(f"{here.row.title}: no trial has ended well, so best.yaml has the suite's own settings")
            continue
        for setting in here.row.space.settings:
            where = setting.domain.edge(leader.values[setting.name])
            if where:
                value = shown(leader.values[setting.name])
                lines.append(
                    f"warning: {here.row.title}: the best {setting.name}, {value}, is {where}: the optimum may lie "
                    "outside; widen the range and sweep again"
                )
    unfinished = [here for here in found if sum(t.ended for t in here.trials) < here.budget]
    if unfinished:
        lines.append(f"not finished, so budgets may differ: {', '.join(here.row.title for here in unfinished)}")
    for here in found:
        if here.budget < spec.trials and spec.sampler == "grid":
            lines.append(f"{here.row.title}: the grid has only {here.budget} points")
        failed = sum(trial.state == "failed" for trial in here.trials)
        if failed:
            lines.append(f"{here.row.title}: {failed} trials failed (harness show tells why) and count as the worst")
    lines += _pruning(spec, found)
    if untuned:
        names = ", ".join(row.title for row in untuned)
        lines.append(f"nothing to tune, so in best.yaml as the suite has them: {names}")
    if stale:
        lines.append(f"{stale} trials are results of older code; they were not run again")
    lines.append("the winning score is the best of many on one split, so it flatters; the final cells do not")
    return lines


def _pruning(spec: SweepSpec, found: Sequence[Found]) -> list[str]:
    if spec.pruner == "none":
        return []
    lines = []
    for here in found:
        if not here.row.prune:
            why = here.row.reason or "its early curve misleads"
            lines.append(f"{here.row.title} was not pruned, so its trials cost more: {why}")
    return lines
