"""The store of cells. Owns the directory tree below its root, and says what in it may be believed.

    ROOT/ID/cell.json      the cell in words, written when it starts; for readers, never trusted
            checkpoint.pt  the last checkpoint, replaced whole, sealed with the cell's id and a SHA-256
            result.json    written last, whole: its presence, validity and id mean that the cell has ended
            progress.json  while it runs, where it stands, every few seconds; believed only while the lock is held
            lock           held through the operating system by the process that runs the cell; empty

Every write replaces a file atomically (`atomic.py`), so a process killed at any byte leaves each file old or new. Only
the holder of a cell's lock writes into its directory. The tree may be copied and merged (rsync) and read while others
write; a directory that holds another cell's content is never served. Nothing here knows torch, suites or what a
checkpoint contains.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import filelock
from pydantic import ValidationError

from harness.store.atomic import StoreError, explained, make_directory, sweep, write_bytes, write_text
from harness.store.progress import RunProgress
from harness.store.result import RESULT_VERSION, Result
from harness.suite.cell import ID_LENGTH, SCHEMA_VERSION, Cell

DEFAULT_ROOT = Path("results/cells")
State = Literal["done", "failed", "pruned", "running", "interrupted", "pending"]

_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_SEAL = b"\nharness checkpoint of cell %s, sha-256 %s\n"  # behind the payload, where torch.load does not mind it
_SEAL_LENGTH = len(_SEAL) - 4 + ID_LENGTH + 64
_PATIENCE_SECONDS = 0.2  # longer than another process's look at the lock, which must not pass for a runner

_log = logging.getLogger(__name__)


class CellBusy(Exception):
    """Another live process runs this cell."""


class Store:
    """Cells on disk below `root`, by id. Reading never creates anything; methods that write raise `StoreError`."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root

    def directory(self, cell_id: str) -> Path:
        """Where the cell's files are. Raises ValueError if this is no cell id, so that no path can be smuggled in."""
        if not _ID.fullmatch(cell_id):
            raise ValueError(f"{cell_id!r} is not a cell id: {ID_LENGTH} hexadecimal digits are expected")
        return self.root / cell_id

    def ids(self) -> list[str]:
        """Ids that have a directory, in order; whatever else lies in the root is left alone."""
        try:
            return sorted(path.name for path in self.root.iterdir() if _ID.fullmatch(path.name) and path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explained(error, f"cannot read the store {self.root}", self.root) from error

    def results(self) -> Iterator[Result]:
        """Every result that may be believed, done or failed, in the order of ids."""
        for cell_id in self.ids():
            if (result := self.result(cell_id)) is not None:
                yield result

    def result(self, cell_id: str) -> Result | None:
        """The cell's result, or None if there is none that may be believed; `why_not` then says why."""
        return self._read(cell_id)[0]

    def why_not(self, cell_id: str) -> str | None:
        """Why `result` gives None for this cell; None if it gives a result."""
        return self._read(cell_id)[1]

    def state(self, cell_id: str) -> State:
        """`running` while a live process holds the lock (this one included), else by the result, else `interrupted`
        if there is a checkpoint to go on from, else `pending`."""
        if self._locked(cell_id):
            return "running"
        if (result := self.result(cell_id)) is not None:
            return result.status
        return "interrupted" if (self.directory(cell_id) / "checkpoint.pt").exists() else "pending"

    def begin(self, cell: Cell) -> None:
        """Note which cell the directory is for, and forget how far a dead process had come with it. Call it with the
        lock held."""
        self.drop_progress(cell.id)
        text = json.dumps({"id": cell.id, "cell": cell.model_dump(mode="json")}, indent=2, sort_keys=True)
        write_text(self.directory(cell.id) / "cell.json", text + "\n")

    def save(self, result: Result) -> None:
        """Write the result, in place of an older one. Call it with the lock held.

        Raises:
            ValueError: the id is not the cell's, or the result would not read back as the same cell's.
        """
        text = result.model_dump_json(indent=1)  # NaN in the diagnostics becomes null: JSON has no other word for it
        read_back, reason = _parse(text.encode(), result.id)
        if read_back is None:
            raise ValueError(f"result of cell {result.id} not saved, since it would not be served again: {reason}")
        write_text(self.directory(result.id) / "result.json", text + "\n")

    @contextlib.contextmanager
    def lock(self, cell_id: str) -> Iterator[None]:
        """Hold the cell for this process, without waiting. A process that dies, however, holds nothing any more.

        Raises:
            CellBusy: another process, or another thread of this one, holds it.
            StoreError: the directory cannot be written, or its file system has no locks.
        """
        directory = self.directory(cell_id)
        make_directory(directory)
        lock = filelock.FileLock(directory / "lock", timeout=_PATIENCE_SECONDS, thread_local=False)
        try:
            lock.acquire(poll_interval=0.02)
        except filelock.Timeout as error:
            raise CellBusy(
                f"cell {cell_id} is being run by another process (its lock {directory / 'lock'} is held)"
            ) from error
        except (OSError, NotImplementedError) as error:
            reason = error if isinstance(error, OSError) else OSError(str(error))
            raise explained(reason, f"cannot lock cell {cell_id} in {directory}", directory) from error
        try:
            if isinstance(
                lock, filelock.SoftFileLock
            ):  # what filelock becomes where flock is missing; it outlives its owner
                raise StoreError(
                    f"cannot lock cell {cell_id}: the file system of {directory} has no locks; choose another place"
                )
            sweep(directory)  # nobody else writes here now: what is left is a killed process's
            yield
        finally:
            lock.release()

    def write_checkpoint(self, cell_id: str, payload: bytes | bytearray | memoryview) -> None:
        """Replace the cell's checkpoint; `torch.load` reads the file, `load_checkpoint` checks it too."""
        digest = hashlib.sha256(payload).hexdigest()
        seal = _SEAL % (cell_id.encode(), digest.encode())
        write_bytes(self.directory(cell_id) / "checkpoint.pt", payload, seal)

    def load_checkpoint(self, cell_id: str) -> bytes | None:
        """The payload last written for this cell; None if there is none, or if it is damaged or another cell's, which
        is logged as a warning."""
        path = self.directory(cell_id) / "checkpoint.pt"
        data = _bytes(path)
        if data is None:
            return None
        payload, seal = data[:-_SEAL_LENGTH], data[-_SEAL_LENGTH:]
        if seal == _SEAL % (cell_id.encode(), hashlib.sha256(payload).hexdigest().encode()):
            return payload
        _log.warning("%s is damaged or belongs to another cell: it is not used, and training starts over", path)
        return None

    def drop_checkpoint(self, cell_id: str) -> None:
        """Remove the cell's checkpoint, if there is one. Call it with the lock held."""
        _remove(self.directory(cell_id) / "checkpoint.pt")

    def write_progress(self, cell_id: str, progress: RunProgress) -> None:
        """Say where the running cell stands; not flushed to the disk. Call it with the lock held."""
        data = progress.model_dump_json().encode()
        write_bytes(self.directory(cell_id) / "progress.json", data, durable=False)

    def read_progress(self, cell_id: str) -> RunProgress | None:
        """Where a running cell stands; None if no live process holds its lock, or it has not said anything yet."""
        data = _bytes(self.directory(cell_id) / "progress.json")
        if data is None or not self._locked(cell_id):
            return None
        try:
            return RunProgress.model_validate_json(data)
        except ValidationError:  # of another version of this harness
            return None

    def drop_progress(self, cell_id: str) -> None:
        """Remove what was said of a cell that runs no more. Call it with the lock held."""
        _remove(self.directory(cell_id) / "progress.json")

    def _read(self, cell_id: str) -> tuple[Result | None, str | None]:
        data = _bytes(self.directory(cell_id) / "result.json")
        return (None, "it has no result yet") if data is None else _parse(data, cell_id)

    def _locked(self, cell_id: str) -> bool:
        """Whether a process holds the lock; a shared look that neither writes nor disturbs other lookers."""
        try:
            file = (self.directory(cell_id) / "lock").open("rb")
        except OSError:  # no lock file: nobody ever ran it
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:  # anything else: no locks on this file system, so nobody can hold one
                return error.errno in {errno.EAGAIN, errno.EACCES}
        return False


def _parse(data: bytes, cell_id: str) -> tuple[Result | None, str | None]:
    """The result in `data` if it may be served for `cell_id`, else the reason why it may not."""
    try:
        raw = json.loads(data)
    except ValueError:
        return None, "result.json is truncated or not JSON"
    if not isinstance(raw, dict) or raw.get("version") != RESULT_VERSION:
        found = raw.get("version") if isinstance(raw, dict) else None
        return None, f"result.json has schema version {found!r}, and this harness reads {RESULT_VERSION}"
    try:
        result = Result.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, f"result.json does not fit the schema at {where}: {first['msg']} (cell schema {SCHEMA_VERSION})"
    if result.id != cell_id or result.cell.id != cell_id:
        return None, f"result.json is another cell's: its id is {result.id}, that of its content {result.cell.id}"
    return result, None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise explained(error, f"cannot remove {path}", path.parent) from error


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise explained(error, f"cannot read {path}", path.parent) from error
