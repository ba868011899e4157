"""What a file of the store holds, and whether it is intact. Reads only, and never moves what is bad."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from objstore.container.reports import last_report, report_of
from objstore.db.info import read_status, read_totals
from objstore.db.status import NEVER
from objstore.erasure import ErasureCode, PieceDamaged
from objstore.headers import Sysmeta
from objstore.object.container_updates import pending
from objstore.object.file_engine.inspecting import inspect
from objstore.object.file_names import DataFile, DeleteMarker, MetaFile, StoredName, parse_name
from objstore.object.metadata import ObjectMetadata, PostedMetadata, Stored, TombstoneMetadata
from objstore.paths import ResourcePath
from objstore.proxy.core.encryption.envelope import Envelope, decode_envelope
from objstore.proxy.core.errors import SealBroken
from objstore.ring.format import read_ring
from objstore.tools.commands import OperatorProblem

# So many of a fragment's pieces are named.
DAMAGED_PIECES_MAX: Final = 10


class Explanation(Struct, frozen=True):
    """`kind` of file, what it holds, what is wrong with it, and whose it is (None for a ring).

    fragment: the number of the one it is.
    """

    kind: str
    facts: dict[str, Any]
    wrong: list[str]
    path: ResourcePath | None = None
    fragment: int | None = None


def explain_file(file: str, verify: bool, sync: bool = False) -> Explanation:
    """By the form of its name; with `sync`, also what a database knows of its replicas.

    Raises OperatorProblem for one of no known form, RingFileError, OSError.
    """
    name = os.path.basename(file)
    if name.endswith(".ring.gz"):
        return _ring(file)
    if name.endswith(".db"):
        return _database(file, verify, sync)
    parsed = parse_name(name)
    if parsed is not None:
        return _of_object(file, parsed, verify)
    if "async_pending" in file:
        return _pending(file)
    raise OperatorProblem(f"{file}: unknown form of name", "name a .data, .meta, .ts, .db, .ring.gz or pending update")


def _of_object(file: str, parsed: StoredName, verify: bool) -> Explanation:
    if type(parsed) is DataFile and parsed.fragment >= 0:
        found = _fragment(file, parsed, verify)
    elif type(parsed) is DataFile:
        found = _stored(file, ObjectMetadata, "object", verify)
    elif type(parsed) is MetaFile:
        found = _stored(file, PostedMetadata, "metadata of a POST", verify)
    elif type(parsed) is DeleteMarker:
        found = _stored(file, TombstoneMetadata, "delete marker", verify)
    else:
        found = _stored(file, TombstoneMetadata, "removal mark" if parsed.version else "tombstone", verify)
    if parsed.version:
        found.facts["version"] = parsed.version
    sealed = found.facts.get("sysmeta", {}).get(Sysmeta.SEALED)
    if sealed is not None:
        try:
            found.facts["encrypted"] = _keys_of(decode_envelope(sealed))
        except SealBroken as error:
            found.wrong.append(str(error))
    return found


def _keys_of(envelope: Envelope) -> dict[str, str]:
    """The ids of the secrets without which it cannot be read, as `objstore key list` shows them, and whose they are."""
    named = {"key": envelope.seal.key} if envelope.seal.key else {}
    return {"by": envelope.seal.kind, "root": envelope.root, **named}


def _fragment(file: str, parsed: DataFile, verify: bool) -> Explanation:
    metadata, wrong = inspect(file, ObjectMetadata, verify)
    if metadata is None:
        return Explanation("fragment", {}, wrong)
    facts = msgspec.to_builtins(metadata) | {"is_durable": parsed.durable}
    stored = metadata.fragment
    if stored is None or stored.index != parsed.fragment:
        wrong.append(f"it is called fragment {parsed.fragment} and holds {'none' if stored is None else stored.index}")
    elif verify:
        code = ErasureCode.parse(stored.code)
        facts["segments"] = code.segment_count(metadata.size)
        wrong += _damaged_pieces(file, code, stored.index, metadata.size)
    return Explanation("fragment", facts, wrong, _path_of(metadata.name, wrong), parsed.fragment)


def _damaged_pieces(file: str, code: ErasureCode, number: int, size: int) -> list[str]:
    """What is wrong with the pieces of the first segments that are damaged."""
    wrong: list[str] = []
    with open(file, "rb") as stream:
        for segment in range(code.segment_count(size)):
            piece = stream.read(code.piece_length(code.segment_length(segment, size)))
            try:
                code.check(piece, number, segment)
            except PieceDamaged as error:
                wrong.append(str(error))
            if len(wrong) == DAMAGED_PIECES_MAX:
                break
    return wrong


def _stored(file: str, kind: type[Stored], shown: str, verify: bool) -> Explanation:
    metadata, wrong = inspect(file, kind, verify)
    if metadata is None:
        return Explanation(shown, {}, wrong)
    return Explanation(shown, msgspec.to_builtins(metadata), wrong, _path_of(metadata.name, wrong))


def _path_of(name: str, wrong: list[str]) -> ResourcePath | None:
    try:
        return ResourcePath.parse(name)
    except (ValueError, TypeError):
        wrong.append(f"{name!r} is no path")
        return None


def _database(file: str, verify: bool, sync: bool) -> Explanation:
    if not os.path.exists(file):
        raise OperatorProblem(f"{file}: there is no such file", "name one")
    try:
        # Where servers have it open its log is read too; as a reader, nothing is changed.
        with closing(sqlite3.connect(f"file:{quote(os.path.abspath(file))}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return _read_database(connection, verify, sync)
    except sqlite3.Error as error:
        return Explanation("database", {}, [f"it cannot be read: {error}"])


def _read_database(connection: sqlite3.Connection, verify: bool, sync: bool) -> Explanation:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    resource = connection.execute("SELECT * FROM resource").fetchone()
    wrong: list[str] = []
    if verify:
        (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        wrong += [] if result == "ok" else [f"integrity check: {result}"]
    if resource is None:
        return Explanation("database", {"format": version}, [*wrong, "it is being removed"])
    facts: dict[str, Any] = {"format": version, **dict(resource)}
    facts["totals"] = [dict(row) for row in connection.execute("SELECT * FROM policy_stat")]
    facts["metadata"] = [dict(row) for row in connection.execute("SELECT * FROM metadata ORDER BY name")]
    (facts["rows"],) = connection.execute("SELECT count(*) FROM row WHERE deleted = 0").fetchone()
    (facts["deleted_rows"],) = connection.execute("SELECT count(*) FROM row WHERE deleted != 0").fetchone()
    facts["is_deleted"] = resource["delete_timestamp"] > resource["put_timestamp"]
    path = ResourcePath(resource["account"], resource["container"])
    if path.is_container:
        facts |= _reported(connection)
    if sync:
        facts["sync_points"] = _sync_points(connection, version)
    return Explanation("container" if path.is_container else "account", facts, wrong, path)


def _reported(connection: sqlite3.Connection) -> dict[str, Any]:
    """What the account was last told of a container by this database, and whether that is how it stands."""
    last, present = last_report(connection), report_of(read_status(connection), read_totals(connection))
    told = None if last.put_timestamp == NEVER else msgspec.to_builtins(last)
    return {"reported_to_account": told, "is_all_reported": last == present}


def _sync_points(connection: sqlite3.Connection, version: int) -> list[dict[str, Any]]:
    """Of each other replica, by the id of its database: up to which of its sequences all rows are merged here."""
    if version < 2:
        return []  # its replicas had no sync points yet
    return [dict(row) for row in connection.execute("SELECT id, sequence, at FROM sync_point ORDER BY id")]


def _pending(file: str) -> Explanation:
    try:
        update = pending.load(file)
    except pending.PendingUpdateCorrupt as error:
        return Explanation("pending update", {}, [error.reason])
    path = ResourcePath(update.account, update.container, update.row.name)
    return Explanation("pending update", msgspec.to_builtins(update), [], path)


def _ring(file: str) -> Explanation:
    ring = read_ring(file)
    facts = {
        "version": ring.version,
        "partitions": ring.partition_count,
        "part_power": ring.part_power,
        "next_part_power": ring.next_part_power,
        "replicas": ring.replica_count,
        "devices": len(ring.devices),
    }
    return Explanation("ring", facts, [])
