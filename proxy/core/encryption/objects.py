"""Operations on objects of which some are encrypted. Those that are not cost a look at their metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from objstore.proxy.core.encryption.envelope import Seal
from objstore.proxy.core.encryption.opening import ATTEMPTS_MAX, Opening, is_sealed
from objstore.proxy.core.encryption.sealing import Sealing
from objstore.proxy.core.errors import BodyBrokenOff, CustomerKeyUnfit
from objstore.proxy.core.info import NO_METADATA
from objstore.proxy.core.objects import (
    DeleteObject,
    GetObject,
    ObjectOperations,
    OpenedObject,
    PostObject,
    PostResult,
    PutObject,
    PutResult,
)
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.cluster import Cluster
    from objstore.proxy.core.info import StoredObjectInfo

_OWN: Final = Seal()


class SealedObjectOperations(ObjectOperations):
    """Encrypts what is written with a seal, or under a policy whose objects are encrypted; decrypts what is read."""

    def __init__(self, sealing: Sealing, opening: Opening, cluster: Cluster, *rest: Any) -> None:
        super().__init__(cluster, *rest)
        self._sealing: Final = sealing
        self._opening: Final = opening
        self._encrypting: Final = frozenset(policy.index for policy in cluster.policies if policy.encrypted)

    def put(self, command: PutObject) -> PutResult:
        """See ObjectOperations. Raises EncryptionKeyMissing, CustomerKeyNeeded, CustomerKeyWrong, too."""
        if command.conditions is not None:
            command = self._sealing.with_macs(command)
        seal = command.seal
        if seal is None:
            if command.policy_index not in self._encrypting:
                return super().put(command)
            command = replace(command, seal=_OWN)
        sealed = self._sealing.put(command)
        return sealed.result(super().put(sealed.command))

    def post(self, command: PostObject) -> PostResult:
        """See ObjectOperations."""
        if command.conditions is not None:
            command = self._sealing.with_macs(command)
        if command.sealed or command.metadata.is_sealed or command.policy_index in self._encrypting:
            command = self._sealing.post(command)
        return super().post(command)

    def delete(self, command: DeleteObject) -> Timestamp:
        """See ObjectOperations."""
        return super().delete(command if command.conditions is None else self._sealing.with_macs(command))

    def head(self, command: GetObject) -> StoredObjectInfo:
        """See ObjectOperations. A customer's key is compared if it is there."""
        info = super().head(command)
        if info.metadata is not NO_METADATA and is_sealed(info.metadata):
            return self._opening.head(command, info)
        if command.customer_key is not None:
            raise CustomerKeyUnfit(command.path)
        return info

    def open(self, command: GetObject) -> OpenedObject:
        """See ObjectOperations. Raises CustomerKeyNeeded, CustomerKeyWrong, SealBroken, EncryptionKeyMissing, too."""
        return self._open_anew(command, ATTEMPTS_MAX)

    def _open_anew(self, command: GetObject, attempts: int) -> OpenedObject:
        opened = super().open(command)
        metadata = opened.info.metadata
        if metadata is not NO_METADATA and is_sealed(metadata):

            def again(command: GetObject) -> OpenedObject:
                if attempts == 1:
                    raise BodyBrokenOff(0)
                return self._open_anew(command, attempts - 1)

            return self._opening.open(command, opened, super().open, again)
        if command.customer_key is not None:
            opened.close()
            raise CustomerKeyUnfit(command.path)
        return opened
