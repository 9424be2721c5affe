"""What a sweep shows while it runs: for each study, trials done, running and pruned, and the best so far. Owns no state
of the sweep; cells and the time left are the run's own watcher's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.markup import escape
from rich.progress import TaskID

from harness.progress import PlainWatcher, RichWatcher
from harness.sweep.trials import Trial, Trials


class Board:
    """A bar a study in a terminal, a line whenever a study has changed elsewhere."""

    def __init__(self, watcher: PlainWatcher | RichWatcher, studies: Sequence[Trials]) -> None:
        self._watcher = watcher
        self._said: dict[str, int] = {}
        self._bars: dict[str, TaskID] = {}
        for study in studies:
            trials = study.all()
            title = study.row.title
            self._said[title] = sum(trial.ended for trial in trials)
            if isinstance(watcher, RichWatcher):
                self._bars[title] = watcher.bars.add_task(escape(title), total=study.budget, state="")
                self.changed(study, trials)

    def changed(self, study: Trials, trials: Sequence[Trial]) -> None:
        """Show a study's trials as they are now."""
        title = study.row.title
        ended = sum(trial.ended for trial in trials)
        if isinstance(self._watcher, RichWatcher):
            self._watcher.bars.update(self._bars[title], completed=ended, state=escape(standing(trials)))
        elif ended != self._said[title]:
            self._watcher.note(f"{title}: {ended}/{study.budget} trials, {standing(trials)}")
        self._said[title] = ended


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the best value, the earliest of equals; None where none is done."""
    done = [trial for trial in trials if trial.value is not None]
    return max(done, key=lambda trial: (trial.row.metric.sign * (trial.value or 0.0), -trial.index), default=None)


def standing(trials: Sequence[Trial]) -> str:
    """A study in a line: `8 done, 1 pruned, 2 running, best 94.44 % (lr=0.003)`."""
    counts = Counter(trial.state for trial in trials if trial.state != "running" or trial.owner)
    parts = [f"{counts[state]} {state}" for state in ("done", "pruned", "failed", "running") if counts[state]]
    leader = best(trials)
    if leader is not None and leader.value is not None:
        parts.append(f"best {leader.row.metric.said(leader.value)} ({leader.row.text(leader.values)})")
    return ", ".join(parts)
