"""Reads of encrypted objects: what is found as it is stored becomes what its readers get."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from objstore.http.bodies import BytesBody
from objstore.http.ranges import ByteRange
from objstore.proxy.core.backend.names import LISTED_ETAG, LISTED_SIZE, SEALED, SEALED_FACTS, SEALED_METADATA
from objstore.proxy.core.conditions import check_read_conditions, chosen_ranges
from objstore.proxy.core.encryption.bodies import OpenedBody
from objstore.proxy.core.encryption.envelope import CUSTOMER, Envelope, Facts, decode_envelope, decode_facts
from objstore.proxy.core.encryption.format import ChunkOpener, covering, open_whole, opened_size, unseal
from objstore.proxy.core.encryption.key_ring import ContainerKeys, KeyManager
from objstore.proxy.core.encryption.manifests import sealed_form
from objstore.proxy.core.encryption.sealing import (
    context_of,
    split_text,
    unsealed_user,
    wrapping_context,
    wrapping_key,
)
from objstore.proxy.core.errors import (
    BodyBrokenOff,
    CustomerKeyNeeded,
    CustomerKeyUnfit,
    CustomerKeyWrong,
    EncryptionKeyMissing,
    SealBroken,
)
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo

if TYPE_CHECKING:
    from objstore.http.messages import Body
    from objstore.paths import ResourcePath
    from objstore.proxy.core.objects import GetObject, OpenedObject
    from objstore.system.threads import ThreadGroup

# So often in a row it is not chance that an object is replaced between looking and reading a range.
ATTEMPTS_MAX: Final = 5

_SEALED_FIELD: Final = b'"sealed":'
_rows: Final = msgspec.json.Decoder(list[dict[str, Any]])

Open = Callable[["GetObject"], "OpenedObject"]


def is_sealed(metadata: StoredMetadata) -> bool:
    """Whether anything of an object is encrypted."""
    return SEALED in metadata.system or SEALED_METADATA in metadata.transient


class _Found:
    """A stored object: what it says, and the keys to it."""

    def __init__(self, manager: KeyManager, path: ResourcePath, stored: StoredObjectInfo) -> None:
        """Raises SealBroken, EncryptionKeyMissing."""
        self._manager = manager
        self.path = path
        self.envelope: Envelope | None = None
        metadata = stored.metadata
        try:
            self.info = self._opened(stored, metadata) if SEALED in metadata.system else stored
            if SEALED_METADATA in metadata.transient:
                user = unsealed_user(manager, metadata.transient[SEALED_METADATA], path)
                transient = {name: value for name, value in metadata.transient.items() if name != SEALED_METADATA}
                opened = replace(self.info.metadata, user=metadata.user | user, transient=transient, is_sealed=True)
                self.info = replace(self.info, metadata=opened)
        except (KeyError, ValueError):
            raise SealBroken from None

    def _opened(self, stored: StoredObjectInfo, metadata: StoredMetadata) -> StoredObjectInfo:
        envelope = self.envelope = decode_envelope(metadata.system[SEALED])
        keys = ContainerKeys.of(self._manager, envelope.root, self.path)
        context = context_of("facts", self.path) + envelope.wrapped
        facts: Facts = decode_facts(unseal(keys.sealing, b64decode(metadata.system[SEALED_FACTS]), context))
        if not envelope.parts and facts.size != opened_size(stored.size):
            raise SealBroken
        hidden = (SEALED, SEALED_FACTS, LISTED_ETAG, LISTED_SIZE)
        system = {name: value for name, value in metadata.system.items() if name not in hidden} | facts.system
        return replace(
            stored,
            size=facts.size,
            etag=facts.etag,
            metadata=replace(metadata, system=system, is_sealed=True),
            seal=envelope.seal,
        )

    def key(self, command: GetObject) -> bytes:
        """The key of the body. Raises CustomerKeyNeeded, CustomerKeyWrong, SealBroken, EncryptionKeyMissing."""
        envelope = self.envelope
        assert envelope is not None
        path = self.path
        keys = ContainerKeys.of(self._manager, envelope.root, path)
        key = wrapping_key(self._manager, envelope, keys, path, command.customer_key)
        try:
            return unseal(key, envelope.wrapped, wrapping_context(path, envelope.seal))
        except SealBroken:
            if envelope.wrapped_by_customer:
                raise CustomerKeyWrong(path) from None
            raise

    def check_customer_key(self, command: GetObject, *, needed: bool) -> None:
        """Raises CustomerKeyNeeded, CustomerKeyWrong, CustomerKeyUnfit."""
        envelope, key = self.envelope, command.customer_key
        if envelope is None or envelope.seal.kind != CUSTOMER:
            if key is not None:
                raise CustomerKeyUnfit(self.path)
        elif key is None:
            if needed:
                raise CustomerKeyNeeded(self.path)
        elif envelope.parts:
            if not key.matches(envelope.seal.check):
                raise CustomerKeyWrong(self.path)
        else:
            self.key(command)


class Opening:
    """Opens encrypted objects; one for each process."""

    def __init__(self, manager: KeyManager, threads: ThreadGroup) -> None:
        self._manager: Final = manager
        self._threads: Final = threads

    def head(self, command: GetObject, stored: StoredObjectInfo) -> StoredObjectInfo:
        """What readers are told; the conditions are weighed here, if they are about this object.

        A customer's key is compared if it is there. Raises NotModified, PreconditionFailed, and CoreError.
        """
        found = _Found(self._manager, command.path, stored)
        found.check_customer_key(command, needed=False)
        if found.envelope is not None and not self._stands_for_others(command, found.info):
            check_read_conditions(command, found.info)
        return found.info

    def open(self, command: GetObject, stored: OpenedObject, read: Open, again: Open) -> OpenedObject:
        """The object and its body; conditions and ranges are weighed here, if they are about this object.

        `stored` is all of it, and is closed on errors. `read` reads a range of it as it is stored, `again` starts anew:
        the object was replaced meanwhile. Raises CoreError.
        """
        try:
            found = _Found(self._manager, command.path, stored.info)
            if found.envelope is None:
                return replace(stored, info=found.info)
            found.check_customer_key(command, needed=True)
            if self._stands_for_others(command, found.info):
                return self._whole(found, command, stored)
            check_read_conditions(command, found.info)
            ranges = chosen_ranges(command, found.info)
            if ranges is None:
                return self._whole(found, command, stored)
        except BaseException:
            stored.close()
            raise
        if isinstance(stored.body, bytes) or found.envelope.parts:
            whole = self._whole(found, command, stored)
            content = whole.body if isinstance(whole.body, bytes) else b"".join(bytes(each) for each in whole.body)
            return _sliced(found.info, content, ranges)
        stored.close()
        return self._ranges(found, command, stored, ranges, read, again)

    def _stands_for_others(self, command: GetObject, info: StoredObjectInfo) -> bool:
        return info.stands_for_others and not command.as_stored

    def _whole(self, found: _Found, command: GetObject, stored: OpenedObject) -> OpenedObject:
        key, info, body = found.key(command), found.info, stored.body
        assert found.envelope is not None
        if found.envelope.parts:
            content = body if isinstance(body, bytes) else b"".join(bytes(chunk) for chunk in body)
            stored.close()
            body = sealed_form(content)
        if isinstance(body, bytes):
            return replace(stored, info=info, body=open_whole(key, body))
        return replace(stored, info=info, body=OpenedBody(body, ChunkOpener(key, info.size), info.size, self._threads))

    def _ranges(
        self,
        found: _Found,
        command: GetObject,
        stored: OpenedObject,
        ranges: list[ByteRange],
        read: Open,
        again: Open,
    ) -> OpenedObject:
        """The first range is opened at once, so that an object that was replaced meanwhile is read anew."""
        key, info, identity = found.key(command), found.info, stored.info.metadata.system[SEALED]

        def body_of(wanted: ByteRange) -> Body:
            asked = replace(command, conditions=None, ranges=covering(wanted, info.size).header, raw=True)
            opened = read(asked)
            if opened.info.metadata.system.get(SEALED) != identity or opened.part is None:
                opened.close()
                raise BodyBrokenOff(wanted.first)
            return BytesBody(opened.body) if isinstance(opened.body, bytes) else opened.body

        def opened_body(wanted: ByteRange, body: Body | None) -> OpenedBody:
            opener = ChunkOpener(key, info.size, wanted.first)
            return OpenedBody(body or partial(body_of, wanted), opener, wanted.length, self._threads)

        try:
            first = body_of(ranges[0])
        except BodyBrokenOff:
            return again(command)
        bodies = [(each, opened_body(each, first if number == 0 else None)) for number, each in enumerate(ranges)]
        if len(bodies) == 1:
            return replace(stored, info=info, body=bodies[0][1], part=ranges[0])
        return replace(stored, info=info, body=b"", part=None, parts=tuple(bodies))

    def listing(self, path: ResourcePath, page: bytes) -> bytes:
        """A page of a container, in JSON, with what rows of encrypted objects bring encrypted in its place."""
        if _SEALED_FIELD not in page:
            return page
        rows: list[dict[str, Any]] = _rows.decode(page)
        for row in rows:
            if (text := row.pop("sealed", None)) is not None:
                self._show(path, row, text)
        return msgspec.json.encode(rows)

    def _show(self, path: ResourcePath, row: dict[str, Any], text: str) -> None:
        """An ETag that nobody can read is ""."""
        own = path.with_object(row["name"])
        try:
            secret, sealed = split_text(text)
            keys = ContainerKeys.of(self._manager, secret, path)
            row.update(msgspec.json.decode(unseal(keys.sealing, sealed, context_of("row", own)), type=dict[str, str]))
        except (SealBroken, EncryptionKeyMissing, ValueError):
            row["hash"] = ""


def _sliced(info: StoredObjectInfo, content: bytes, ranges: list[ByteRange]) -> OpenedObject:
    from objstore.proxy.core.objects import OpenedObject  # it imports this module

    pieces = [content[each.first : each.last + 1] for each in ranges]
    if len(pieces) == 1:
        return OpenedObject(info, pieces[0], ranges[0])
    return OpenedObject(
        info, b"", parts=tuple((each, BytesBody(piece)) for each, piece in zip(ranges, pieces, strict=True))
    )
