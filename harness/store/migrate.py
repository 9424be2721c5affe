"""Results of an older schema version brought forward, one step a version.

Owns the steps, and the order in which a directory moves: the new one is complete before the old one goes, so that a
process killed at any point leaves results that the next one finishes to move. Never runs or trains anything, and never
changes a number; what is damaged stays where it is and is named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from harness.spec import identity
from harness.spec.models import Evaluation, Pretraining
from harness.store.atomic import write_bytes
from harness.store.cell_result import sample_name
from harness.store.records import Arrays, Curve, Description, EvaluationRecord, PretrainingRecord
from harness.store.sealed import Body, read_body
from harness.store.store import ARRAYS, CURVES, DESCRIPTION, ENCODER, EVALUATIONS, HEADS, RECORD, Busy, Store

M = TypeVar("M", bound=BaseModel)


@dataclass
class Raw:
    """The records of one pretraining as their JSON says, without seals."""

    pretraining: Body
    description: Body | None
    evaluations: dict[str, Body]
    """By id."""
    curves: dict[str, Body]
    """`training`, or by the monitor's id."""
    arrays: dict[str, Body]
    """By the names of their files."""


Step = Callable[[Raw], Raw]
"""From the form of one schema version to that of the next. Versions and ids are not a step's matter."""

MIGRATIONS: Mapping[int, Step] = {}
"""By the version that a step starts from. Version 2 is the first that can be brought forward."""


@dataclass
class Migration:
    """What became of the results of older versions."""

    moved: dict[str, str] = field(default_factory=dict)
    """Old id -> new id."""
    left: dict[str, str] = field(default_factory=dict)
    """Directory, or file in it -> why it stays where it is."""
    of_first_version: int = 0
    """Results of version 1, which cannot be brought forward."""


def migrate(store: Store, *, dry_run: bool = False) -> Migration:
    """Bring every result of an older version forward.

    Args:
        dry_run: say what would move, and write nothing.

    Raises:
        StoreError: the disk refused. What has moved is whole, and the next call goes on.
    """
    if not dry_run:
        store.sweep_removed()
    done = Migration(of_first_version=len(store.ids_of_first_version()))
    for id_ in store.ids():
        try:
            if _is_older(store, id_):
                done.moved[id_] = _look(store, id_, done) if dry_run else _move(store, id_, done)
        except _Left as reason:
            done.left[id_] = str(reason)
    return done


class _Left(Exception):
    """Why a directory stays as it is."""


def _is_older(store: Store, id_: str) -> bool:
    sealed = read_body(store.directory(id_) / RECORD)
    if sealed.record is None:
        if sealed.reason is not None:
            raise _Left(sealed.reason)
        return False
    version, ours = sealed.record.get("version"), identity.SCHEMA_VERSION
    if not isinstance(version, int) or version > ours:
        raise _Left(f"it is of schema version {version!r}, and this harness reads {ours}")
    lacking = [v for v in range(version, ours) if v not in MIGRATIONS]
    if lacking:
        raise _Left(f"it is of schema version {version}, and there is no step from version {lacking[0]}")
    return version < ours


def _look(store: Store, id_: str, done: Migration) -> str:
    """The id that a directory would move to."""
    raw, damaged = _read(store, id_)
    done.left |= damaged
    return _forward(raw).pretraining.id


def _move(store: Store, id_: str, done: Migration) -> str:
    """Write a directory under its new id, then remove the old one unless something in it is damaged."""
    try:
        with store.lock(id_):
            raw, damaged = _read(store, id_)
            new = _forward(raw)
            with store.lock(new.pretraining.id):
                there = store.pretraining(new.pretraining.id)
                if there is None:
                    _write(store, new, store.directory(id_))
                elif there != new.pretraining:
                    raise _Left(f"{there.id}, to which it belongs now, has a result of another run")
            done.left |= damaged
            if not damaged:
                store.remove(id_)
    except Busy as error:
        raise _Left(str(error)) from error
    return new.pretraining.id


def _read(store: Store, id_: str) -> tuple[Raw, dict[str, str]]:
    """Everything in a directory whose checksum fits, and why the rest is left."""
    directory = store.directory(id_)
    damaged: dict[str, str] = {}

    def body(path: Path, own: str) -> Body | None:
        sealed = read_body(path)
        reason = sealed.reason
        if sealed.record is not None and sealed.record.get("id") != own:
            reason = f"{path.name} is another one's: {sealed.record.get('id')}"
        if reason is not None:
            damaged[path.relative_to(store.root).as_posix()] = reason
            return None
        return sealed.record

    def folder(name: str, owner: Callable[[str], str]) -> dict[str, Body]:
        paths = sorted((directory / name).glob("*.json"))
        return {path.stem: content for path in paths if (content := body(path, owner(path.stem))) is not None}

    pretraining = body(directory / RECORD, id_)
    if pretraining is None:
        raise _Left(damaged.get(f"{id_}/{RECORD}", "it is gone"))
    raw = Raw(
        pretraining,
        body(directory / DESCRIPTION, id_),
        folder(EVALUATIONS, lambda stem: stem),
        folder(CURVES, lambda stem: id_),
        folder(ARRAYS, lambda stem: stem.removeprefix(_HITS) if stem.startswith(_HITS) else id_),
    )
    return raw, damaged


@dataclass
class _Records:
    """One pretraining's records in the present form."""

    pretraining: PretrainingRecord
    description: Description | None
    evaluations: list[EvaluationRecord]
    curves: list[Curve]
    arrays: dict[str, Arrays]


_HITS, _SAMPLE = "hits-", "sample-"


def _forward(raw: Raw) -> _Records:
    """Every step, then the ids anew."""
    try:
        for version in range(raw.pretraining["version"], identity.SCHEMA_VERSION):
            raw = MIGRATIONS[version](raw)
        return _identified(raw)
    except Exception as error:  # a step that does not fit this directory may raise anything; the others still move
        first = f"{type(error).__name__}: {error}".splitlines()
        raise _Left(f"it cannot be brought forward: {' '.join(first)}") from error


def _identified(raw: Raw) -> _Records:
    spec = _parsed(Pretraining, raw.pretraining["spec"])
    curves = {name: _record(Curve, body, spec.id) for name, body in raw.curves.items()}
    monitors = {name: curve.monitor.id for name, curve in curves.items() if curve.monitor is not None}
    whole = [monitors[name] for name in raw.pretraining.get("monitors", ()) if name in monitors]
    evaluations: dict[str, EvaluationRecord] = {}
    for name, body in raw.evaluations.items():
        question = _parsed(Evaluation, body["spec"] | {"pretraining": spec.id})
        evaluations[name] = _record(EvaluationRecord, body | {"spec": question.model_dump(mode="json")}, question.id)
    return _Records(
        _record(PretrainingRecord, raw.pretraining | {"monitors": whole}, spec.id),
        None if raw.description is None else _record(Description, raw.description, spec.id),
        list(evaluations.values()),
        list(curves.values()),
        _arrays(raw, spec.id, evaluations),
    )


def _arrays(raw: Raw, id_: str, evaluations: Mapping[str, EvaluationRecord]) -> dict[str, Arrays]:
    """Under their new names; hits of an evaluation that is not there are left out."""
    names = {name: name for name in raw.arrays if not name.startswith(_HITS)}
    names |= {f"{_HITS}{old}": f"{_HITS}{record.id}" for old, record in evaluations.items()}
    samples = {name for name in names if name.startswith(_SAMPLE)}
    expected = {sample_name(record.spec) for record in evaluations.values()}
    if len(samples - expected) == len(expected - samples) == 1:  # of several it is not known which is whose
        names[min(samples - expected)] = min(expected - samples)
    owners = {f"{_HITS}{record.id}": record.id for record in evaluations.values()}
    arrays = {names[name]: body for name, body in raw.arrays.items() if name in names}
    return {name: _record(Arrays, body, owners.get(name, id_)) for name, body in arrays.items()}


def _record(model: type[M], body: Body, id_: str) -> M:
    return _parsed(model, body | {"id": id_, "version": identity.SCHEMA_VERSION})


def _parsed(model: type[M], body: Body) -> M:
    return model.model_validate_json(json.dumps(body))


def _write(store: Store, new: _Records, old: Path) -> None:
    """The record that vouches for the others comes last."""
    id_ = new.pretraining.id
    store.begin(new.pretraining.spec)
    for evaluation in new.evaluations:
        store.save_evaluation(evaluation)
    for curve in new.curves:
        store.save_curve(curve)
    for name, arrays in new.arrays.items():
        store.save_arrays(id_, name, arrays)
    if new.description is not None:
        store.save_description(new.description)
    for name in (ENCODER, HEADS):
        _carry(old / name, store.directory(id_) / name)
    store.save_pretraining(new.pretraining)


def _carry(source: Path, target: Path) -> None:
    """The same file in another directory: by a second name where the file system has that, else by a copy."""
    if not source.is_file():
        return
    try:
        target.unlink(missing_ok=True)
        os.link(source, target)
    except OSError:
        write_bytes(target, source.read_bytes())
