"""Where trials are kept: Optuna's storages and studies. Owns what is said with a study, and when one is refused.

A refused study is left as it was.
"""

from __future__ import annotations

import json
import logging
import re
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.store.atomic import make_directory
from harness.suite.search import SweepSpec
from harness.sweep.rows import Row, SweepError

JOURNAL = "study.journal"
PACKAGES = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""By a database driver's module: the package to install, where its name is another."""

ATTEMPTS, WAIT_SECONDS = 4, 0.5


def quiet() -> None:
    """Let Optuna speak of errors only: progress is ours to show, and the experimental parts are meant."""
    optuna.logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"optuna\..*")


class _SystemLock:
    """The journal's lock by the operating system: a dead process holds nothing."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, thread_local=False)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def open_storage(directory: Path, url: str | None) -> BaseStorage:
    """The journal in a sweep's directory, or a database.

    Raises:
        SweepError: it cannot be opened or read; nothing in it was changed.
    """
    if url is not None:
        return _database(url)
    path = directory / JOURNAL
    make_directory(directory)
    lock = _SystemLock(directory / f"{JOURNAL}.lock")
    _mend(path, lock)
    try:
        backend = JournalFileBackend(str(path), lock_obj=lock)  # type: ignore[arg-type]
        return JournalStorage(backend)
    except OSError as error:
        raise SweepError(f"cannot open the study {path}: {error.strerror or error}") from error
    except Exception as error:  # whatever another version wrote, or something that is no journal
        raise SweepError(
            f"{path} cannot be read by Optuna {optuna.__version__} ({type(error).__name__}: {error}): it is damaged or "
            "another version's; move it away to begin anew (finished cells are not run again), or install that version"
        ) from error


def _mend(path: Path, lock: _SystemLock) -> None:
    """Take off a last line that a killed writer did not finish, which would make the next one unreadable."""
    if not path.exists():
        return
    lock.acquire()
    try:
        with path.open("rb+") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
    finally:
        lock.release()


def _database(url: str) -> BaseStorage:
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    shown = hidden(url)
    try:
        return _connected(url)
    except ArgumentError as error:
        raise SweepError(f"--storage {shown}: not a database URL, such as postgresql://user@host/sweeps") from error
    except ImportError as error:
        module = getattr(error.__cause__, "name", None) or "the driver"
        package = PACKAGES.get(module, module)
        raise SweepError(f"--storage {shown}: its driver is not installed: pip install {package}") from error
    except RuntimeError as error:  # Optuna's word for a schema of another version
        raise SweepError(f"--storage {shown}: {error}") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        why = str(getattr(error, "orig", None) or error.__cause__ or error).strip().splitlines()[0]
        raise SweepError(f"--storage {shown}: the database cannot be reached: {why}") from error


def _connected(url: str) -> BaseStorage:
    """With its tables, which another process that begins at the same time may make first."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(ATTEMPTS - 1):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except (IntegrityError, ProgrammingError):
            time.sleep(WAIT_SECONDS)
    return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def hidden(text: str) -> str:
    """A text as messages show it, without the password of a URL in it."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def study_name(sweep: str, row: Row) -> str:
    """Under which a row's study is stored."""
    return f"{sweep}: {row.title}"


def open_studies(storage: BaseStorage, sweep: str, rows: Sequence[Row], spec: SweepSpec) -> list[optuna.Study]:
    """The rows' studies, made where there is none yet. All are checked before any is made.

    Raises:
        SweepError: a study is another search's, or of another Optuna.
    """
    kept = {summary.study_name: summary.user_attrs for summary in optuna.get_all_study_summaries(storage)}
    names = [study_name(sweep, row) for row in rows]
    records = [json.loads(json.dumps({"metric": spec.metric, **row.record()})) for row in rows]
    for name, record in zip(names, records, strict=True):
        if "record" in kept.get(name, {}):
            _check(name, kept[name], record)
    studies = []
    for row, name, record in zip(rows, names, records, strict=True):
        way: Literal["maximize", "minimize"] = "maximize" if row.metric.higher_is_better else "minimize"
        study = optuna.create_study(storage=storage, study_name=name, direction=way, load_if_exists=True)
        if "record" not in kept.get(name, {}):
            study.set_user_attr("optuna", optuna.__version__)
            study.set_user_attr("record", record)
        studies.append(study)
    return studies


def has_studies(storage: BaseStorage, sweep: str, rows: Sequence[Row]) -> bool:
    """Whether any row was ever swept."""
    names = {study_name(sweep, row) for row in rows}
    return any(summary.study_name in names for summary in optuna.get_all_study_summaries(storage))


def _check(name: str, attributes: dict[str, Any], record: dict[str, Any]) -> None:
    version = str(attributes.get("optuna", "an unknown version"))
    if version.split(".")[0] != optuna.__version__.split(".")[0]:
        raise SweepError(
            f"the study `{name}` was begun with Optuna {version}, and this is {optuna.__version__}, whose samplers "
            f"differ: install optuna=={version}, or save the suite under another name to begin anew (finished cells "
            "are not run again)"
        )
    changes = list(_changes(attributes["record"], record))
    if changes:
        raise SweepError(
            f"the study `{name}` was begun as another search: {'; '.join(changes[:3])}. Its trials cannot be mixed "
            "with new ones: undo the change, or save the suite under another name to begin anew (cells that are in "
            "both are not run again)"
        )


def _changes(before: Any, now: Any, path: str = "") -> list[str]:
    """What differs, in words."""
    if isinstance(before, dict) and isinstance(now, dict) and not {"low", "choices"} & {*before, *now}:
        keys = dict.fromkeys([*before, *now])
        return [text for key in keys for text in _changes(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))]
    return [] if before == now else [f"{path} was {json.dumps(before)}, and is {json.dumps(now)}"]
