"""Uploads in parts: begun, filled with parts in any order, and completed to one object or aborted.

Nothing is copied and nothing changes its place: a part is a hidden object (`objstore.uploads` says what it is called),
and completing writes a manifest that names those which were chosen. A record stands as long as the upload is open. It
is removed only after the manifest is stored, so a completion that is cut short can be asked for again; and a manifest
says which upload it comes from, so one that is asked for again although it has succeeded is known by that.

Parts that no manifest names are reclaimed by a daemon, never here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import md5
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from objstore import uploads as names
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.backend.names import STORAGE_CLASS
from objstore.proxy.core.checksums import listed_checksums
from objstore.proxy.core.containers import GetContainer, PutContainer
from objstore.proxy.core.encryption.envelope import CUSTOMER, Seal
from objstore.proxy.core.errors import (
    ContainerNotFound,
    CoreError,
    CustomerKeyUnfit,
    ObjectNotFound,
    QuorumNotReached,
    UploadNotFound,
)
from objstore.proxy.core.info import PRESENT, UNKNOWN, StoredMetadata
from objstore.proxy.core.listing import ListedObject, ListingQuery, whole
from objstore.proxy.core.manifest import LISTED_ETAG, UPLOAD, Part, composite_info, encode_manifest, manifest_metadata
from objstore.proxy.core.objects import CopyObject, DeleteObject, GetObject, PutObject, PutResult
from objstore.proxy.core.upload_commands import (
    BeginUpload,
    CompletedUpload,
    CompleteUpload,
    ListUploads,
    OpenUpload,
    PartsPage,
    PutPart,
    UploadedPart,
    UploadRecord,
    UploadsPage,
    chosen_parts,
    composite_etag,
)
from objstore.rows import etag_with_fields
from objstore.timestamps import Timestamp
from objstore.uploads import UploadName

if TYPE_CHECKING:
    from random import Random

    from objstore.proxy.core.containers import ContainerOperations
    from objstore.proxy.core.lookup import InfoSource
    from objstore.proxy.core.objects import ObjectOperations, OpenedObject
    from objstore.system.clock import Clock

# A manifest is not sent later than this after its record was read: by then an abort, and the daemon, may have gone on.
COMPLETION_SECONDS: Final = 60.0
RECORD_TYPE: Final = "application/x-upload"
PART_TYPE: Final = "application/octet-stream"
_PAGE: Final = 1000


_record_encoder: Final = msgspec.json.Encoder()
_record_decoder: Final = msgspec.json.Decoder(UploadRecord)


class UploadOperations:
    """Operations on uploads; one for each process. Authorization is the edge's."""

    def __init__(
        self,
        objects: ObjectOperations,
        containers: ContainerOperations,
        lookup: InfoSource,
        clock: Clock,
        random: Random,
    ) -> None:
        self._objects: Final = objects
        self._containers: Final = containers
        self._lookup: Final = lookup
        self._clock: Final = clock
        self._random: Final = random

    def begin(self, command: BeginUpload) -> str:
        """The id of a new upload. Raises CoreError."""
        hidden = names.hidden_container(command.path)
        policy_index = self._ensure_hidden(command, hidden)
        timestamp = self._clock.timestamp()
        upload = names.new_id(timestamp, self._random.getrandbits(128))
        body = _record_encoder.encode(command.record)
        record = hidden.with_object(UploadName(command.path.object, upload).record)
        # The row of the record says so, too: with it the upload comes to the notice of the daemon.
        metadata = StoredMetadata(system={UPLOAD: upload})
        listed = f"{RECORD_TYPE};{urlencode(command.record.settings)}"  # for listings of uploads
        # Whatever key the object has, what is said of it is encrypted with the store's own.
        seal = None if command.record.seal is None else Seal()
        self._put(record, policy_index, timestamp, body, listed, metadata, command.transaction_id, seal)
        return upload

    def record(self, path: ResourcePath, upload: str, transaction_id: str) -> UploadRecord:
        """What was said when an upload was begun that is still open. Raises UploadNotFound and other CoreErrors."""
        _, record = self._read_record(path, upload, transaction_id)
        return record

    def put_part(self, command: PutPart) -> PutResult:
        """Store a part. Raises UploadNotFound and other CoreErrors."""
        return self._objects.put(self._part_command(command))

    def copy_part(self, source: OpenedObject, command: PutPart) -> PutResult:
        """Store the bytes of an opened object, which is closed, as a part. Raises as `put_part` does."""
        try:
            target = self._part_command(command)
        except BaseException:
            source.close()
            raise
        return self._objects.copy(CopyObject(source, target))

    def list_parts(
        self, path: ResourcePath, upload: str, transaction_id: str, after: int = 0, limit: int = names.PARTS_MAX
    ) -> PartsPage:
        """Up to `limit` parts with numbers greater than `after`. Raises UploadNotFound and other CoreErrors."""
        self._read_record(path, upload, transaction_id)
        found: list[UploadedPart] = []
        for part in self._parts(path, upload, transaction_id, after):
            if len(found) == limit:
                return PartsPage(found, truncated=True)
            found.append(part)
        return PartsPage(found, truncated=False)

    def list(self, command: ListUploads) -> UploadsPage:
        """Open uploads. Raises CoreError."""
        hidden = names.hidden_container(command.path)
        uploads: list[OpenUpload] = []
        prefixes: list[str] = []
        marker = names.records_after(command.key_marker, command.upload_marker) if command.key_marker else ""
        last = None
        while True:
            page = self._page(hidden, marker, names.records_prefix(command.prefix), command.transaction_id)
            for listed in page:
                name = names.name_of(listed.name)
                if name is None or (prefixes and name.key.startswith(prefixes[-1])):
                    continue
                if len(uploads) + len(prefixes) == command.limit:
                    return UploadsPage(uploads, prefixes, last)
                shared = _shared_prefix(name.key, command.prefix, command.delimiter)
                if shared and command.key_marker.startswith(shared):
                    continue  # an earlier page has it
                if shared:
                    prefixes.append(shared)
                else:
                    settings = dict(parse_qsl(listed.content_type.partition(";")[2]))
                    uploads.append(OpenUpload(name, settings))
                last = UploadName(shared, "") if shared else name
            if len(page) < _PAGE:
                return UploadsPage(uploads, prefixes, None)
            marker = max(page[-1].name, names.records_behind(prefixes[-1]) if prefixes else "", key=str.encode)

    def complete(self, command: CompleteUpload) -> CompletedUpload:
        """Make the object. Once it is made, the same again has the same result, as long as the object stands.

        Raises UploadNotFound, InvalidPart, InvalidPartOrder, PartTooSmall, what `describe` raises, and CoreError.
        """
        begun = self._clock.monotonic()
        path, transaction_id = command.path, command.transaction_id
        etag = composite_etag([part.etag for part in command.parts])
        if (made := self._made_before(command, etag)) is not None:
            self._forget_record(command, None)
            return made
        hidden_index, record = self._read_record(path, command.upload, transaction_id)
        stored = {part.number: part for part in self._parts(path, command.upload, transaction_id)}
        chosen = chosen_parts(command.parts, stored, command.part_bytes_min)
        size, folder = sum(part.size for part in chosen), f"/{names.hidden_container(path).container}/"
        parts = [
            Part(
                folder + part.name,
                part.etag,
                part.size,
                number=part.number,
                checksums={str(name): value for name, value in part.checksums.items()},
            )
            for part in chosen
        ]
        metadata = manifest_metadata(record.metadata, size, etag)
        system = {**metadata.system, **command.describe(chosen), UPLOAD: command.upload}
        content = encode_manifest(parts)
        own_etag = md5(content, usedforsecurity=False).hexdigest()
        listed = {"slo_etag": f'"{etag}"'}
        if STORAGE_CLASS in system:
            listed["storage_class"] = system[STORAGE_CLASS]
        system[LISTED_ETAG] = etag_with_fields(own_etag, listed)
        if self._clock.monotonic() - begun > COMPLETION_SECONDS:
            raise QuorumNotReached(path)
        result = self._objects.put(
            PutObject(
                path,
                command.policy_index,
                self._clock.timestamp(),
                BytesBody(content),
                len(content),
                len(content),
                record.content_type,
                msgspec.structs.replace(metadata, system=system, transient={**command.transient, **metadata.transient}),
                record.delete_at,
                conditions=command.conditions,
                version_mode=command.version_mode,
                transaction_id=transaction_id,
                seal=record.seal,
            )
        )
        self._forget_record(command, hidden_index)
        return CompletedUpload(etag, size, system, result.version, record.seal)

    def abort(self, path: ResourcePath, upload: str, transaction_id: str) -> None:
        """End an upload; its parts will be reclaimed. Raises UploadNotFound and other CoreErrors."""
        policy_index, _ = self._read_record(path, upload, transaction_id)
        self._delete_record(path, upload, policy_index, transaction_id)

    def _delete_record(self, path: ResourcePath, upload: str, policy_index: int, transaction_id: str) -> None:
        record = names.hidden_container(path).with_object(UploadName(path.object, upload).record)
        self._objects.delete(DeleteObject(record, policy_index, self._clock.timestamp(), transaction_id=transaction_id))

    def _ensure_hidden(self, command: BeginUpload, hidden: ResourcePath) -> int:
        """The policy of the hidden container, which is made if it is not there."""
        info = self._lookup.container(hidden, command.transaction_id)
        if info.existence is PRESENT:
            return info.policy_index
        timestamp, transaction_id = self._clock.timestamp(), command.transaction_id
        self._containers.put(
            PutContainer(hidden, timestamp, transaction_id=transaction_id, policy_index=command.policy_index)
        )
        return command.policy_index

    def _hidden_policy(self, hidden: ResourcePath, transaction_id: str) -> int | None:
        """None if there is no such container, so no upload. Raises QuorumNotReached."""
        info = self._lookup.container(hidden, transaction_id)
        if info.existence is UNKNOWN:
            raise QuorumNotReached(hidden)
        return info.policy_index if info.existence is PRESENT else None

    def _read_record(self, path: ResourcePath, upload: str, transaction_id: str) -> tuple[int, UploadRecord]:
        """The policy of the record and of the parts, and the record. Raises UploadNotFound and other CoreErrors."""
        hidden = names.hidden_container(path)
        policy_index = self._hidden_policy(hidden, transaction_id) if names.is_id(upload) else None
        if policy_index is None:
            raise UploadNotFound(path, upload)
        place = hidden.with_object(UploadName(path.object, upload).record)
        try:
            opened = self._objects.open(GetObject(place, policy_index, transaction_id=transaction_id))
        except ObjectNotFound:
            raise UploadNotFound(path, upload) from None
        return policy_index, _record_decoder.decode(whole(opened.body))

    def _part_command(self, command: PutPart) -> PutObject:
        path, transaction_id, timestamp = command.path, command.transaction_id, self._clock.timestamp()
        policy_index, record = self._read_record(path, command.upload, transaction_id)
        seal, key = record.seal, command.customer_key
        if key is not None and (seal is None or seal.kind != CUSTOMER):
            raise CustomerKeyUnfit(path)
        part_id = names.new_id(timestamp, self._random.getrandbits(128))
        name = UploadName(path.object, command.upload).part(command.number, part_id)
        return PutObject(
            names.hidden_container(path).with_object(name),
            policy_index,
            timestamp,
            command.body,
            command.length,
            command.length_max,
            PART_TYPE,
            expected_md5=command.expected_md5,
            checksums=None if command.checksums is None else msgspec.structs.replace(command.checksums, listed=True),
            transaction_id=transaction_id,
            seal=seal,
            customer_key=key,
        )

    def _parts(self, path: ResourcePath, upload: str, transaction_id: str, after: int = 0) -> Iterator[UploadedPart]:
        """The latest part of each number greater than `after`."""
        hidden, name = names.hidden_container(path), UploadName(path.object, upload)
        marker, latest = name.after(after), None
        while True:
            page = self._page(hidden, marker, name.parts, transaction_id)
            for listed in page:
                number = names.part_number(listed.name)
                if latest is not None and latest.number != number:
                    yield latest
                latest = UploadedPart(
                    number, listed.etag, listed.size, listed.last_modified, listed.name, listed_checksums(listed)
                )
            if len(page) < _PAGE:
                if latest is not None:
                    yield latest
                return
            marker = page[-1].name

    def _page(self, hidden: ResourcePath, marker: str, prefix: str, transaction_id: str) -> Sequence[ListedObject]:
        query = ListingQuery(limit=str(_PAGE), marker=marker or None, prefix=prefix)
        try:
            entries = self._containers.list(GetContainer(hidden, query, transaction_id=transaction_id))
        except ContainerNotFound:
            return ()
        return [entry for entry in entries if isinstance(entry, ListedObject)]

    def _made_before(self, command: CompleteUpload, etag: str) -> CompletedUpload | None:
        """The object, if it is what this upload has made of the same parts."""
        asked = GetObject(command.path, command.policy_index, newest=True, transaction_id=command.transaction_id)
        try:
            found = self._objects.head(asked)
        except ObjectNotFound:
            return None
        system = found.metadata.system
        if system.get(UPLOAD) != command.upload:
            return None
        made = composite_info(command.path, found)
        return CompletedUpload(made.etag, made.size, system, found.version, found.seal) if made.etag == etag else None

    def _forget_record(self, command: CompleteUpload, policy_index: int | None) -> None:
        """The upload is over. If the record stays, the same completion finds the object, and the daemon removes it.

        policy_index: the record's, None if it was not read and may be gone already.
        """
        path, upload, transaction_id = command.path, command.upload, command.transaction_id
        try:
            if policy_index is None:
                self.abort(path, upload, transaction_id)
            else:
                self._delete_record(path, upload, policy_index, transaction_id)
        except CoreError:
            pass

    def _put(
        self,
        path: ResourcePath,
        policy_index: int,
        timestamp: Timestamp,
        body: bytes,
        content_type: str,
        metadata: StoredMetadata,
        transaction_id: str,
        seal: Seal | None,
    ) -> None:
        command = PutObject(
            path, policy_index, timestamp, BytesBody(body), len(body), len(body), content_type, metadata
        )
        self._objects.put(msgspec.structs.replace(command, transaction_id=transaction_id, seal=seal))


def _shared_prefix(key: str, prefix: str, delimiter: str) -> str:
    """What precedes, and is, the next delimiter after the prefix of a key; "" without one."""
    if not delimiter:
        return ""
    end = key.find(delimiter, len(prefix))
    return "" if end < 0 else key[: end + len(delimiter)]
