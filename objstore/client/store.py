"""One account of a store: logging in, and its containers and objects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote, urlencode

import msgspec

from objstore.client.connections import ClientResponse, ServerAddress
from objstore.client.errors import BadResponse, ServerUnreachable, Unauthorized, failure_of
from objstore.client.identity import IdentityClient, ServiceUser
from objstore.client.requests import Content, HttpClient, RequestBody

Headers = Mapping[str, str]
LISTING_PAGE: Final = 10_000
RENEW_BEFORE_SECONDS: Final = 60.0


class ContentSink(Protocol):
    """Takes what is downloaded: a file, for instance."""

    def write(self, content: bytes, /) -> object:
        """Take a piece."""


@dataclass(frozen=True)
class ClientToken:
    """What a login gives: a token, how long it holds, and where the account is."""

    text: str
    server: ServerAddress
    path: str
    renew_at: float  # by the monotonic clock

    @property
    def account(self) -> str:
        return unquote(self.path.rpartition("/")[2])


def token_from(http: HttpClient, auth_url: str, user: str, key: str, now: float) -> ClientToken:
    """A token by version 1 of the authentication. Raises ClientError, and ValueError for a URL that is none.

    A URL that ends with /v3 is an identity service's; then `user` is "PROJECT:NAME".
    """
    server, path = ServerAddress.of_url(auth_url)
    if path.rstrip("/").endswith("/v3"):
        return _token_of_project(http, auth_url, user, key)
    with http.request(server, "GET", path, headers={"X-Auth-User": user, "X-Auth-Key": key}) as response:
        response.read()
    headers = response.headers
    try:
        storage, account_path = ServerAddress.of_url(headers["x-storage-url"])
        text, holds = headers["x-auth-token"], float(headers.get("x-auth-token-expires", "inf"))
    except (KeyError, ValueError) as error:
        raise BadResponse(str(server), "the login gives no token, or not where the account is") from error
    return ClientToken(text, storage, account_path, now + max(holds - RENEW_BEFORE_SECONDS, 0))


def _token_of_project(http: HttpClient, url: str, user: str, password: str) -> ClientToken:
    """A token by version 3 of the identity API; the catalog says where the project's account is. Raises ClientError."""
    project, _, name = user.rpartition(":")
    token = IdentityClient(url, ServiceUser(name, password, project=project), http).log_in()
    try:
        storage, path = ServerAddress.of_url(token.endpoint("object-store"))
    except (KeyError, ValueError) as error:
        raise BadResponse(url, "the catalog does not say where the store is") from error
    return ClientToken(token.text, storage, path, token.renew_at)


@dataclass
class StoreClient:
    """An account as one of its users sees it. Logs in when that is needed, and again when a token is refused.

    Names are real text, unquoted. Every method raises ClientError. Threads may share a client.
    """

    auth_url: str
    user: str
    key: str
    http: HttpClient = field(default_factory=HttpClient)
    clock: Callable[[], float] = time.monotonic
    _token: ClientToken | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def log_in(self) -> ClientToken:
        """A token that holds now; asks for one only when there is none."""
        with self._lock:
            if self._token is None or self.clock() >= self._token.renew_at:
                self._token = token_from(self.http, self.auth_url, self.user, self.key, self.clock())
            return self._token

    @property
    def account(self) -> str:
        return self.log_in().account

    def request(
        self,
        method: str,
        container: str = "",
        name: str = "",
        *,
        headers: Headers | None = None,
        body: RequestBody | None = None,
        query: Mapping[str, object] | None = None,
        accept: Collection[int] = (),
    ) -> ClientResponse:
        """Any request; see HttpClient.request. A token that is refused is renewed once."""
        path = "".join(f"/{quote(part)}" for part in (container, name) if part)
        if query:
            path += "?" + urlencode(query)
        for _ in range(2):
            token = self.log_in()
            response = self.http.request(
                token.server,
                method,
                token.path + path,
                headers={"X-Auth-Token": token.text, **(headers or {})},
                body=body,
                accept={401, *accept},
            )
            if response.status != 401 or 401 in accept:
                return response
            response.close()
            self._forget(token)
            if body is not None and not body.replayable:
                break
        raise Unauthorized(method, token.path + path, 401, "the token is refused")

    def _forget(self, token: ClientToken) -> None:
        with self._lock:
            if self._token is token:
                self._token = None

    def _done(self, method: str, *names: str, **how: Any) -> dict[str, str]:
        """Headers of a response whose body does not matter."""
        with self.request(method, *names, **how) as response:
            response.read()
            return response.headers

    def account_headers(self) -> dict[str, str]:
        """What a HEAD of the account says: counts, bytes, metadata; names in lower case."""
        return self._done("HEAD")

    def containers(self, **query: object) -> Iterator[dict[str, Any]]:
        """The rows of the account's listing, page by page; `query` as the API has it: prefix, marker, limit ..."""
        return self._listing("", query)

    def create_container(self, container: str, headers: Headers | None = None) -> None:
        """Create a container, or change the metadata of the one that is there."""
        self._done("PUT", container, headers=headers)

    def update_container(self, container: str, headers: Headers) -> None:
        self._done("POST", container, headers=headers)

    def container_headers(self, container: str) -> dict[str, str]:
        """What a HEAD says; names in lower case."""
        return self._done("HEAD", container)

    def delete_container(self, container: str) -> None:
        """Delete an empty container. Raises NotFound, Conflict."""
        self._done("DELETE", container)

    def objects(self, container: str, **query: object) -> Iterator[dict[str, Any]]:
        """The rows of a container's listing, page by page; `query` as the API has it: prefix, delimiter, marker ..."""
        return self._listing(container, query)

    def put_object(
        self,
        container: str,
        name: str,
        content: Content,
        *,
        length: int | None = None,
        headers: Headers | None = None,
    ) -> dict[str, str]:
        """Store an object; the response's headers, among them its ETag.

        Bytes, files that can be sought and functions are sent again when an attempt fails; a plain iterator is not.
        """
        return self._done("PUT", container, name, headers=headers, body=RequestBody(content, length))

    def object_headers(self, container: str, name: str, headers: Headers | None = None) -> dict[str, str]:
        """What a HEAD says; names in lower case."""
        return self._done("HEAD", container, name, headers=headers)

    def update_object(self, container: str, name: str, headers: Headers) -> None:
        self._done("POST", container, name, headers=headers)

    def copy_object(
        self, container: str, name: str, to_container: str, to_name: str, headers: Headers | None = None
    ) -> dict[str, str]:
        destination = {"Destination": quote(f"{to_container}/{to_name}")}
        return self._done("COPY", container, name, headers={**(headers or {}), **destination})

    def delete_object(self, container: str, name: str) -> None:
        """Raises NotFound."""
        self._done("DELETE", container, name)

    def get_object(self, container: str, name: str, headers: Headers | None = None) -> ClientResponse:
        """The response, its body not read yet."""
        return self.request("GET", container, name, headers=headers)

    def read_object(self, container: str, name: str, first: int = 0, count: int | None = None) -> bytes:
        """The content, or `count` bytes from `first` on; see `object_chunks`."""
        return b"".join(self.object_chunks(container, name, first, count))

    def download(self, container: str, name: str, sink: ContentSink, first: int = 0, count: int | None = None) -> int:
        """Write the content, or a range of it, to a sink; how many bytes that was."""
        size = 0
        for chunk in self.object_chunks(container, name, first, count):
            sink.write(chunk)
            size += len(chunk)
        return size

    def object_chunks(self, container: str, name: str, first: int = 0, count: int | None = None) -> Iterator[bytes]:
        """The content, or `count` bytes from `first` on, piece by piece.

        Where a connection breaks, it goes on with another one, of the same version of the object. Raises
        ConditionFailed when the object was replaced meanwhile, and RangeNotSatisfiable when it ends before `first`.
        """
        if count == 0:
            return
        end = None if count is None else first + count
        etag, failures = "", 0
        while True:
            headers = {"If-Match": etag} if etag else {}
            if first or end is not None:
                headers["Range"] = f"bytes={first}-{'' if end is None else end - 1}"
            try:
                with self.get_object(container, name, headers) as response:
                    if headers.get("Range") and response.status != 206:
                        raise failure_of("GET", f"/{container}/{name}", response.status, "the range was ignored")
                    etag = response.headers.get("etag", "")
                    etag = etag if etag.endswith('"') else f'"{etag}"'
                    for chunk in response.chunks():
                        first += len(chunk)
                        failures = 0
                        yield chunk
                    return
            except ServerUnreachable:
                failures += 1
                if not etag or failures >= self.http.retries.attempts:
                    raise
                self.http.sleep(self.http.retries.pause_seconds(failures, "", self.http.chance()))

    def _listing(self, container: str, query: dict[str, object]) -> Iterator[dict[str, Any]]:
        left = query.pop("limit", None)
        while left is None or int(str(left)) > 0:
            limit = LISTING_PAGE if left is None else min(int(str(left)), LISTING_PAGE)
            asked = {**query, "limit": limit, "format": "json"}
            with self.request("GET", container, query=asked) as response:
                rows = msgspec.json.decode(response.read() or b"[]", type=list[dict[str, Any]])
            yield from rows
            if not rows:
                return
            query["marker"] = rows[-1].get("name") or rows[-1]["subdir"]
            left = None if left is None else int(str(left)) - len(rows)
