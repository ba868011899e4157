"""Conditions of writes: in which states of its object a write is done. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from msgspec import Struct

from objstore.headers import Sysmeta


class ObjectState(Struct, frozen=True):
    """An object as conditions see it: what its readers get now, also where that is made of parts.

    modified: the time shown as Last-Modified, in whole seconds since the epoch. version: the internal timestamp of a
    version that is kept, "" in the plain line.
    """

    etag: str
    size: int
    modified: int
    version: str = ""

    @classmethod
    def of(cls, etag: str, size: int, modified: int, version: str, sysmeta: Mapping[str, str]) -> Self:
        """From what is stored; the system metadata of a manifest, or of an encrypted object, says what its readers get.

        That of an encrypted one has a MAC in the place of the ETag: conditions name both.
        """
        if Sysmeta.COMPOSITE_ETAG in sysmeta:
            etag, size = sysmeta[Sysmeta.COMPOSITE_ETAG], int(sysmeta.get(Sysmeta.COMPOSITE_SIZE, size))
        elif Sysmeta.SEALED in sysmeta:
            size = int(sysmeta.get(Sysmeta.LISTED_SIZE, size))
        return cls(etag, size, modified, version)


class WriteConditions(Struct, frozen=True):
    """What must hold for a write to be done: all that is given.

    if_absent: there is no object. if_match: there is one with one of these ETags, any for "*"; () asks for nothing.
    if_none_match: it has none of these. if_version: this version is current, "null" for one in the plain line.
    if_unmodified_since: in whole seconds since the epoch. if_size: in bytes.

    ETags are bare. A weak one, which no object has (RFC 9110, section 13.1.1), stays as HTTP writes it.
    """

    if_absent: bool = False
    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_version: str = ""
    if_unmodified_since: int | None = None
    if_size: int | None = None

    def refuse(self, state: ObjectState | None) -> bool:
        """Whether the write is not to be done in this state; None for none: absent, expired, or a delete marker.

        Without an object only those conditions fail that ask for one (RFC 9110, section 13.1).
        """
        if state is None:
            return bool(self.if_match or self.if_version) or self.if_size is not None
        return (
            self.if_absent
            or bool(self.if_match and "*" not in self.if_match and state.etag not in self.if_match)
            or state.etag in self.if_none_match
            or self.if_version not in ("", state.version or "null")
            or self.if_size not in (None, state.size)
            or (self.if_unmodified_since is not None and state.modified > self.if_unmodified_since)
        )
