"""The parts of one upload as the reclaimer deals with them: who names them, and their removal.

Parts may go only while the upload has no record and no live version of its object names them. Both are asked of every
primary, and of as many handoffs as a proxy writes to, in every policy, since a misplaced object names its parts, too.
The record is asked for first: a completion stores its manifest before it removes the record, so whoever finds no record
and no manifest afterwards has an upload that was aborted, or whose object is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from objstore.cluster import Cluster
from objstore.direct import Direct, Headers, NodeResponse, container_headers
from objstore.headers import Backend, Client, Sysmeta
from objstore.http.transport import NodeFailure
from objstore.paths import ResourcePath
from objstore.ring.daemon_context import DaemonContext
from objstore.system import concurrency
from objstore.system.concurrency import Task
from objstore.uploads import UploadName, hidden_container, named_parts

OK: Final = 200
# 10,000 parts with long names.
MANIFEST_BYTES_MAX: Final = 32 * 1024 * 1024


class Manifest(Struct, frozen=True, gc=False):
    """A version of an object, "null" or its timestamp, in the policy in which it lies."""

    policy_index: int
    version: str


class Standing(Struct, frozen=True):
    """Whether an upload is open or when that ended, "" if it is not known, and which versions name its parts."""

    has_record: bool
    ended_at: str
    manifests: tuple[Manifest, ...]


class Unnamed(Struct, frozen=True):
    """Parts that no manifest names, in the policy of their container."""

    policy_index: int
    paths: list[ResourcePath]


class UploadParts:
    """Looks at uploads and removes what is left of them, as the servers of their objects say."""

    def __init__(self, context: DaemonContext, direct: Direct, concurrency_max: int) -> None:
        self._cluster: Final[Cluster] = context.cluster
        self._rings = context.rings
        self._clock = context.runtime.clock
        self._direct = direct
        self._concurrency = concurrency_max

    def standing(self, owner: ResourcePath, name: UploadName) -> Standing | None:
        """How an upload of a container stands; None while that is not known."""
        records = self._heads(hidden_container(owner).with_object(name.record), {})
        heads = None if records is None else self._heads(owner.with_object(name.key), {Backend.UPLOAD: name.upload})
        if records is None or heads is None:
            return None
        # A record is not written again, so of several answers the newest counts.
        newest = max((reply for _, reply in records), key=lambda reply: reply.headers.get(Backend.TIMESTAMP, ""))
        has_record = newest.status == OK
        found = set[Manifest]()
        for policy_index, reply in heads:
            if reply.status == OK:
                if Backend.NAMED_BY not in reply.headers:
                    return None  # a server of a former release says nothing of uploads
                found |= {Manifest(policy_index, version) for version in reply.headers[Backend.NAMED_BY].split(",")}
        return Standing(has_record, "" if has_record else newest.headers.get(Backend.TIMESTAMP, ""), tuple(found))

    def _heads(self, path: ResourcePath, headers: Headers) -> list[tuple[int, NodeResponse]] | None:
        """The answers about an object by policy, each 200 or 404; None unless all have answered."""
        found: list[tuple[int, NodeResponse]] = []
        for policy in self._cluster.policies:
            asked = {**headers, Backend.POLICY_INDEX: str(policy.index), Backend.OPEN_EXPIRED: "true"}
            replies = self._direct.ask_widely(self._rings.object(policy.index), "HEAD", path, asked).replies
            if any(reply.status not in (OK, 404) for reply in replies):
                return None
            found += [(policy.index, reply) for reply in replies]
        return found

    def end(self, owner: ResourcePath, name: UploadName) -> bool:
        """Remove the record of an upload that is over; whether a quorum has."""
        hidden = hidden_container(owner)
        page = self._direct.page(self._rings.container, hidden, prefix=name.record)
        return page is not None and self._delete(page.policy_index, hidden.with_object(name.record))

    def unnamed(self, owner: ResourcePath, name: UploadName, manifests: Sequence[Manifest]) -> Iterator[Unnamed | None]:
        """The parts that none of these manifests names, page by page; None, and no more, if servers do not answer."""
        hidden, named = hidden_container(owner), set[str]()
        for manifest in manifests:
            parts = self._parts_of(owner, name, manifest)
            if parts is None:
                yield None
                return
            named |= parts
        marker = ""
        while True:
            page = self._direct.page(self._rings.container, hidden, marker, name.parts)
            if page is None:
                # Without the container there is no part; its servers may also just not answer.
                replies = self._direct.send(self._rings.container, "HEAD", hidden, _RESERVED)
                if set(replies.statuses) != {404}:
                    yield None
                return
            if not page.entries:
                return
            listed = [str(entry["name"]) for entry in page.entries]
            yield Unnamed(page.policy_index, [hidden.with_object(part) for part in listed if part not in named])
            marker = listed[-1]

    def _parts_of(self, owner: ResourcePath, name: UploadName, manifest: Manifest) -> set[str] | None:
        """The parts that a manifest names; None if it cannot be read, or has just been replaced."""
        headers = {
            Backend.POLICY_INDEX: str(manifest.policy_index),
            Backend.VERSION_ID: manifest.version,
            Backend.OPEN_EXPIRED: "true",
        }
        path = owner.with_object(name.key)
        found = self._direct.get(self._rings.object(manifest.policy_index), path, headers)
        if found is None:
            return None
        try:
            content = found.read_all(MANIFEST_BYTES_MAX)
            if found.headers.get(Sysmeta.UPLOAD) != name.upload:
                return None
            return named_parts(content, hidden_container(owner))
        except (NodeFailure, ValueError):
            return None

    def delete(self, parts: Unnamed) -> bool:
        """Delete them; whether a quorum has deleted each."""
        done = True
        for start in range(0, len(parts.paths), self._concurrency):
            tasks: list[Task[bool]] = [
                concurrency.spawn(partial(self._delete, parts.policy_index, path))
                for path in parts.paths[start : start + self._concurrency]
            ]
            for task in tasks:
                done &= task.wait()
        return done

    def _delete(self, policy_index: int, path: ResourcePath) -> bool:
        headers = {Client.TIMESTAMP: self._clock.timestamp().internal, Backend.POLICY_INDEX: str(policy_index)}
        each = container_headers(*self._direct.primaries(self._rings.container, path.container_path))
        best = self._direct.send(self._rings.object(policy_index), "DELETE", path, headers, each=each).best
        return best in (204, 404)


_RESERVED: Final = {Backend.ALLOW_RESERVED_NAMES: "true"}
