"""Links: an object that stands for another one, which readers get in its place.

A dynamic link leads to whatever has the target's name. A static one leads to one object only: it holds the ETag that
the target had, and a reader who would get something else gets an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from objstore.paths import ResourcePath
from objstore.proxy.core.backend.names import LINK_ETAG, LINK_SIZE, LINK_TARGET
from objstore.proxy.core.composite import PartSource
from objstore.proxy.core.errors import InvalidRange, LinkTargetChanged, NotModified, PreconditionFailed, TooManyLinks
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.manifest import is_composite
from objstore.proxy.core.objects import GetObject, OpenedObject

# How many links in a row are followed.
LINKS_MAX: Final = 2

Found = TypeVar("Found", OpenedObject, StoredObjectInfo)


class Link(Struct, frozen=True):
    """Where a link leads. account: "" for the one that the link is in, wherever it is copied.

    etag, size: of the target; known to a static link only, empty in a dynamic one.
    """

    account: str
    container: str
    object: str
    etag: str = ""
    size: str = ""

    def target(self, own_account: str) -> ResourcePath:
        """The target of this link in an account."""
        return ResourcePath(self.account or own_account, self.container, self.object)

    @property
    def metadata(self) -> dict[str, str]:
        """The system metadata that makes an empty object this link."""
        target = quote(f"{self.account}/{self.container}/{self.object}")
        kept = {LINK_TARGET: target, LINK_ETAG: self.etag, LINK_SIZE: self.size}
        return {key: value for key, value in kept.items() if value}


class LinkedPartSource(PartSource):
    """Opens parts that may be links; a dynamic manifest among them is no more than its own bytes."""

    def open(self, path: ResourcePath, ranges: str = "", *, newest: bool = False) -> OpenedObject:
        """What a link leads to comes in its place."""
        command = self._command(path, ranges, newest)
        opened = self._objects.open(command)
        if not opened.info.stands_for_others:
            return opened
        followed = follow(opened, command, self._objects.open, self.policy_index)
        opened, command = followed.found, followed.command
        if ranges and opened.info.stands_for_others and not is_composite(opened.info):
            opened.close()
            return self._objects.open(msgspec.structs.replace(command, as_stored=True))
        return opened

    def head(self, path: ResourcePath) -> StoredObjectInfo:
        """As `open`."""
        command = self._command(path, "", newest=False)
        return follow(self._objects.head(command), command, self._objects.head, self.policy_index).found


class Followed(Struct, Generic[Found], frozen=True):
    """What is at the end of a chain of links, and the command that reads it from there."""

    found: Found
    command: GetObject


def link_of(system: Mapping[str, str]) -> Link | None:
    """The link that an object with this system metadata is, if it is one."""
    if LINK_TARGET not in system:
        return None
    account, container, name = unquote(system[LINK_TARGET]).split("/", 2)
    return Link(account, container, name, system.get(LINK_ETAG, ""), system.get(LINK_SIZE, ""))


def linked_etag(info: StoredObjectInfo) -> str:
    """The ETag by which a static link knows an object: its data's or, if that is a static link too, its target's."""
    link = link_of(info.metadata.system)
    return info.etag if link is None or not link.etag else link.etag


def follow(
    found: Found,
    command: GetObject,
    read: Callable[[GetObject], Found],
    policy_of: Callable[[ResourcePath], int],
    *,
    etag: str = "",
    static_only: bool = False,
) -> Followed[Found]:
    """Read on from what `command` has found until that is no link or, with `static_only`, no static one.

    `policy_of` gives the policy of a target's container, or raises what keeps the reader from it. `etag`: what is found
    must have it. Raises CoreError: LinkTargetChanged, TooManyLinks, and what `read` raises.
    """
    links_left = LINKS_MAX
    while True:
        info = _info_of(found)
        _check(etag, linked_etag(info), command, found)
        link = link_of(info.metadata.system)
        if link is None or (static_only and not link.etag):
            return Followed(found, command)
        _close(found)
        if not links_left:
            raise TooManyLinks(LINKS_MAX)
        links_left -= 1
        etag, target = link.etag, link.target(command.path.account)
        command = msgspec.structs.replace(command, path=target, policy_index=policy_of(target), version="")
        try:
            found = read(command)
        except (InvalidRange, NotModified, PreconditionFailed) as error:
            # What the reader has, or expects, is no matter of the link: the wrong target is none.
            actual = error.info.etag if isinstance(error, NotModified) else error.facts.etag
            _check(etag, actual, command)
            raise


def _check(
    expected: str, actual: str, command: GetObject, found: OpenedObject | StoredObjectInfo | None = None
) -> None:
    if expected and expected != actual:
        _close(found)
        raise LinkTargetChanged(command.path, expected, actual)


def _info_of(found: OpenedObject | StoredObjectInfo) -> StoredObjectInfo:
    return found.info if isinstance(found, OpenedObject) else found


def _close(found: OpenedObject | StoredObjectInfo | None) -> None:
    if isinstance(found, OpenedObject):
        found.close()
