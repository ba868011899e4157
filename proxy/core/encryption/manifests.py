"""Manifests of encrypted uploads: the names of the parts as they are, for the part reclaimer; the rest encrypted."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from objstore.proxy.core.errors import SealBroken


class _NamedPart(Struct, frozen=True):
    name: str = ""


class _SealedManifest(Struct, frozen=True):
    parts: list[_NamedPart]
    sealed: bytes


_parts: Final = msgspec.json.Decoder(list[_NamedPart])
_manifests: Final = msgspec.json.Decoder(_SealedManifest)


def sealed_manifest(content: bytes, sealed: bytes) -> bytes:
    """What is stored of a manifest, of which `sealed` is the encrypted form."""
    return msgspec.json.encode(_SealedManifest(_parts.decode(content), sealed))


def sealed_form(stored: bytes) -> bytes:
    """The encrypted form in a stored manifest. Raises SealBroken."""
    try:
        return _manifests.decode(stored).sealed
    except msgspec.DecodeError:
        raise SealBroken from None
