"""A small HTTP client that sends exactly what a test says and shows exactly what came back."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Answer:
    """A response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8")

    @property
    def lines(self) -> list[str]:
        """The names of a plain listing."""
        return self.text.splitlines()


class Client:
    """One connection to one endpoint, with the token of one user (or none)."""

    def __init__(self, host: str, port: int, *, account: str = "", token: str = "") -> None:
        self.host, self.port = host, port
        self.account, self.token = account, token
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def login(cls, host: str, port: int, user: str = "test:tester", key: str = "testing") -> Client:
        """A client with a fresh token of that user."""
        answer = cls(host, port).raw("GET", "/auth/v1.0", {"X-Auth-User": user, "X-Auth-Key": key})
        assert answer.status == 200, f"login of {user}: {answer.status} {answer.body!r}"
        account = urlsplit(answer.headers["x-storage-url"]).path.rpartition("/")[2]
        return cls(host, port, account=account, token=answer.headers["x-auth-token"])

    def anonymous(self) -> Client:
        """The same account without a token."""
        return Client(self.host, self.port, account=self.account)

    def request(
        self,
        method: str,
        path: str = "",
        /,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        **query: object,
    ) -> Answer:
        """A request below the account; `path` is "container" or "container/object", unquoted."""
        target = f"/v1/{quote(self.account)}" + (f"/{quote(path)}" if path else "")
        if query:
            target += "?" + urlencode(query)
        return self.raw(method, target, headers, body)

    def raw(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """A request for a target that goes out as it stands; an iterable body goes out in chunks."""
        sent = {"X-Auth-Token": self.token} if self.token else {}
        sent |= headers or {}
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            sent["Transfer-Encoding"] = "chunked"
        elif body is None and method in ("PUT", "POST") and "Content-Length" not in sent:
            sent["Content-Length"] = "0"
        for attempt in (1, 2):
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
                attempt = 2
            try:
                self._connection.request(method, target, body, sent, encode_chunked=chunked)  # type: ignore[arg-type]
                response = self._connection.getresponse()
                return self._answer(response)
            except (ConnectionError, http.client.RemoteDisconnected):
                self.close()
                if attempt == 2 or chunked:  # a kept connection may have been closed; a fresh one may not
                    raise
        raise AssertionError("unreachable")

    def _answer(self, response: http.client.HTTPResponse) -> Answer:
        headers: dict[str, str] = {}
        for name, value in response.getheaders():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known}, {value}"
        body = response.read()
        if response.will_close:
            self.close()
        return Answer(response.status, headers, body)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str = "", /, headers: Mapping[str, str] | None = None, **query: object) -> Answer:
        """GET."""
        return self.request("GET", path, headers, **query)

    def head(self, path: str = "", /, headers: Mapping[str, str] | None = None, **query: object) -> Answer:
        """HEAD."""
        return self.request("HEAD", path, headers, **query)

    def put(
        self,
        path: str = "",
        /,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Answer:
        """PUT."""
        return self.request("PUT", path, headers, body, **query)

    def post(self, path: str = "", /, headers: Mapping[str, str] | None = None, **query: object) -> Answer:
        """POST."""
        return self.request("POST", path, headers, **query)

    def delete(self, path: str = "", /, headers: Mapping[str, str] | None = None, **query: object) -> Answer:
        """DELETE."""
        return self.request("DELETE", path, headers, **query)

    def copy(self, path: str, destination: str, /, headers: Mapping[str, str] | None = None, **query: object) -> Answer:
        """COPY to "container/object"."""
        return self.request("COPY", path, {"Destination": quote(destination), **(headers or {})}, **query)

    def rows(self, path: str = "", /, **query: object) -> list[dict[str, Any]]:
        """A listing in JSON."""
        answer = self.get(path, format="json", **query)
        assert answer.status == 200, f"listing {path}: {answer.status} {answer.body!r}"
        listed: list[dict[str, Any]] = answer.json()
        return listed

    def names(self, path: str = "", /, **query: object) -> list[str]:
        """The names and subdirs of a listing."""
        return [row.get("name") or row["subdir"] for row in self.rows(path, **query)]


class _Stream(io.BufferedReader):
    """What a socket receives, for several responses: none closes it or loses what follows."""

    def close(self) -> None:
        """Left to the socket."""

    def makefile(self, *_mode: object) -> _Stream:
        """What http.client asks a socket for."""
        return self


@dataclass
class Wire:
    """A bare socket to a server, for what no HTTP library would send."""

    host: str
    port: int
    timeout_seconds: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        self.socket = socket.create_connection((self.host, self.port), timeout=self.timeout_seconds)
        self._stream = _Stream(socket.SocketIO(self.socket, "r"))

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        """Send these bytes; a server that has closed already is no error: its answer is what counts."""
        try:
            self.socket.sendall(content)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self) -> Answer:
        """The next response on this connection."""
        response = http.client.HTTPResponse(self._stream)  # type: ignore[arg-type]  # it has what is used of a socket
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def closed(self) -> bool:
        """Whether the server closes the connection, waiting for it up to the timeout."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True
