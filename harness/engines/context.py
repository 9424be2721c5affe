"""What all tasks of one command share. Owns nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.engines.execution import Execution
from harness.progress import Watcher
from harness.spec.collapse import CollapseRule
from harness.store.provenance import Code
from harness.store.store import Store


@dataclass(frozen=True)
class Context:
    """Where results go, what code runs, how and where, who watches."""

    store: Store
    code: Code
    execution: Execution
    watcher: Watcher
    should_stop: Callable[[], bool]
    weights: Mapping[str, Path] = field(default_factory=dict)
    """SHA-256 -> file, of the weights that pretrainings begin with."""
    rule: CollapseRule = field(default_factory=CollapseRule)
    """By which lines of progress call a run collapsed."""
