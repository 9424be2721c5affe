"""What is handed to an engine: tasks, and all that a worker on whatever machine must know to do them. Holds no closure
and no torch; as JSON it is the file that `python -m harness.engines.work` reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from harness.engines.context import Context
from harness.engines.execution import Execution
from harness.engines.task import Task
from harness.spec.collapse import CollapseRule
from harness.spec.identity import Frozen
from harness.store.provenance import Code
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.progress import Watcher


class Job(Frozen):
    """Some tasks of one command. Paths are as it has them: a worker runs in its working directory."""

    tasks: tuple[Task, ...]
    """Done one after another."""
    store: Path
    """Root of the cells."""
    execution: Execution
    code: Code
    """That the command has read. What a worker loads has to be the same."""
    extensions: tuple[Path, ...] = ()
    """The users' own files, as a suite names them."""
    weights: dict[str, Path] = Field(default={})
    """SHA-256 -> file, of the weights that pretrainings begin with."""
    rule: CollapseRule = CollapseRule()
    """By which lines of progress call a run collapsed."""

    def of(self, *tasks: Task) -> Job:
        """The job with these tasks instead."""
        return self.model_copy(update={"tasks": tasks})

    def context(self, watcher: Watcher, should_stop: Callable[[], bool] = lambda: False) -> Context:
        """What the stages of its tasks share."""
        store = Store(self.store)
        return Context(store, self.code, self.execution, watcher, should_stop, self.weights, self.rule)
