"""Images in a store that speaks the Swift API: each a static large object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from objstore.client.errors import ClientError, NotFound
from objstore.client.requests import RequestBody
from objstore.client.store import StoreClient
from objstore.image.stores.store import PieceGroups, StoreFailed, reported

SEGMENT_BYTES: Final = 1023 << 20
SEGMENTS_MAX: Final = 1000  # of one manifest; more than that takes a store whose operator allows it


@dataclass
class SwiftImageStore:
    """Images in one container of an account.

    NAME is the manifest, NAME/NUMBER its segments. The manifest is written last and deleted first, so it never names a
    segment that is missing.
    """

    name: str
    client: StoreClient
    container: str
    segment_bytes: int = SEGMENT_BYTES
    kind: str = "swift"
    _container_made: bool = False

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        try:
            if not self._container_made:
                self.client.create_container(self.container)
                self._container_made = True
            self._write(name, pieces)
        except ClientError as error:
            raise StoreFailed(self.name, error.brief) from error

    def _write(self, name: str, pieces: Iterable[bytes]) -> None:
        groups = PieceGroups(pieces, self.segment_bytes)
        segments = []
        for number, group in enumerate(groups):
            if number == SEGMENTS_MAX:
                raise StoreFailed(self.name, f"the image has more than {SEGMENTS_MAX} segments")
            segment = f"{name}/{number:08}"
            stored = self.client.put_object(self.container, segment, group)
            entry = {"path": f"/{self.container}/{segment}", "etag": stored["etag"].strip('"')}
            segments.append({**entry, "size_bytes": groups.counted})
        if not segments:  # a manifest names at least one
            self.client.put_object(self.container, name, b"")
            return
        body = RequestBody(msgspec.json.encode(segments))
        query = {"multipart-manifest": "put"}
        with self.client.request("PUT", self.container, name, body=body, query=query) as response:
            response.read()

    def read(self, name: str, first: int, count: int) -> Iterator[bytes]:
        return reported(self.name, lambda: self.client.object_chunks(self.container, name, first, count))

    def discard(self, name: str) -> None:
        try:
            self._delete(name)
            for row in list(self.client.objects(self.container, prefix=f"{name}/")):
                self._delete(row["name"])
        except NotFound:
            pass  # not even the container
        except ClientError as error:
            raise StoreFailed(self.name, error.brief) from error

    def _delete(self, name: str) -> None:
        try:
            self.client.delete_object(self.container, name)
        except NotFound:
            pass
