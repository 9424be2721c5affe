"""Which processes of a sweep are alive: a file for each, locked by the operating system for as long as it lives, and,
for machines that share only a database, a heartbeat in it. Knows no trial.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from pathlib import Path

import filelock
import optuna

from harness.store.atomic import make_directory

HEARTBEAT_SECONDS = 20.0
DEAD_AFTER_SECONDS = 120.0  # without a heartbeat, for a process on another disk
HEARTBEAT = "heartbeat "


class SweepProcess:
    """This process in a sweep, for the length of a `with` block."""

    def __init__(self, directory: Path, database: optuna.Study | None = None) -> None:
        """
        Args:
            directory: of the sweep's results.
            database: a study in it takes the heartbeats, where machines do not share a disk.
        """
        self.name = secrets.token_hex(8)
        self._directory, self._database = directory / "processes", database
        self._lock = filelock.FileLock(self._path(self.name), thread_local=False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_heartbeats, name="heartbeat", daemon=True)

    def is_alive(self, name: str) -> bool:
        """Whether the process of that name lives."""
        path = self._path(name)
        if name == self.name:
            return True
        if path.exists():
            try:
                with filelock.FileLock(path, timeout=0, thread_local=False):
                    return False
            except filelock.Timeout:
                return True
        last = self._database.user_attrs.get(HEARTBEAT + name) if self._database else None
        return last is not None and time.time() - float(last) < DEAD_AFTER_SECONDS

    def __enter__(self) -> SweepProcess:
        make_directory(self._directory)
        for path in self._directory.glob("*.lock"):
            if not self.is_alive(path.stem):
                path.unlink(missing_ok=True)
        self._lock.acquire()
        if self._database is not None:
            self._database.set_user_attr(HEARTBEAT + self.name, time.time())
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._database is not None:
            self._thread.join()
            with contextlib.suppress(Exception):  # the database is gone: so is whoever would read it
                self._database.set_user_attr(HEARTBEAT + self.name, 0.0)
        self._lock.release()
        self._path(self.name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.lock"

    def _send_heartbeats(self) -> None:
        assert self._database is not None
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(Exception):  # the database is away for a while: the next heartbeat may arrive
                self._database.set_user_attr(HEARTBEAT + self.name, time.time())
