"""The store. Owns the directory tree below its root, and says what in it may be believed.

    ROOT/ID/spec.json           which pretraining the directory is for, written when it starts; for readers only
            checkpoint.pt       the last checkpoint, replaced whole, sealed with the id and a SHA-256
            encoder.safetensors, heads.safetensors    what training left; heads until the description is written
            curves/             readings during training: training.json, and a file a monitor
            pretraining.json    written after these, whole: its presence and seal mean that the pretraining has ended
            description.json    FLOPs, parameters, collapse diagnostics; arrays/ what only pictures need
            evaluations/EVALUATION_ID.json    one question each
            progress.json       while it runs, where it stands, every few seconds; believed only while the lock is held
            lock                held through the operating system by the process that works here; empty

Every write replaces a file atomically (`atomic.py`), so a process killed at any byte leaves each file old or new; every
record is sealed (`sealed.py`). Only the holder of a directory's lock writes into it. The tree may be copied and merged
(rsync) and read while others write. Nothing here knows torch, suites or what a checkpoint contains.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import filelock
from pydantic import ValidationError

from harness.spec.identity import ID_LENGTH
from harness.spec.models import Pretraining
from harness.store.atomic import StoreError, explained, make_directory, sweep, write_bytes, write_text
from harness.store.progress import RunProgress
from harness.store.records import Arrays, Curve, Description, EncoderFile, EvaluationRecord, PretrainingRecord
from harness.store.sealed import Sealed, read_sealed, write_sealed

DEFAULT_ROOT = Path("results/cells")
State = Literal["done", "failed", "pruned", "running", "interrupted", "pending"]

SPEC, RECORD, DESCRIPTION, PROGRESS = "spec.json", "pretraining.json", "description.json", "progress.json"
EVALUATIONS, CURVES, ARRAYS = "evaluations", "curves", "arrays"
ENCODER, HEADS, CHECKPOINT = "encoder.safetensors", "heads.safetensors", "checkpoint.pt"
LOCK = "lock"
TRAINING_CURVE = "training"
FIRST_VERSION = "result.json"  # what version 1 of the store left

_FILES = (SPEC, RECORD, DESCRIPTION, PROGRESS, ENCODER, HEADS, CHECKPOINT)
_FOLDERS = (EVALUATIONS, CURVES, ARRAYS)
_REMOVED = ".removed-"  # begins the name of a directory that is being removed
_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_SEAL = b"\nharness checkpoint of %s, sha-256 %s\n"  # behind the payload, where torch.load does not mind it
_SEAL_LENGTH = len(_SEAL) - 4 + ID_LENGTH + 64
_PATIENCE_SECONDS = 0.2  # longer than another process's look at the lock, which must not pass for a runner

_log = logging.getLogger(__name__)


class Busy(Exception):
    """Another live process works on this pretraining."""


class Store:
    """Pretrainings on disk below `root`, by id. Reading never creates anything; methods that write raise `StoreError`,
    and are called with the lock held."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root

    def directory(self, id_: str) -> Path:
        """Where a pretraining's files are. ValueError if this is no id, so that no path can be smuggled in."""
        if not _ID.fullmatch(id_):
            raise ValueError(f"{id_!r} is not an id: {ID_LENGTH} hexadecimal digits are expected")
        return self.root / id_

    def ids(self) -> list[str]:
        """Ids that have a directory, in order; whatever else lies in the root is left alone."""
        try:
            return sorted(path.name for path in self.root.iterdir() if _ID.fullmatch(path.name) and path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explained(error, f"cannot read the store {self.root}", self.root) from error

    def ids_of_first_version(self) -> list[str]:
        """Directories that hold a result of version 1, which is not read any more."""
        directories = {id_: self.directory(id_) for id_ in self.ids()}
        return [id_ for id_, at in directories.items() if (at / FIRST_VERSION).exists() and not (at / RECORD).exists()]

    # Records

    def read_pretraining(self, id_: str) -> Sealed[PretrainingRecord]:
        """How the pretraining ended, if it has and may be believed."""
        return read_sealed(self.directory(id_) / RECORD, PretrainingRecord, id_)

    def pretraining(self, id_: str) -> PretrainingRecord | None:
        """The believed record of `read_pretraining`."""
        return self.read_pretraining(id_).record

    def pretrainings(self) -> Iterator[PretrainingRecord]:
        """Every record that may be believed, in the order of ids."""
        for id_ in self.ids():
            if (record := self.pretraining(id_)) is not None:
                yield record

    def save_pretraining(self, record: PretrainingRecord) -> None:
        """Write how it ended. Encoder and curves are there already."""
        write_sealed(self.directory(record.id) / RECORD, record)

    def read_description(self, id_: str) -> Sealed[Description]:
        """What the encoder is like, if it was described and may be believed."""
        return read_sealed(self.directory(id_) / DESCRIPTION, Description, id_)

    def save_description(self, description: Description) -> None:
        write_sealed(self.directory(description.id) / DESCRIPTION, description)

    def evaluation_ids(self, id_: str) -> list[str]:
        """Evaluations of a pretraining that have a file."""
        return sorted(path.stem for path in (self.directory(id_) / EVALUATIONS).glob("*.json"))

    def read_evaluation(self, id_: str, evaluation: str) -> Sealed[EvaluationRecord]:
        """What an evaluation gave, whichever encoder it asked."""
        return read_sealed(self._evaluation_path(id_, evaluation), EvaluationRecord, evaluation)

    def save_evaluation(self, record: EvaluationRecord) -> None:
        write_sealed(self._evaluation_path(record.spec.pretraining, record.id), record)

    def _evaluation_path(self, id_: str, evaluation: str) -> Path:
        return self.directory(id_) / EVALUATIONS / f"{evaluation}.json"

    def read_curve(self, id_: str, name: str = TRAINING_CURVE) -> Sealed[Curve]:
        """The training's readings, or a monitor's by its id."""
        curve = read_sealed(self.directory(id_) / CURVES / f"{name}.json", Curve, id_)
        if curve.record is not None and (own := _curve_name(curve.record)) != name:
            return Sealed(None, reason=f"{name}.json is another one's: {own}")
        return curve

    def save_curve(self, curve: Curve) -> None:
        write_sealed(self.directory(curve.id) / CURVES / f"{_curve_name(curve)}.json", curve)

    def read_arrays(self, id_: str, name: str, owner: str) -> Sealed[Arrays]:
        """What only pictures need: `spectra`, `hits-EVALUATION_ID`, `sample-SCORED`; `owner` is the id in it."""
        return read_sealed(self.directory(id_) / ARRAYS / f"{name}.json", Arrays, owner)

    def save_arrays(self, id_: str, name: str, arrays: Arrays) -> None:
        write_sealed(self.directory(id_) / ARRAYS / f"{name}.json", arrays)

    # Weights

    def write_encoder(self, id_: str, data: bytes) -> EncoderFile:
        """Keep the encoder's weights; what records it by."""
        write_bytes(self.directory(id_) / ENCODER, data)
        return EncoderFile(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    def has_encoder(self, record: PretrainingRecord) -> bool:
        """Whether the encoder that the record speaks of is there by its size; True where it has no weights."""
        if record.encoder is None:
            return record.status == "done"
        try:
            return (self.directory(record.id) / ENCODER).stat().st_size == record.encoder.size_bytes
        except OSError:
            return False

    def read_encoder(self, record: PretrainingRecord) -> bytes | None:
        """The weights, if they are those of the record; what is damaged is logged as a warning."""
        data = _bytes(self.directory(record.id) / ENCODER)
        if data is None or record.encoder is None:
            return None
        if hashlib.sha256(data).hexdigest() == record.encoder.sha256:
            return data
        _log.warning("%s is damaged or of another run: it is not used", self.directory(record.id) / ENCODER)
        return None

    def write_heads(self, id_: str, data: bytes) -> None:
        write_bytes(self.directory(id_) / HEADS, data)

    def read_heads(self, id_: str) -> bytes | None:
        return _bytes(self.directory(id_) / HEADS)

    def drop(self, id_: str, name: str) -> int:
        """Remove one file of a directory (ENCODER, HEADS, CHECKPOINT), if it is there; the bytes that this freed."""
        path = self.directory(id_) / name
        try:
            size = path.stat().st_size
        except OSError:
            return 0
        _remove(path)
        return size

    # Work under way

    def state(self, id_: str) -> State:
        """`running` while a live process holds the lock (this one included), else by the record, else `interrupted` if
        there is a checkpoint to go on from, else `pending`. Says nothing of evaluations."""
        if self._locked(id_):
            return "running"
        if (record := self.pretraining(id_)) is not None:
            return record.status
        return "interrupted" if (self.directory(id_) / CHECKPOINT).is_file() else "pending"

    def begin(self, pretraining: Pretraining) -> None:
        """Note what the directory is for, and forget how far a dead process had come with it."""
        self.drop_progress(pretraining.id)
        text = json.dumps({"id": pretraining.id, "spec": pretraining.model_dump(mode="json")}, indent=2)
        write_text(self.directory(pretraining.id) / SPEC, text + "\n")

    @contextlib.contextmanager
    def lock(self, id_: str) -> Iterator[None]:
        """Hold the directory for this process, without waiting; a process that dies holds nothing any more. What killed
        writers left in it is removed, and what stands in the way of our files is moved aside.

        Raises:
            Busy: another process, or another thread of this one, holds it.
            StoreError: the directory cannot be written, or its file system has no locks.
        """
        directory = self.directory(id_)
        lock = filelock.FileLock(directory / LOCK, timeout=_PATIENCE_SECONDS, thread_local=False)
        try:
            while True:
                make_directory(directory)
                _make_way([directory / LOCK] if (directory / LOCK).is_dir() else [])
                lock.acquire(poll_interval=0.02)
                if (directory / LOCK).exists():
                    break
                lock.release()  # its holder had removed the directory
        except filelock.Timeout as error:
            raise Busy(f"{id_} is being worked on by another process (its lock {directory / LOCK} is held)") from error
        except (OSError, NotImplementedError) as error:
            reason = error if isinstance(error, OSError) else OSError(str(error))
            raise explained(reason, f"cannot lock {id_} in {directory}", directory) from error
        try:
            # what filelock becomes where flock is missing; it outlives its owner
            if isinstance(lock, filelock.SoftFileLock):
                raise StoreError(
                    f"cannot lock {id_}: the file system of {directory} has no locks; choose another place"
                )
            for folder in (directory, *(directory / name for name in _FOLDERS)):
                sweep(folder)  # nobody else writes here now: what is left is a killed process's
            _make_way(_strangers(directory))
            yield
        finally:
            lock.release()

    def remove(self, id_: str) -> None:
        """Remove a whole directory: first out of sight at once, then from the disk. Call it with the lock held."""
        directory = self.directory(id_)
        aside = self.root / f"{_REMOVED}{id_}-{secrets.token_hex(4)}"
        try:
            directory.rename(aside)
        except OSError as error:
            raise explained(error, f"cannot remove {directory}", self.root) from error
        shutil.rmtree(aside, ignore_errors=True)

    def sweep_removed(self) -> None:
        """Finish what killed processes began to remove."""
        for path in self.root.glob(f"{_REMOVED}*"):
            shutil.rmtree(path, ignore_errors=True)

    def write_checkpoint(self, id_: str, payload: bytes | bytearray | memoryview) -> None:
        """Replace the checkpoint; `torch.load` reads the file, `load_checkpoint` checks it too."""
        digest = hashlib.sha256(payload).hexdigest()
        seal = _SEAL % (id_.encode(), digest.encode())
        write_bytes(self.directory(id_) / CHECKPOINT, payload, seal)

    def load_checkpoint(self, id_: str) -> bytes | None:
        """The payload last written; None if there is none, or if it is damaged or another one's, which is logged as a
        warning."""
        path = self.directory(id_) / CHECKPOINT
        data = _bytes(path)
        if data is None:
            return None
        payload, seal = data[:-_SEAL_LENGTH], data[-_SEAL_LENGTH:]
        if seal == _SEAL % (id_.encode(), hashlib.sha256(payload).hexdigest().encode()):
            return payload
        _log.warning("%s is damaged or belongs to another cell: it is not used, and training starts over", path)
        return None

    def drop_checkpoint(self, id_: str) -> None:
        """Remove the checkpoint, if there is one."""
        self.drop(id_, CHECKPOINT)

    def write_progress(self, id_: str, progress: RunProgress) -> None:
        """Say where the work stands; not flushed to the disk."""
        data = progress.model_dump_json().encode()
        write_bytes(self.directory(id_) / PROGRESS, data, durable=False)

    def read_progress(self, id_: str) -> RunProgress | None:
        """Where running work stands; None if no live process holds its lock, or it has not said anything yet."""
        data = _bytes(self.directory(id_) / PROGRESS)
        if data is None or not self._locked(id_):
            return None
        try:
            return RunProgress.model_validate_json(data)
        except ValidationError:  # of another version of this harness
            return None

    def drop_progress(self, id_: str) -> None:
        """Remove what was said of work that runs no more."""
        _remove(self.directory(id_) / PROGRESS)

    def _locked(self, id_: str) -> bool:
        """Whether a process holds the lock; a shared look that neither writes nor disturbs other lookers."""
        try:
            file = (self.directory(id_) / LOCK).open("rb")
        except OSError:  # no lock file: nobody ever worked here
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:  # anything else: no locks on this file system, so nobody can hold one
                return error.errno in {errno.EAGAIN, errno.EACCES}
        return False


def _curve_name(curve: Curve) -> str:
    return curve.monitor.id if curve.monitor else TRAINING_CURVE


def _strangers(directory: Path) -> list[Path]:
    """Directories where our files belong, and files where our folders do."""
    folders = [directory / name for name in _FOLDERS]
    files = [directory / name for name in _FILES]
    files += [path for folder in folders if folder.is_dir() for path in folder.glob("*.json")]
    wrong = [folder for folder in folders if folder.exists() and not folder.is_dir()]
    return wrong + [file for file in files if file.is_dir()]


def _make_way(strangers: Iterable[Path]) -> None:
    for path in strangers:
        aside = path.with_name(f"{path.name}.aside-{secrets.token_hex(4)}")
        try:
            path.rename(aside)
        except OSError as error:
            raise explained(error, f"cannot move {path} aside", path.parent) from error
        _log.warning("%s is nothing that belongs there: it was moved to %s", path, aside)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise explained(error, f"cannot remove {path}", path.parent) from error


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise explained(error, f"cannot read {path}", path.parent) from error
