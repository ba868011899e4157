"""Writes of encrypted objects: a command that stores an object becomes one that stores it encrypted."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import md5
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec.structs import replace

from objstore.checksums import Algorithm, Chunk
from objstore.http.bodies import BytesBody
from objstore.limits import ObjectTooLarge
from objstore.paths import ResourcePath
from objstore.proxy.core.backend.names import (
    CHECKSUM_PREFIX,
    COMPOSITE_ETAG,
    COMPOSITE_SIZE,
    LINK_ETAG,
    LISTED_ETAG,
    LISTED_SIZE,
    MANIFEST,
    SEALED,
    SEALED_FACTS,
    SEALED_METADATA,
    SYSTEM,
    UPLOAD,
)
from objstore.proxy.core.checksums import BodyDigest
from objstore.proxy.core.encryption.bodies import SealingBody
from objstore.proxy.core.encryption.envelope import (
    CUSTOMER,
    NAMED,
    Envelope,
    Facts,
    Seal,
    encode_envelope,
    encode_facts,
)
from objstore.proxy.core.encryption.format import ChunkSealer, new_key, seal, seal_whole, sealed_size, unseal
from objstore.proxy.core.encryption.key_ring import ContainerKeys, KeyManager
from objstore.proxy.core.encryption.manifests import sealed_manifest
from objstore.proxy.core.errors import CustomerKeyNeeded, CustomerKeyWrong, EncryptionKeyMissing, IncompleteBody
from objstore.proxy.core.info import StoredMetadata
from objstore.rows import etag_with_fields, split_etag

if TYPE_CHECKING:
    from objstore.conditions import WriteConditions
    from objstore.proxy.core.encryption.envelope import CustomerKey
    from objstore.proxy.core.objects import DeleteObject, PostObject, PutObject, PutResult
    from objstore.system.threads import ThreadGroup

# System metadata that tells something of the content; the servers need none of it as it is.
_SECRET: Final = frozenset({COMPOSITE_ETAG, LISTED_ETAG, LINK_ETAG})
_SEPARATOR: Final = ":"
_encode: Final = msgspec.json.Encoder().encode
Command = TypeVar("Command", "PutObject", "PostObject", "DeleteObject")


def context_of(purpose: str, path: ResourcePath) -> bytes:
    """To what a sealed value is bound: what it is, and of which object."""
    return f"{purpose}\0{path.account}\0{path.container}\0{path.object}".encode()


def wrapping_context(path: ResourcePath, chosen: Seal) -> bytes:
    """To what the key of a body is bound."""
    return context_of("key", path) + f"\0{chosen.kind}\0{chosen.context}".encode()


def sealed_text(secret: str, sealed: bytes) -> str:
    """A sealed value with the id of its secret, as text."""
    return f"{secret}{_SEPARATOR}{b64encode(sealed).decode()}"


def split_text(text: str) -> tuple[str, bytes]:
    """The id of the secret, and the sealed value. Raises ValueError."""
    secret, _, value = text.partition(_SEPARATOR)
    return secret, b64decode(value, validate=True)


def wrapping_key(
    manager: KeyManager, envelope: Envelope, keys: ContainerKeys, path: ResourcePath, customer_key: CustomerKey | None
) -> bytes:
    """What the key of a body is wrapped with. Raises EncryptionKeyMissing, CustomerKeyNeeded."""
    if envelope.wrapped_by_customer:
        if customer_key is None:
            raise CustomerKeyNeeded(path)
        return customer_key.value
    if envelope.seal.kind in NAMED and envelope.seal.key:
        return manager.derive(envelope.seal.key, "wrapping", f"{path.account}/{path.container}")
    return keys.wrapping


class SealedPut:
    """A PUT of an encrypted object under way; it takes the place of the digest of what is sent."""

    def __init__(self, command: PutObject, chosen: Seal, manager: KeyManager, threads: ThreadGroup) -> None:
        """Raises EncryptionKeyMissing, CustomerKeyNeeded, CustomerKeyWrong."""
        if not manager.active:
            raise EncryptionKeyMissing("")
        self._path = command.path
        self._keys = ContainerKeys.of(manager, manager.active, command.path)
        self._digest = BodyDigest(command)
        self._system = command.metadata.system
        self._chosen = chosen
        self._object_key = new_key()
        self._sealer = ChunkSealer(self._object_key)
        # The parts of an upload are named in its manifest, for a daemon that has no keys.
        lists_parts = MANIFEST in command.metadata.given and UPLOAD in self._system
        envelope = Envelope(chosen, manager.active, b"", lists_parts)
        if envelope.wrapped_by_customer and chosen.check and not _fits(command.customer_key, chosen.check):
            raise CustomerKeyWrong(command.path)
        key = wrapping_key(manager, envelope, self._keys, command.path, command.customer_key)
        self._wrapped = seal(key, self._object_key, wrapping_context(command.path, chosen))
        self._envelope = replace(envelope, wrapped=self._wrapped)
        self._size = 0
        self._etag, self._kept = "", dict[Algorithm, str]()
        self.command: Final = self._sealed_listing(command) if lists_parts else self._sealed(command, threads)

    def _sealed(self, command: PutObject, threads: ThreadGroup) -> PutObject:
        body = SealingBody(command.body, self._sealer, self._digest.update, command.length_max, threads)
        length = None if command.length is None else sealed_size(command.length)
        return self._with(command, body, length, sealed_size(command.length_max))

    def _sealed_listing(self, command: PutObject) -> PutObject:
        content = command.body.read()
        if len(content) != command.length:
            raise IncompleteBody(command.length or 0, len(content))
        self._digest.update(content)
        self._size = len(content)
        stored = sealed_manifest(content, seal_whole(self._object_key, content))
        return self._with(command, BytesBody(stored), len(stored), len(stored))

    def _with(self, command: PutObject, body: SealingBody | BytesBody, length: int | None, limit: int) -> PutObject:
        visible = {name: value for name, value in self._system.items() if not _is_secret(name)}
        if COMPOSITE_ETAG in self._system:
            visible[COMPOSITE_ETAG] = self._keys.mac(self._path.object, self._system[COMPOSITE_ETAG])
        metadata = with_sealed_user(command.metadata, self._keys, self._path)
        visible[SEALED] = encode_envelope(self._envelope)
        return replace(
            command,
            body=body,
            length=length,
            length_max=limit,
            metadata=replace(metadata, system=visible),
            expected_md5="",
            checksums=None,
            conditions=command.conditions,
            seal=None,
            customer_key=None,
            digest=self,
        )

    def update(self, chunk: Chunk) -> None:
        """What is sent is the encrypted form: the body itself has been taken in before."""

    def finish(self) -> tuple[str, dict[Algorithm, str]]:
        """What stands in the place of the ETag. Raises ChecksumMismatch."""
        etag, self._kept = self._digest.finish()
        # Whose key it is, they alone know what is stored: an MD5 would tell others.
        own = self._chosen.kind == CUSTOMER or self._chosen.kind in NAMED
        self._etag = md5(self._wrapped, usedforsecurity=False).hexdigest() if own else etag
        return self._keys.mac(self._path.object, self._etag), {}

    def headers(self, etag: str, _kept: Mapping[Algorithm, str]) -> dict[str, str]:
        """What is known only now: the facts, encrypted, and what the container lists."""
        size = self._size or self._sealer.size
        more = self._digest.headers(self._etag, self._kept)
        system = self._system | {name[len(SYSTEM) :]: value for name, value in more.items()}
        facts = Facts(size, self._etag, {name: value for name, value in system.items() if _is_secret(name)})
        context = context_of("facts", self._path) + self._wrapped
        listed, fields = split_etag(system.get(LISTED_ETAG, self._etag))
        shown = seal(self._keys.sealing, _encode({"hash": listed, **fields}), context_of("row", self._path))
        found = {
            SEALED_FACTS: b64encode(seal(self._keys.sealing, encode_facts(facts), context)).decode(),
            LISTED_ETAG: etag_with_fields(etag, {"sealed": sealed_text(self._keys.secret, shown)}),
        }
        if COMPOSITE_SIZE not in system and LISTED_SIZE not in system:
            found[LISTED_SIZE] = str(size)
        return {SYSTEM + name: value for name, value in found.items()}

    def result(self, stored: PutResult) -> PutResult:
        """As the writer of the object itself is told."""
        return replace(stored, etag=self._etag, checksums=self._kept, seal=self._chosen)


def _is_secret(name: str) -> bool:
    return name in _SECRET or name.startswith(CHECKSUM_PREFIX)


def _fits(key: CustomerKey | None, check: bytes) -> bool:
    return key is None or key.matches(check)  # without one it is missed, not wrong


def with_sealed_user(metadata: StoredMetadata, keys: ContainerKeys, path: ResourcePath) -> StoredMetadata:
    """The metadata, with what clients attach encrypted."""
    if not metadata.user:
        return metadata
    sealed = seal(keys.sealing, _encode(metadata.user), context_of("metadata", path))
    transient = metadata.transient | {SEALED_METADATA: sealed_text(keys.secret, sealed)}
    return replace(metadata, user={}, transient=transient)


class Sealing:
    """Makes commands that store encrypted objects; one for each process."""

    def __init__(self, manager: KeyManager, threads: ThreadGroup) -> None:
        self._manager: Final = manager
        self._threads: Final = threads

    @property
    def is_possible(self) -> bool:
        """Whether there is a key."""
        return bool(self._manager.active)

    def put(self, command: PutObject) -> SealedPut:
        """The PUT of the encrypted form. Raises EncryptionKeyMissing, CustomerKeyNeeded, CustomerKeyWrong."""
        if command.length is not None and command.length > command.length_max:
            raise ObjectTooLarge(command.length_max)
        assert command.seal is not None
        return SealedPut(command, command.seal, self._manager, self._threads)

    def post(self, command: PostObject) -> PostObject:
        """The POST with its user metadata encrypted. Raises EncryptionKeyMissing."""
        if not self._manager.active:
            raise EncryptionKeyMissing("")
        keys = ContainerKeys.of(self._manager, self._manager.active, command.path)
        return replace(command, metadata=with_sealed_user(command.metadata, keys, command.path))

    def with_macs(self, command: Command) -> Command:
        """The command, whose conditions hold for an encrypted object, too: servers know an ETag's MAC in its place."""
        conditions = command.conditions
        if conditions is None or not (conditions.if_match or conditions.if_none_match):
            return command
        each = [ContainerKeys.of(self._manager, root, command.path) for root in self._manager.roots]
        return replace(command, conditions=_with_macs(conditions, each, command.path.object))


def _with_macs(conditions: WriteConditions, keys: list[ContainerKeys], name: str) -> WriteConditions:
    def both(etags: tuple[str, ...]) -> tuple[str, ...]:
        return (*etags, *(each.mac(name, etag) for etag in etags if etag != "*" for each in keys))

    return replace(conditions, if_match=both(conditions.if_match), if_none_match=both(conditions.if_none_match))


def unsealed_user(manager: KeyManager, text: str, path: ResourcePath) -> dict[str, str]:
    """The user metadata that stands encrypted with an object. Raises SealBroken, EncryptionKeyMissing, ValueError."""
    secret, sealed = split_text(text)
    keys = ContainerKeys.of(manager, secret, path)
    return msgspec.json.decode(unseal(keys.sealing, sealed, context_of("metadata", path)), type=dict[str, str])
