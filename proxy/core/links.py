"""Links: an object that stands for another one, which readers get in its place.

A dynamic link leads to whatever has the target's name. A static one leads to one object only: it holds the ETag that
the target had, and a reader who would get something else gets an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from objstore.paths import ResourcePath
from objstore.proxy.core.errors import LinkTargetChanged, TooManyLinks
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.objects import GetObject, OpenedObject

# How many links in a row are followed.
LINKS_MAX: Final = 2
# In the system metadata of an object.
TARGET_KEY: Final = "Link-Target"
ETAG_KEY: Final = "Link-Etag"
SIZE_KEY: Final = "Link-Size"

Found = TypeVar("Found", OpenedObject, StoredObjectInfo)


class Link(Struct, frozen=True):
    """Where a link leads. etag, size: of the target; known to a static link only, empty in a dynamic one."""

    target: ResourcePath
    etag: str = ""
    size: str = ""

    @property
    def metadata(self) -> dict[str, str]:
        """The system metadata that makes an empty object this link."""
        kept = {TARGET_KEY: self.target.quoted, ETAG_KEY: self.etag, SIZE_KEY: self.size}
        return {key: value for key, value in kept.items() if value}


class Followed(Struct, Generic[Found], frozen=True):
    """What is at the end of a chain of links, and the command that reads it from there."""

    found: Found
    command: GetObject


def link_of(info: StoredObjectInfo) -> Link | None:
    """The link that an object is, if it is one."""
    system = info.metadata.system
    if TARGET_KEY not in system:
        return None
    target = ResourcePath.parse(unquote(system[TARGET_KEY]))
    return Link(target, system.get(ETAG_KEY, ""), system.get(SIZE_KEY, ""))


def linked_etag(info: StoredObjectInfo) -> str:
    """The ETag by which a static link knows an object: its data's or, if that is a static link too, its target's."""
    link = link_of(info)
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
        if etag and etag != linked_etag(info):
            _close(found)
            raise LinkTargetChanged(command.path, etag)
        link = link_of(info)
        if link is None or (static_only and not link.etag):
            return Followed(found, command)
        _close(found)
        if not links_left:
            raise TooManyLinks(LINKS_MAX)
        links_left -= 1
        etag, target = link.etag, link.target
        command = msgspec.structs.replace(command, path=target, policy_index=policy_of(target))
        found = read(command)


def _info_of(found: OpenedObject | StoredObjectInfo) -> StoredObjectInfo:
    return found.info if isinstance(found, OpenedObject) else found


def _close(found: OpenedObject | StoredObjectInfo) -> None:
    if isinstance(found, OpenedObject):
        found.close()
