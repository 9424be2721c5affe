"""Jobs in this process, one at a time: the default engine, and the one to debug in. It cannot outlive a crash, nor end
what hangs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from harness.engines.job import Job
from harness.engines.task import Outcome
from harness.engines.work import work
from harness.progress import Watcher
from methods.entry import MethodEntry


@dataclass
class Inline:
    """See `harness.engines.engine.Engine`."""

    methods: Mapping[str, MethodEntry]
    watcher: Watcher
    should_stop: Callable[[], bool]
    width: int = 1

    def submit(self, job: Job) -> InlineJob:
        return InlineJob(self, job)

    def __enter__(self) -> Inline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


@dataclass(eq=False)
class InlineJob:
    """Runs when it is first polled."""

    engine: Inline
    job: Job
    stopped: bool = False
    endings: dict[str, Outcome] | None = None

    def poll(self) -> dict[str, Outcome]:
        if self.endings is None:
            engine = self.engine
            self.endings = dict(work(self.job, engine.methods, engine.watcher, self._should_stop))
        return self.endings

    def stop(self) -> None:
        self.stopped = True

    def _should_stop(self) -> bool:
        return self.stopped or self.engine.should_stop()
