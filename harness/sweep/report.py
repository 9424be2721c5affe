"""What a sweep has found, as Markdown: the best setting of each row, what it cost, and what to be wary of. Owns the
text of `sweep.md`; the same trials give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from harness.analysis.markdown import grid, prose
from harness.analysis.tables import Table
from harness.progress import duration
from harness.store.atomic import write_text
from harness.suite.planned import shown
from harness.suite.search import SweepSpec
from harness.sweep.rows import SweepRow, final_seeds
from harness.sweep.trials import StudyResult

FILE = "sweep.md"
MIN_TRIALS = 5  # below which nothing is said of importances


def write_report(
    path: Path,
    title: str,
    spec: SweepSpec,
    score: str,
    results: Sequence[StudyResult],
    untuned: Sequence[SweepRow],
    pictures: Mapping[str, Sequence[Path]],
    stale: int,
) -> Path:
    """Write `sweep.md`.

    Args:
        score: the metric's heading in tables.
        untuned: rows that have none of the settings.
        pictures: heading -> PNG files beside the report.
        stale: trials whose result is of older code.
    """
    names = list(dict.fromkeys(s.name for result in results for s in result.row.space.settings))
    parts = [f"# {prose(title)}: the search", _opening(spec, score, results)]
    parts += ["## Best settings", grid(_best(spec, score, results, names))]
    parts += [
        "## Importance",
        "Share of the variance of the validation score that each setting explains by itself or with others (fANOVA, on "
        "trials that ended). Of few trials it is a hint, not a measurement.",
        grid(_importances(results, names)),
    ]
    parts += ["## Notes", "\n".join(f"- {prose(line)}" for line in notes(spec, results, untuned, stale))]
    for heading, files in pictures.items():
        parts += [f"## {heading}", *(f"![{heading}]({file.relative_to(path.parent).as_posix()})" for file in files)]
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def importances(result: StudyResult) -> dict[str, float]:
    """Setting -> its share, in [0, 1]; {} where there are too few trials, or nothing differs between them."""
    values = [trial.value for trial in result.trials if trial.value is not None]
    varied = [setting.name for setting in result.row.space.settings if not setting.distribution.single()]
    if len(values) < MIN_TRIALS or len(set(values)) == 1 or not varied:
        return {}
    return get_param_importances(result.study, evaluator=FanovaImportanceEvaluator(seed=0), params=varied)


def _opening(spec: SweepSpec, score: str, results: Sequence[StudyResult]) -> str:
    seeds = ", ".join(map(str, final_seeds(spec)))
    order = "asynchronous" if spec.asynchronous else f"batches of {spec.batch}"
    pruner = "no pruning" if spec.pruner == "none" else f"pruning by {spec.pruner.replace('_', ' ')} on the k-NN curve"
    ended, budget = sum(result.ended for result in results), sum(result.budget for result in results)
    return (
        f"{score} on a validation split held out of the training images; the test split was not looked at. Sampler "
        f"{spec.sampler}, seed {spec.seed}, {order}, {pruner}; {ended} of {budget} trials, the same budget for every "
        f"row. `best.yaml` runs the winners on all training images with seeds {seeds}, which no trial had, and scores "
        "them on the test split."
    )


def _best(spec: SweepSpec, score: str, results: Sequence[StudyResult], names: Sequence[str]) -> Table:
    header = ("method", "dataset", *names, f"validation {score}", "trials", "pruned", "failed", "time")
    rows = []
    for result in results:
        row, best = result.row, result.best
        values = [shown(best.values[n]) if best and n in best.values else "–" for n in names]
        value = row.metric.text(best.value) if best and best.value is not None else "–"
        pruned = str(result.count("pruned")) if spec.pruner == "none" or row.prune else "not pruned"
        time = duration(sum(trial.seconds or 0.0 for trial in result.trials))
        counts = [f"{result.ended} of {result.budget}", pruned, str(result.count("failed")), time]
        rows.append((row.name, row.dataset, *values, value, *counts))
    return Table("", header, tuple(rows), labels=2)


def _importances(results: Sequence[StudyResult], names: Sequence[str]) -> Table:
    rows = []
    for result in results:
        shares = importances(result)
        texts = [f"{shares[name]:.2f}" if name in shares else "–" for name in names]
        rows.append((result.row.name, result.row.dataset, *texts))
    return Table("", ("method", "dataset", *names), tuple(rows), labels=2)


def notes(spec: SweepSpec, results: Sequence[StudyResult], untuned: Sequence[SweepRow], stale: int) -> Iterator[str]:
    """What a reader should know before believing the table."""
    for result in results:
        yield from _edges(result)
    unfinished = [result.row.title for result in results if result.ended < result.budget]
    if unfinished:
        yield f"not finished, so budgets may differ: {', '.join(unfinished)}"
    for result in results:
        if result.budget < spec.trials and spec.sampler == "grid":
            yield f"{result.row.title}: the grid has only {result.budget} points"
        if failed := result.count("failed"):
            yield f"{result.row.title}: {failed} trials failed (harness show tells why) and count as the worst"
        if spec.pruner != "none" and not result.row.prune:
            why = result.row.reason or "its early curve misleads"
            yield f"{result.row.title} was not pruned, so its trials cost more: {why}"
    if untuned:
        yield f"nothing to tune, so in best.yaml as the suite has them: {', '.join(row.title for row in untuned)}"
    if stale:
        yield f"{stale} trials are results of older code; they were not run again"
    yield "the winning score is the best of many on one split, so it flatters; the final cells do not"


def _edges(result: StudyResult) -> Iterator[str]:
    best, title = result.best, result.row.title
    if best is None:
        yield f"{title}: no trial has ended well, so best.yaml has the suite's own settings"
        return
    for setting in result.row.space.settings:
        value = best.values[setting.name]
        if edge := setting.edge(value):
            yield (
                f"warning: {title}: the best {setting.name}, {shown(value)}, is {edge}: the optimum may lie outside; "
                "widen the range and sweep again"
            )
