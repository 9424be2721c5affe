"""Where trials are stored: Optuna's storages and studies. Owns what is noted with a study, and when one is refused.

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
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.store.atomic import make_directory
from harness.suite.search import SweepSpec
from harness.sweep.rows import SweepError, SweepRow

JOURNAL = "study.journal"
PACKAGES = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""By a database driver's module: the package to install, where its name is another."""

SEARCH = "search"
"""A study's attribute: what all of its trials have in common."""
BEGIN_ANEW = "save the suite under another name to begin anew"
ATTEMPTS, WAIT_SECONDS = 4, 0.5


def silence_optuna() -> None:
    """Let Optuna log errors only: progress is ours to show, and its experimental parts are used on purpose."""
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
    _drop_torn_line(path, lock)
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


def _drop_torn_line(path: Path, lock: _SystemLock) -> None:
    """Drop a last line that a killed writer did not finish, which would make the next one unreadable."""
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

    shown = without_password(url)
    try:
        return _connect(url)
    except ArgumentError as error:
        raise SweepError(f"--storage {shown}: not a database URL, such as postgresql://user@host/sweeps") from error
    except ImportError as error:
        module = getattr(error.__cause__, "name", None) or "the driver"
        package = PACKAGES.get(module, module)
        raise SweepError(f"--storage {shown}: its driver is not installed: pip install {package}") from error
    except RuntimeError as error:  # Optuna's word for a schema of another version
        raise SweepError(f"--storage {shown}: {error}") from error
    except (SQLAlchemyError, StorageInternalError) as error:
        raise SweepError(f"--storage {shown}: the database cannot be reached: {database_reason(error)}") from error


def _connect(url: str) -> BaseStorage:
    """With its tables, which another process that begins at the same time may make first."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for attempt in range(ATTEMPTS):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except (IntegrityError, ProgrammingError):
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(WAIT_SECONDS)
    raise AssertionError


def database_reason(error: Exception) -> str:
    """The first line of what a database's driver says."""
    return str(getattr(error, "orig", None) or error.__cause__ or error).strip().splitlines()[0]


def without_password(text: str) -> str:
    """A text as messages show it, without the password of a URL in it."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def study_name(sweep: str, row: SweepRow) -> str:
    """Under which a row's study is stored."""
    return f"{sweep}: {row.title}"


def open_studies(storage: BaseStorage, sweep: str, rows: Sequence[SweepRow], spec: SweepSpec) -> list[optuna.Study]:
    """The rows' studies, made where there is none yet. All are checked before any is made.

    Raises:
        SweepError: a study is another search's, or of another Optuna.
    """
    stored = {summary.study_name: summary.user_attrs for summary in optuna.get_all_study_summaries(storage)}
    names = [study_name(sweep, row) for row in rows]
    searches = [json.loads(json.dumps({"metric": spec.metric, **row.record()})) for row in rows]
    for name, search in zip(names, searches, strict=True):
        _check(name, stored.get(name, {}), search)
    studies = []
    for row, name, search in zip(rows, names, searches, strict=True):
        direction: Literal["maximize", "minimize"] = "maximize" if row.metric.higher_is_better else "minimize"
        study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
        if SEARCH not in stored.get(name, {}):
            study.set_user_attr("optuna", optuna.__version__)
            study.set_user_attr(SEARCH, search)
        studies.append(study)
    return studies


def has_studies(storage: BaseStorage, sweep: str, rows: Sequence[SweepRow]) -> bool:
    """Whether any row was ever swept."""
    names = {study_name(sweep, row) for row in rows}
    return any(summary.study_name in names for summary in optuna.get_all_study_summaries(storage))


def _check(name: str, attributes: dict[str, Any], search: dict[str, Any]) -> None:
    if "record" in attributes:
        raise SweepError(
            f"the study `{name}` was begun by an older version of this harness: {BEGIN_ANEW} (finished cells are not "
            "run again)"
        )
    if SEARCH not in attributes:  # new, or its making was cut short
        return
    version = str(attributes["optuna"])
    if version.split(".")[0] != optuna.__version__.split(".")[0]:
        raise SweepError(
            f"the study `{name}` was begun with Optuna {version}, and this is {optuna.__version__}, whose samplers "
            f"differ: install optuna=={version}, or {BEGIN_ANEW} (finished cells are not run again)"
        )
    changes = list(_changes(attributes[SEARCH], search))
    if changes:
        raise SweepError(
            f"the study `{name}` was begun as another search: {'; '.join(changes[:3])}. Its trials cannot be mixed "
            f"with new ones: undo the change, or {BEGIN_ANEW} (cells that are in both are not run again)"
        )


def _changes(before: Any, now: Any, path: str = "") -> list[str]:
    """What differs, in words."""
    if isinstance(before, dict) and isinstance(now, dict) and not {"low", "choices"} & {*before, *now}:
        keys = dict.fromkeys([*before, *now])
        return [text for key in keys for text in _changes(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))]
    return [] if before == now else [f"{path} was {json.dumps(before)}, and is {json.dumps(now)}"]
