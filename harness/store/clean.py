"""What of a store can be removed to free the disk, and its removal.

Owns what counts as removable, kind by kind; who calls says which kinds. Never touches a directory that a live process
holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from harness.spec import identity
from harness.store.provenance import Code, stale_reason
from harness.store.records import EvaluationRecord, PretrainingRecord
from harness.store.sealed import read_body
from harness.store.store import ARRAYS, CHECKPOINT, ENCODER, EVALUATIONS, FIRST_VERSION, HEADS, RECORD, Busy, Store

Kind = Literal["encoders", "checkpoints", "stale", "old versions"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Removable:
    """Files of one directory that go together."""

    kind: Kind
    id: str
    files: tuple[str, ...]
    """Below the directory; none: the directory itself."""
    size_bytes: int


@dataclass
class Selection:
    """What can be removed of a store, as it stands now."""

    removable: list[Removable] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    """Ids that a live process holds: nothing of them is removed."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Id -> why it is stale, where a method or probe is not here, so that nobody knows whether its code has changed."""

    def of(self, kind: Kind) -> list[Removable]:
        """Those of one kind."""
        return [part for part in self.removable if part.kind == kind]


@dataclass
class Cleaned:
    """What was removed."""

    freed_bytes: int = 0
    running: list[str] = field(default_factory=list)
    """Ids that a live process holds by now."""


def find(store: Store, kinds: Collection[Kind], code: Code, ids: Iterable[str] | None = None) -> Selection:
    """What there is of these kinds.

    Args:
        ids: pretrainings to look at; None: all.
    """
    selection = Selection()
    for id_ in store.ids() if ids is None else sorted(set(ids) & set(store.ids())):
        if store.state(id_) == "running":
            selection.running.append(id_)
            continue
        selection.removable += _removable(store, id_, kinds, code)
        record = store.pretraining(id_)
        reason = stale_reason(record, code) if record is not None and "stale" in kinds else None
        if record is not None and reason is not None and not _has_changed(record, code):
            selection.unknown[id_] = reason
    return selection


def remove(store: Store, selection: Selection, kinds: Collection[Kind], code: Code) -> Cleaned:
    """Remove what was found, as far as it is still so once its directory's lock is held.

    Raises:
        StoreError: the disk refused; what was removed is gone, and nothing is half there.
    """
    store.sweep_removed()
    cleaned = Cleaned()
    for id_ in dict.fromkeys(part.id for part in selection.removable):
        if not store.directory(id_).is_dir():
            continue
        try:
            with store.lock(id_):
                for part in _removable(store, id_, kinds, code):
                    _remove(store, part)
                    cleaned.freed_bytes += part.size_bytes
        except Busy:
            cleaned.running.append(id_)
    return cleaned


def _removable(store: Store, id_: str, kinds: Collection[Kind], code: Code) -> list[Removable]:
    """Of one directory; nothing twice."""
    directory = store.directory(id_)
    if "old versions" in kinds and _is_of_old_version(directory):
        return [Removable("old versions", id_, (), _size(directory))]
    if "stale" in kinds:
        record = store.pretraining(id_)
        if record is not None and _has_changed(record, code):
            return [Removable("stale", id_, (), _size(directory))]
    parts = [part for part in _files_by_kind(store, id_, code) if part[0] in kinds]
    present = ((kind, tuple(name for name in names if (directory / name).is_file())) for kind, names in parts)
    return [
        Removable(kind, id_, names, sum(_size(directory / name) for name in names)) for kind, names in present if names
    ]


def _files_by_kind(store: Store, id_: str, code: Code) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    yield "encoders", (ENCODER, HEADS)
    yield "checkpoints", (CHECKPOINT,)
    for evaluation in store.evaluation_ids(id_):
        answer = store.read_evaluation(id_, evaluation).record
        if answer is not None and _has_changed(answer, code):
            yield "stale", (f"{EVALUATIONS}/{evaluation}.json", f"{ARRAYS}/hits-{evaluation}.json")


def _remove(store: Store, part: Removable) -> None:
    if part.files:
        for name in part.files:
            store.drop(part.id, name)
    else:
        store.remove(part.id)


def _has_changed(record: PretrainingRecord | EvaluationRecord, code: Code) -> bool:
    """Whether code that made a record is here and is not what it was."""
    return any(part in code.digests and code.digests[part] != digest for part, digest in record.provenance.code.items())


def _is_of_old_version(directory: Path) -> bool:
    if not (directory / RECORD).exists():
        return (directory / FIRST_VERSION).exists()
    body = read_body(directory / RECORD).record
    version = body.get("version") if body is not None else None
    return isinstance(version, int) and version < identity.SCHEMA_VERSION


def _size(path: Path) -> int:
    """Bytes of a file, or of everything in a directory; what goes meanwhile counts nothing."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(size for file in files if (size := _file_size(file)))


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
