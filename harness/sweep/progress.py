"""What a sweep shows while it runs: for each study, trials done, running and pruned, and the best so far. Cells and the
time left are shown by the run's own watcher.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.progress import TaskID

from harness.progress import PlainWatcher, RichWatcher
from harness.sweep.trials import Outcome, RowStudy, StudyResult

_SHOWN: tuple[Outcome, ...] = ("done", "pruned", "failed", "running")


class SweepProgress:
    """A bar a study in a terminal, a line whenever a study has changed elsewhere."""

    def __init__(self, watcher: PlainWatcher | RichWatcher, studies: Sequence[RowStudy]) -> None:
        self._watcher = watcher
        self._ended: dict[str, int] = {}
        self._bars: dict[str, TaskID] = {}
        for study in studies:
            result = study.result()
            self._ended[result.row.title] = result.ended
            if isinstance(watcher, RichWatcher):
                title = escape(result.row.title)
                self._bars[result.row.title] = watcher.bars.add_task(title, total=result.budget, state="")
                self.update(result)

    def update(self, result: StudyResult) -> None:
        """Show a study's trials as they are now."""
        title, text = result.row.title, describe(result)
        if isinstance(self._watcher, RichWatcher):
            self._watcher.bars.update(self._bars[title], completed=result.ended, state=escape(text))
        elif result.ended != self._ended[title]:
            self._watcher.note(f"{title}: {result.ended}/{result.budget} trials, {text}")
        self._ended[title] = result.ended


def describe(result: StudyResult) -> str:
    """A study in a line: `8 done, 1 pruned, 2 running, best 94.44 % (lr=0.003)`."""
    parts = [f"{result.count(outcome)} {outcome}" for outcome in _SHOWN if result.count(outcome)]
    best = result.best
    if best is not None and best.value is not None:
        parts.append(f"best {result.row.metric.said(best.value)} ({result.row.text(best.values)})")
    return ", ".join(parts)
