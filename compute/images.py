"""The image service (v2) as compute uses it: with the token of whoever asks, or with its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from objstore.client.connections import ServerAddress
from objstore.client.errors import ClientError
from objstore.client.identity import IdentityClient, patient_client
from objstore.client.requests import HttpClient, RequestBody
from objstore.compute.errors import (
    ComputeError,
    ImageServiceFailed,
    InvalidRequest,
    NotPermitted,
    OverQuota,
    StateConflict,
    no_such,
)

REFUSALS: Final = frozenset({400, 401, 403, 404, 409, 413})
DOCUMENT_MAX: Final = 4 << 20


@dataclass
class ImageDirectory:
    """At `url` (http://HOST:PORT, without the version). Threads may share it. Raises as core.context.Images says."""

    url: str
    identity: IdentityClient
    http: HttpClient = field(default_factory=patient_client)

    def __post_init__(self) -> None:
        """Raises ValueError for a URL that is none."""
        self._server, path = ServerAddress.of_url(self.url)
        self._path = path.rstrip("/")

    def service_token(self) -> str:
        """The token of the service's own user. Raises ImageServiceFailed."""
        try:
            return self.identity.log_in().text
        except ClientError as error:
            raise ImageServiceFailed(f"The identity service cannot be asked: {error}") from error

    def show(self, token: str, image_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._ask(token, "GET", f"/v2/images/{quote(image_id, safe='')}", image_id)
        return found

    def list(self, token: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The first page of the images that a query finds."""
        found = self._ask(token, "GET", f"/v2/images?{urlencode(query)}", "")
        images: list[dict[str, Any]] = found["images"]
        return images

    def create(self, token: str, document: dict[str, Any]) -> dict[str, Any]:
        created: dict[str, Any] = self._ask(token, "POST", "/v2/images", str(document.get("name")), document)
        return created

    def delete(self, token: str, image_id: str) -> None:
        self._ask(token, "DELETE", f"/v2/images/{quote(image_id, safe='')}", image_id)

    def _ask(self, token: str, method: str, target: str, name: str, document: object = None) -> Any:
        headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
        body = None if document is None else RequestBody(msgspec.json.encode(document))
        try:
            with self.http.request(
                self._server, method, self._path + target, headers=headers, body=body, accept=REFUSALS
            ) as response:
                content = response.read(DOCUMENT_MAX)
        except ClientError as error:
            raise ImageServiceFailed(f"The image service cannot be asked: {error}") from error
        if response.status in REFUSALS:
            raise _refusal(response.status, name, content)
        try:
            return msgspec.json.decode(content or b"null")
        except msgspec.DecodeError as error:
            raise ImageServiceFailed("The image service's answer is no JSON.") from error


def _refusal(status: int, name: str, content: bytes) -> ComputeError:
    """The error for a status of the image service."""
    if status == 404:
        return no_such("image", name)
    text = f"The image service refuses: {content.decode('utf-8', 'replace')[:300]}"
    kinds: dict[int, type[ComputeError]] = {
        400: InvalidRequest,
        401: ImageServiceFailed,
        403: NotPermitted,
        409: StateConflict,
        413: OverQuota,
    }
    return kinds[status](text)
