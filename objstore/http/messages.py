"""Requests and responses as our servers see them, and their bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from objstore.errors import StoreError
from objstore.http.errors import REASONS, HttpError, http_error_of

Environ = dict[str, Any]
# A path that every server answers, and that no device has.
HEALTHCHECK: Final = "/healthcheck"
StartResponse = Callable[..., Any]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

QUERY_PARAMETERS_MAX: Final = 100

# CGI variable of a header and back; bounded, since clients choose the names.
_NAMES_MAX: Final = 4096
_variables: dict[str, str] = {"Content-Type": "CONTENT_TYPE", "Content-Length": "CONTENT_LENGTH"}
_titles: dict[str, str] = {"CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}


class BodyReader(Protocol):
    """The body of a message that is being received.

    Reading raises ClientDisconnected, ClientTimeout or BadFraming (all HttpError).
    """

    trailers: dict[str, str]  # complete once the end has been read

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, at least one unless the body has ended; all of it for -1."""

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """Fill the buffer; less only at the end of the body, or when so many seconds have passed."""


class Body(Protocol):
    """The body of a response: chunks, each valid until the next one is asked for."""

    length: int | None

    def __iter__(self) -> Iterator[bytes | memoryview]: ...

    def close(self) -> None: ...


def variable_of(name: str) -> str:
    """The WSGI environ key of a header: "X-Timestamp" -> "HTTP_X_TIMESTAMP"."""
    variable = _variables.get(name)
    if variable is None:
        variable = "HTTP_" + name.upper().replace("-", "_")
        if variable in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            variable = variable[5:]
        if len(_variables) < _NAMES_MAX:
            _variables[name] = variable
    return variable


def title_of(variable: str) -> str:
    """The header's canonical name of a WSGI environ key: "HTTP_X_TIMESTAMP" -> "X-Timestamp"."""
    title = _titles.get(variable)
    if title is None:
        title = variable[5:].replace("_", "-").title()
        if len(_titles) < _NAMES_MAX:
            _titles[variable] = title
    return title


class Request:
    """A request a storage server answers: a thin view of a WSGI environ.

    Header values and `path` are PEP 3333 native strings: the bytes of the wire as Latin-1.
    """

    __slots__ = ("_query", "environ", "method", "path")

    def __init__(self, environ: Environ) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ["PATH_INFO"]
        self._query: dict[str, str] | None = None

    def header(self, name: str, default: str | None = None) -> str | None:
        """The value of a header, several of one name joined with commas."""
        return self.environ.get(variable_of(name), default)

    def headers_with_prefix(self, prefix: str) -> dict[str, str]:
        """The headers whose names begin so, by canonical name."""
        start = variable_of(prefix)
        return {title_of(key): value for key, value in self.environ.items() if key.startswith(start)}

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query string, unquoted; of several of one name the last. Raises HttpError 400, 412."""
        if self._query is None:
            self._query = parse_query(self.environ.get("QUERY_STRING", ""))
        return self._query

    @property
    def content_length(self) -> int | None:
        """The length announced for the body; None when there is none, as for a chunked one."""
        value = self.environ.get("CONTENT_LENGTH")
        if value is None or value == "":
            return None
        if not value.isdecimal() or not value.isascii():
            raise HttpError(400, "Invalid Content-Length")
        return int(value)

    @property
    def chunked(self) -> bool:
        return "HTTP_TRANSFER_ENCODING" in self.environ

    @property
    def body(self) -> BodyReader:
        return self.environ["wsgi.input"]  # type: ignore[no-any-return]

    def whole_body(self, bytes_max: int) -> bytes:
        """The body, whose length must be announced. Raises HttpError 411, 413."""
        self.check_length(bytes_max)
        return self.body.read()

    def check_length(self, bytes_max: int) -> None:
        """Raises HttpError 411 unless the body's length is announced, and 413 if that is more."""
        length = self.content_length
        if length is None:
            raise HttpError(411)
        if length > bytes_max:
            raise HttpError(413, f"At most {bytes_max} bytes")

    @property
    def trailers(self) -> dict[str, str]:
        """The trailer fields by canonical name, once the body has been read to its end."""
        return self.body.trailers


def parse_query(text: str) -> dict[str, str]:
    """The parameters of a query string (application/x-www-form-urlencoded); raises HttpError 400 and 412."""
    if not text:
        return {}
    fields = text.split("&", QUERY_PARAMETERS_MAX)
    if len(fields) > QUERY_PARAMETERS_MAX:
        raise HttpError(400, "Too many query parameters")
    parameters = {}
    for field in fields:
        if field:
            name, _, value = field.partition("=")
            parameters[_unquote_field(name)] = _unquote_field(value)
    return parameters


def _unquote_field(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise HttpError(412, "Query parameters must be UTF-8") from None


class Response:
    """What a server answers. Header values are PEP 3333 native strings (Latin-1)."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str] | None = None, body: bytes | Body = b"") -> None:
        self.status = status
        self.headers: dict[str, str] = {} if headers is None else headers
        self.body = body

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        headers, body = self.headers, self.body
        if isinstance(body, bytes):
            if "Content-Length" not in headers and self.status not in (204, 304):
                headers["Content-Length"] = str(len(body))
            start_response(f"{self.status} {REASONS.get(self.status, 'Unknown')}", list(headers.items()))
            return (body,) if body else ()
        if body.length is not None and "Content-Length" not in headers:
            headers["Content-Length"] = str(body.length)
        start_response(f"{self.status} {REASONS.get(self.status, 'Unknown')}", list(headers.items()))
        return body  # type: ignore[return-value]  # its chunks may be memoryviews, which our server takes

    def read_all(self) -> bytes:
        """The whole body, for tests and small documents; closes it."""
        if isinstance(self.body, bytes):
            return self.body
        try:
            return b"".join(bytes(chunk) for chunk in self.body)
        finally:
            self.body.close()

    def close(self) -> None:
        if not isinstance(self.body, bytes):
            self.body.close()


class WsgiServer:
    """A server whose requests are answered by `handle`; calling it speaks WSGI (PEP 3333)."""

    def handle(self, request: Request) -> Response:
        """Answer one request; may raise HttpError and the errors of VALUE_ERRORS."""
        raise NotImplementedError

    def report(self, request: Request, error: Exception) -> None:
        """An error nobody foresaw, about to be answered with 500: log it."""
        raise NotImplementedError

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request, whatever happens in it."""
        request = Request(environ)
        try:
            response = self.handle(request)
        except Exception as error:
            refusal = http_error_of(error) if isinstance(error, StoreError) else None
            if refusal is None:
                self.report(request, error)
            response = error_response(refusal or HttpError(500))
        return response(environ, start_response)


def error_response(error: HttpError) -> Response:
    """The plain-text answer of a refusal: one line that says why."""
    headers = {"Content-Type": "text/plain; charset=utf-8", **error.headers}
    return Response(error.status, headers, (error.reason + "\n").encode("utf-8", "replace"))
