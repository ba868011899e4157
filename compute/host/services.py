"""The services that an agent talks to, with the token of its own user: the compute API and the image service."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from objstore.client.connections import ClientResponse, KeptConnections, ServerAddress, Timeouts
from objstore.client.errors import BadResponse, BodyCutShort, NotFound, Unauthorized
from objstore.client.identity import IdentityClient
from objstore.client.requests import ONCE, HttpClient, RequestBody, RetryPolicy
from objstore.compute.host.driver import DiskContent, MachineError
from objstore.compute.protocol import (
    WAIT_SECONDS_MAX,
    HostInstructions,
    HostRegistered,
    HostRegistration,
    HostReport,
)

DOCUMENT_MAX: Final = 16 << 20
DIGESTS_MAX: Final = 512 << 20
OCTETS: Final = "application/octet-stream"
PATCH: Final = "application/openstack-images-v2.1-json-patch"
SILENCE_SECONDS: Final = 60.0
SAVING_SECONDS: Final = 60.0

T = TypeVar("T")


def long_client() -> HttpClient:
    """Waits longer than a long poll takes, and asks once: the agent itself asks again."""
    seconds = WAIT_SECONDS_MAX + 20
    return HttpClient(ONCE, KeptConnections(Timeouts(10.0, seconds)))


def bulk_client() -> HttpClient:
    return HttpClient(RetryPolicy(attempts=2), KeptConnections(Timeouts(10.0, SILENCE_SECONDS)))


@dataclass
class _Service:
    """One service at `url`. Every method raises ClientError."""

    url: str
    identity: IdentityClient
    http: HttpClient = field(default_factory=bulk_client)

    def __post_init__(self) -> None:
        """Raises ValueError for a URL that is none."""
        self._server, path = ServerAddress.of_url(self.url)
        self._path = path.rstrip("/")

    def _request(
        self,
        method: str,
        target: str,
        body: RequestBody | None = None,
        headers: dict[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> ClientResponse:
        for _ in range(2):
            token = self.identity.log_in()
            sent = {"X-Auth-Token": token.text, **(headers or {})}
            response = self.http.request(
                self._server, method, self._path + target, headers=sent, body=body, accept={401, *accept}
            )
            if response.status != 401:
                return response
            response.close()
            self.identity.forget(token)
            if body is not None and not body.replayable:
                break
        raise Unauthorized(method, self._path + target, 401, "the token is refused")


@dataclass
class ComputeApi(_Service):
    """The part of the compute API that hosts call."""

    http: HttpClient = field(default_factory=long_client)

    def register(self, registration: HostRegistration) -> HostRegistered:
        return self._post("/host/v1/hosts", registration, HostRegistered)

    def report(self, host_id: str, report: HostReport) -> HostInstructions:
        """Raises NotFound when the host has to register anew."""
        return self._post(f"/host/v1/hosts/{quote(host_id, safe='')}/report", report, HostInstructions)

    def _post(self, target: str, document: object, kind: type[T]) -> T:
        body = RequestBody(msgspec.json.encode(document))
        with self._request("POST", target, body, {"Content-Type": "application/json"}) as response:
            content = response.read(DOCUMENT_MAX)
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise BadResponse(str(self._server), f"the answer is not what hosts expect: {error}") from error


@dataclass
class ImageApi(_Service):
    """The image service, version 2, at `url` without the version. See cache.ImageService."""

    def digests(self, image_id: str) -> bytes | None:
        try:
            with self._request("GET", f"{_image(image_id)}/digests", accept={404}) as response:
                return response.read(DIGESTS_MAX) if response.status == 200 else None
        except NotFound:
            return None

    def read(self, image_id: str, first: int, length: int) -> bytes:
        headers = {"Range": f"bytes={first}-{first + length - 1}"}
        with self._request("GET", f"{_image(image_id)}/file", headers=headers) as response:
            content = response.read(length) if response.status == 206 or first == 0 else b""
        if len(content) != length:
            raise BodyCutShort(str(self._server), f"{len(content)} bytes of an image instead of {length}")
        return content

    def whole(self, image_id: str) -> Iterator[bytes]:
        with self._request("GET", f"{_image(image_id)}/file") as response:
            yield from response.chunks()

    def status(self, image_id: str) -> str:
        with self._request("GET", _image(image_id)) as response:
            document = msgspec.json.decode(response.read(DOCUMENT_MAX), type=dict[str, object])
        return str(document.get("status"))

    def fill(self, image_id: str, content: DiskContent) -> None:
        """Upload a disk as the image that was made for it. Raises MachineError if that image is gone, ClientError."""
        # An agent before this one may have uploaded it and not told, or been killed while it did.
        deadline = time.monotonic() + SAVING_SECONDS
        while (status := self.status(image_id)) == "saving" and time.monotonic() < deadline:
            time.sleep(1.0)
        if status == "active":
            return
        if status != "queued":
            raise MachineError(f"the snapshot's image is {status}")
        gib = 1 << 30
        changes = [
            {"op": "replace", "path": "/disk_format", "value": content.disk_format},
            {"op": "replace", "path": "/container_format", "value": "bare"},
            {"op": "replace", "path": "/min_disk", "value": -(-content.virtual_size // gib)},
        ]
        body = RequestBody(msgspec.json.encode(changes))
        with self._request("PATCH", _image(image_id), body, {"Content-Type": PATCH}) as response:
            response.read(DOCUMENT_MAX)
        upload = RequestBody(content.pieces, content.length)
        with self._request("PUT", f"{_image(image_id)}/file", upload, {"Content-Type": OCTETS}) as response:
            response.read(DOCUMENT_MAX)


def _image(image_id: str) -> str:
    return f"/v2/images/{quote(image_id, safe='')}"
