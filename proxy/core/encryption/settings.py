"""How the objects of a container are encrypted, in its system metadata.

The entry is there as soon as one object of the container was encrypted, and stays. So without it nothing of the
container has to be decrypted, also no row of its listing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from objstore.proxy.core.encryption.envelope import Seal
from objstore.proxy.core.errors import SealBroken
from objstore.proxy.core.info import ENCRYPTION, ContainerInfo

# New objects are not encrypted unless their writers ask for it.
OFF: Final = "-"


def setting(seal: Seal | None) -> dict[str, str]:
    """The system metadata that has new objects encrypted so, or not any more."""
    return {ENCRYPTION: OFF if seal is None else msgspec.json.encode(seal).decode()}


def is_marked(container: ContainerInfo) -> bool:
    """Whether the container may have encrypted objects."""
    return bool(container.sysmeta) and ENCRYPTION in container.sysmeta


def container_seal(container: ContainerInfo) -> Seal | None:
    """How new objects of the container are encrypted, None for not. Raises SealBroken."""
    return _decoded(container.sysmeta[ENCRYPTION]) if is_marked(container) else None


@lru_cache(maxsize=1024)
def _decoded(text: str) -> Seal | None:
    if text == OFF:
        return None
    try:
        return msgspec.json.decode(text, type=Seal)
    except (msgspec.DecodeError, UnicodeError):
        raise SealBroken from None
