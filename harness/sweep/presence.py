"""Which processes of a sweep are alive. Owns a file a process, locked by the operating system for as long as it lives,
and, for machines that share only a database, a beat in it. Knows no trial.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from pathlib import Path
from types import TracebackType

import filelock
import optuna

from harness.store.atomic import make_directory

BEAT_SECONDS = 20.0
SILENT_SECONDS = 120.0  # after so long without a beat a process elsewhere counts as dead
_ATTRIBUTE = "alive "


class Presence:
    """This process in a sweep, for the length of a `with` block."""

    def __init__(self, directory: Path, beats_in: optuna.Study | None = None) -> None:
        """
        Args:
            directory: of the sweep's results.
            beats_in: a study of the database that machines without a common disk share; None for the journal, which is
                on a common disk by itself.
        """
        self.token = secrets.token_hex(8)
        self._directory = directory / "processes"
        self._beats_in = beats_in
        self._lock = filelock.FileLock(self._path(self.token), thread_local=False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="beat", daemon=True)

    def alive(self, token: str) -> bool:
        """Whether the process of that name lives."""
        if token == self.token:
            return True
        path = self._path(token)
        if path.exists():
            lock = filelock.FileLock(path, timeout=0, thread_local=False)
            try:
                lock.acquire()
            except filelock.Timeout:
                return True
            lock.release()
            return False
        if self._beats_in is None:
            return False
        last = self._beats_in.user_attrs.get(_ATTRIBUTE + token)
        return last is not None and time.time() - float(last) < SILENT_SECONDS

    def __enter__(self) -> Presence:
        make_directory(self._directory)
        for path in self._directory.glob("*.lock"):
            if not self.alive(path.stem):
                path.unlink(missing_ok=True)
        self._lock.acquire()
        if self._beats_in is not None:
            self._say(time.time())
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
            with contextlib.suppress(Exception):  # the database is gone: so is whoever would read it
                self._say(0.0)
        self._lock.release()
        self._path(self.token).unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        return self._directory / f"{token}.lock"

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(Exception):  # a database that is away for a while: the next beat tells
                self._say(time.time())

    def _say(self, when: float) -> None:
        assert self._beats_in is not None
        self._beats_in.set_user_attr(_ATTRIBUTE + self.token, when)
