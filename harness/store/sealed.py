"""Records as JSON files that vouch for themselves. Owns the checksum in each, and the reasons why one is not believed.

A file is an object whose first key is `sha256`: of the rest, as JSON with sorted keys and no spaces. A digit changed
anywhere in it, a file cut short, another schema or another id's content is refused with its reason.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from harness.spec import identity
from harness.store.atomic import explained, write_text

R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)
Body = dict[str, Any]
SEAL = "sha256"


@dataclass(frozen=True)
class Sealed(Generic[R]):
    """What a file holds."""

    record: R | None
    """None where there is no file, or none that is believed."""
    seal: str | None = None
    """Its checksum."""
    reason: str | None = None
    """Why a file that is there is not believed."""


def write_sealed(path: Path, record: BaseModel) -> str:
    """Write a record in place of an older one, whole or not at all; return its seal.

    Raises:
        StoreError: the disk refused.
        ValueError: the record would not read back as it is.
    """
    body = json.loads(record.model_dump_json())
    seal = checksum(body)
    text = json.dumps({SEAL: seal, **body}, indent=1)
    read_back = believed(parse_body(text.encode(), path.name), path.name, type(record), body.get("id"))
    if read_back.record is None:
        raise ValueError(f"{path} is not written, since it would not be believed: {read_back.reason}")
    write_text(path, text + "\n")
    return seal


def read_sealed(path: Path, model: type[M], id_: str) -> Sealed[M]:
    """The record in a file, if it may be believed for that id.

    Raises:
        StoreError: the file is there and the system does not let us read it.
    """
    return believed(read_body(path), path.name, model, id_)


def read_body(path: Path) -> Sealed[Body]:
    """The content of a file, of whatever schema version and id, if its checksum fits.

    Raises:
        StoreError: the file is there and the system does not let us read it.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Sealed(None)
    except IsADirectoryError:
        return Sealed(None, reason=f"{path.name} is a directory")
    except OSError as error:
        raise explained(error, f"cannot read {path}", path.parent) from error
    return parse_body(data, path.name)


def parse_body(data: bytes, name: str) -> Sealed[Body]:
    """What `read_body` gives, of the content of a file of that name."""
    try:
        body = json.loads(data)
    except ValueError:
        return Sealed(None, reason=f"{name} is truncated or not JSON")
    if not isinstance(body, dict):
        return Sealed(None, reason=f"{name} is no record")
    seal = body.pop(SEAL, None)
    if seal != checksum(body):
        return Sealed(None, reason=f"{name} is damaged: its content does not fit its checksum")
    return Sealed(body, seal)


def believed(sealed: Sealed[Body], name: str, model: type[M], id_: str | None) -> Sealed[M]:
    """The content as a record, if it is one of this schema version and of that id."""
    body = sealed.record
    if body is None:
        return Sealed(None, reason=sealed.reason)
    if body.get("version") != identity.SCHEMA_VERSION:
        version, ours = body.get("version"), identity.SCHEMA_VERSION
        return Sealed(None, reason=f"{name} has schema version {version!r}, this harness {ours}")
    try:
        record = model.model_validate_json(json.dumps(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Sealed(None, reason=f"{name} does not fit the schema at {where}: {first['msg']}")
    spec = getattr(record, "spec", None)
    own = {body.get("id"), spec.id if spec is not None else id_}
    if own != {id_}:
        return Sealed(None, reason=f"{name} is another one's: {', '.join(sorted(map(str, own)))}")
    return Sealed(record, sealed.seal)


def checksum(body: Body) -> str:
    """SHA-256 of the content, whatever its layout in the file."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
