"""The bytes of images: upload, stage, import, download, digests, copies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import webob
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, WebRoute, empty_answer
from objstore.image.access import NotAllowed, check_data, check_owner, check_service
from objstore.image.api.faults import refusing
from objstore.image.importing import ImportRequest, Imports
from objstore.image.measuring import CHUNK_ALGORITHM, CHUNK_BYTES
from objstore.image.model import statuses
from objstore.image.queries import find_image
from objstore.image.records import DISCARDED, ImageRecord
from objstore.image.stores.store import StoreFailed
from objstore.image.transfers import DIGESTS_SUFFIX, Transfers
from objstore.logs import get_logger

OCTETS: Final = "application/octet-stream"
PIECE_BYTES: Final = 256 * 1024
RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
DIGEST_BYTES: Final = 32


@dataclass
class DataApi:
    """Handlers of what moves bytes."""

    transfers: Transfers
    imports: Imports

    def __post_init__(self) -> None:
        self._log = get_logger("image")

    def routes(self) -> list[WebRoute]:
        one = "/v2/images/{image_id}"
        return [
            WebRoute("PUT", f"{one}/file", refusing(self.upload), streams=True),
            WebRoute("GET", f"{one}/file", refusing(self.download)),
            WebRoute("GET", f"{one}/digests", refusing(self.digests)),
            WebRoute("PUT", f"{one}/stage", refusing(self.stage), streams=True),
            WebRoute("POST", f"{one}/import", refusing(self.import_)),
            WebRoute("DELETE", "/v2/stores/{store}/{image_id}", refusing(self.drop_copy)),
        ]

    def upload(self, call: Call) -> webob.Response:
        _check_octets(call)
        store = call.request.headers.get("X-Image-Meta-Store") or self.transfers.default_store
        pieces, length = call.pieces(PIECE_BYTES), call.request.content_length
        self.transfers.upload(call.caller, call.arguments["image_id"], pieces, length, store)
        return empty_answer()

    def stage(self, call: Call) -> webob.Response:
        _check_octets(call)
        pieces, length = call.pieces(PIECE_BYTES), call.request.content_length
        self.transfers.stage(call.caller, call.arguments["image_id"], pieces, length)
        return empty_answer()

    def import_(self, call: Call) -> webob.Response:
        request = call.json_as(ImportRequest)
        if store := call.request.headers.get("X-Image-Meta-Store"):
            if request.stores is not None or request.all_stores:
                raise Fault(400, "Stores are named by the header X-Image-Meta-Store or by the body, not by both.")
            request = ImportRequest(request.method, [store])
        self.imports.begin(call.caller, call.caller.user_id, call.arguments["image_id"], request, call.id)
        return empty_answer(202)

    def download(self, call: Call) -> webob.Response:
        image = self._readable(call)
        if image is None:
            return empty_answer(204)
        size = image.size or 0
        first, count = _range(call.request.headers.get("Range"), size)
        whole = count == size
        response = webob.Response(status=200 if whole else 206, content_type=OCTETS)
        if whole and image.checksum:
            response.headers["Content-MD5"] = image.checksum
        if not whole:
            response.headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{size}"
        response.headers["Accept-Ranges"] = "bytes"
        if call.request.method != "HEAD" and count:
            response.app_iter = self._logged(image, self.transfers.read(image, first, count))
        response.content_length = count
        return response

    def digests(self, call: Call) -> webob.Response:
        """The SHA-256 of each MiB of the image, one after the other: 32 bytes each."""
        image = self._readable(call)
        if image is None:
            return empty_answer(204)
        count = -(-(image.size or 0) // CHUNK_BYTES) * DIGEST_BYTES
        headers = {"X-Image-Digest-Algorithm": CHUNK_ALGORITHM, "X-Image-Digest-Chunk-Bytes": str(CHUNK_BYTES)}
        response = webob.Response(status=200, content_type=OCTETS)
        response.headers.update(headers)
        if call.request.method != "HEAD" and count:
            response.app_iter = self._logged(image, self.transfers.read(image, 0, count, DIGESTS_SUFFIX))
        response.content_length = count
        return response

    def _readable(self, call: Call) -> ImageRecord | None:
        """The image, None if it has no data (yet)."""
        image = self.transfers.find(call.caller, call.arguments["image_id"])
        check_data(call.caller, image)
        return image if image.status in statuses.HAS_DATA else None

    def _logged(self, image: ImageRecord, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except StoreFailed as error:
            self._log.warning("a download broke off", image=image.id, reason=str(error))
            raise

    def drop_copy(self, call: Call) -> webob.Response:
        store = call.arguments["store"]

        def mark(session: Session) -> None:
            image = find_image(session, call.caller, call.arguments["image_id"])
            check_owner(call.caller, image)
            copies = [each for each in image.kept_data if each.store == store]
            if not copies:
                raise Fault(404, f"Image {image.id} has no data in the store {store:.64}.")
            if image.protected:
                raise NotAllowed(f"Image {image.id} is protected.")
            if len(image.kept_data) == len(copies):
                raise NotAllowed("The last copy of an image's data is not deleted without the image.")
            for copy in copies:
                copy.state = DISCARDED
            image.updated_at = self.transfers.now()

        self.transfers.database.run(mark)
        self.transfers.discarded.set()
        return empty_answer()

    def locations(self, call: Call) -> list[dict[str, object]]:
        """Where the bytes are, for services: the name of a store and of an object in it."""
        check_service(call.caller)
        image = self.transfers.find(call.caller, call.arguments["image_id"])
        return [
            {"url": f"objstore://{each.store}/{each.id}", "metadata": {"store": each.store}} for each in image.kept_data
        ]


def _check_octets(call: Call) -> None:
    if call.request.content_type != OCTETS:
        raise Fault(415, f"The data of an image is sent as {OCTETS}.")


def _range(header: str | None, size: int) -> tuple[int, int]:
    """The first byte that is wanted, and how many. Raises Fault 416."""
    if header is None:
        return 0, size
    match = RANGE.fullmatch(header.strip())
    begin, end = match.groups() if match else ("", "")
    if begin:
        first, last = int(begin), min(int(end), size - 1) if end else size - 1
    else:
        first, last = max(size - int(end or 0), 0), size - 1
    if first > last or not match or not (begin or end):
        raise Fault(416, "The range cannot be satisfied.", headers={"Content-Range": f"bytes */{size}"})
    return first, last - first + 1
