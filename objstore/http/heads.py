"""Heads of requests and responses: parsed by httptools, checked, and turned into what the layers above use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httptools

from objstore.http.errors import HttpError
from objstore.http.messages import Environ, variable_of

HEAD_BYTES_MAX: Final = 2 * 1024 * 1024  # a bound on all headers together; each has its own, tighter one
UNKNOWN_CODING: Final = "Unsupported Transfer-Encoding"
_NAMES_MAX: Final = 4096
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")
_HEXADECIMAL: Final = frozenset(b"0123456789abcdefABCDEF")
_BLANKS: Final = " \t"
PORT_MAX: Final = 65535
_HOST: Final = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~\x80-\xff-]|%[0-9A-Fa-f]{2})*)(?::(?P<port>[0-9]{0,5}))?"
)
_METADATA: Final = re.compile(rb"x-(?:(?:remove-)?(?:account|container|object)|amz)-meta-", re.IGNORECASE)
# In the environ: names of headers of metadata that are spelt with underscores, in lower case, by their keys.
UNDERSCORED: Final = "objstore.underscored"

# Names of headers as clients spell them: the environ key, and the canonical name. Bounded: clients choose them.
_keys: dict[bytes, str] = {}
_titles: dict[bytes, str] = {}
# Host headers that were found to be in order, and None, since HTTP/1.0 has none; bounded as well.
_hosts: set[str | None] = {None}


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """What a head may hold; beyond it the request is refused."""

    line_bytes: int = 8192
    header_bytes: int = 8192
    headers: int = 126


def _key_of(name: bytes) -> str:
    key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if key in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
        key = key[5:]
    if len(_keys) < _NAMES_MAX:
        _keys[name] = key
    return key


def _title_of(name: bytes) -> str:
    title = name.decode("latin-1").title()
    if len(_titles) < _NAMES_MAX:
        _titles[name] = title
    return title


class _RequestTarget:
    """Receives what httptools finds in a request's head and puts it into the environ."""

    __slots__ = ("count", "done", "environ", "limits", "url")

    def __init__(self, environ: Environ, limits: HeadLimits) -> None:
        self.environ = environ
        self.limits = limits
        self.url = b""
        self.count = 0
        self.done = False

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1
        if len(name) + len(value) > self.limits.header_bytes:
            raise HttpError(400, "Header line too long")
        key = _keys.get(name) or _key_of(name)
        environ = self.environ
        if b"_" in name:
            if not _METADATA.match(name):
                # It would be taken for the header with a dash: a way round what the edge strips. In the name of a piece
                # of metadata an underscore is as good as a dash.
                return
            environ.setdefault(UNDERSCORED, {})[key] = name.decode("latin-1").lower()
        if key in environ:
            if key in ("CONTENT_LENGTH", "HTTP_HOST", "CONTENT_TYPE"):
                raise HttpError(400, f"More than one {_title_of(name)} header")
            environ[key] += "," + value.decode("latin-1").rstrip(_BLANKS)
        else:
            environ[key] = value.decode("latin-1").rstrip(_BLANKS)

    def on_headers_complete(self) -> None:
        self.done = True
        if self.count > self.limits.headers:
            raise HttpError(400, "Too many headers")


def parse_request(head: bytes, environ: Environ, limits: HeadLimits) -> bool:
    """Fill `environ` with the request whose head this is; says whether the connection may be kept alive.

    `head` ends with the empty line. Raises HttpError: 400, 414, 501, 505.
    """
    line_end = head.find(b"\n", 0, limits.line_bytes + 2)
    if line_end < 0:
        raise HttpError(414, "Request line too long")
    method, _, rest = head.partition(b" ")
    if not head[:line_end].isascii():
        rest = _quote_line(rest)
    target = _RequestTarget(environ, limits)
    parser = httptools.HttpRequestParser(target)
    try:
        # httptools knows the registered methods only; which ones exist is for the application to say.
        parser.feed_data((b"POST " if _TOKEN.fullmatch(method) else b"? ") + rest)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserCallbackError as error:
        if isinstance(error.__context__, HttpError):
            raise error.__context__ from None
        raise HttpError(400, "Malformed request") from None
    except httptools.HttpParserError as error:
        if target.done and "HTTP_TRANSFER_ENCODING" in environ:
            # Every line of the head is in order; the parser stops at the coding because it is not chunked.
            raise HttpError(501, UNKNOWN_CODING) from None
        if head.count(b" ", 0, line_end) != 2:
            raise HttpError(400, "Malformed request line: it has to be a method, a target and HTTP/1.1") from None
        raise HttpError(400, f"Malformed request: {error}") from None
    if not target.done:
        raise HttpError(400, "Malformed request: the head does not end")
    # The parser takes other protocols too, RTSP for one.
    protocol = head[line_end - 10 : line_end - 1]
    if protocol not in (b" HTTP/1.1", b" HTTP/1.0"):
        raise HttpError(505)
    environ["REQUEST_METHOD"] = method.decode("ascii")
    environ["SERVER_PROTOCOL"] = protocol[1:].decode("ascii")
    if "HTTP_HOST" not in environ and protocol == b" HTTP/1.1":
        raise HttpError(400, "No Host header")  # RFC 9112, section 3.2
    _set_target(environ, target.url)
    if environ.get("HTTP_HOST") not in _hosts:
        _check_host(environ["HTTP_HOST"])
    _check_framing(environ)
    return _keeps_alive(environ.get("HTTP_CONNECTION"), protocol == b" HTTP/1.1")


def _check_host(host: str) -> None:
    """Refuse a host that is none (RFC 9112, section 3.2), since answers repeat it in URLs.

    Of what RFC 3986 (section 3.2.2) allows in names, only what occurs in names of hosts is taken; and UTF-8, which
    clients send who have containers of such names in hosts.
    """
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > PORT_MAX or not _is_address_or_name(match["address"]):
        raise HttpError(400, "Invalid Host header")
    if len(_hosts) < _NAMES_MAX:
        _hosts.add(host)


def _is_address_or_name(address: str | None) -> bool:
    if address is None:
        return True
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True


def _keeps_alive(connection: str | None, by_default: bool) -> bool:
    """Whether a message's sender means to use the connection again (RFC 9112, section 9.3).

    Asked of the parser, the answer would be about the message after this one once it has seen the end of this.
    """
    if connection is None:
        return by_default
    options = [option.strip(_BLANKS) for option in connection.lower().split(",")]
    return "close" not in options and (by_default or "keep-alive" in options)


def _quote_line(rest: bytes) -> bytes:
    """The request line with its non-ASCII bytes percent-encoded, as some clients forget to do."""
    line, newline, headers = rest.partition(b"\n")
    return b"".join(b"%%%02X" % byte if byte > 127 else bytes((byte,)) for byte in line) + newline + headers


def _set_target(environ: Environ, url: bytes) -> None:
    if not url.startswith(b"/"):
        url = _path_of_absolute(environ, url)
    path, _, query = url.partition(b"?")
    environ["QUERY_STRING"] = query.decode("latin-1")
    environ["objstore.raw_path"] = path.decode("latin-1")
    environ["PATH_INFO"] = path.decode("latin-1") if b"%" not in path else _unquote(path)


def _path_of_absolute(environ: Environ, url: bytes) -> bytes:
    """The path of a request target in absolute or asterisk form, whose host stands above the Host header.

    RFC 9112, section 3.2.
    """
    if url == b"*":
        return b"/*"
    try:
        parsed: Any = httptools.parse_url(url)
    except httptools.HttpParserError:
        raise HttpError(400, "Malformed request target") from None
    if not parsed.schema or not parsed.host:
        raise HttpError(400, "Malformed request target")
    host = parsed.host.decode("latin-1")
    if ":" in host:
        host = f"[{host}]"
    environ["HTTP_HOST"] = f"{host}:{parsed.port}" if parsed.port else host
    query = b"?" + parsed.query if parsed.query else b""
    return (parsed.path or b"/") + query


def _unquote(path: bytes) -> str:
    for piece in path.split(b"%")[1:]:
        if len(piece) < 2 or piece[0] not in _HEXADECIMAL or piece[1] not in _HEXADECIMAL:
            raise HttpError(400, "Malformed percent-encoding in the path")
    return unquote_to_bytes(path).decode("latin-1")


def _check_framing(environ: Environ) -> None:
    """Refuse what two servers could read differently (RFC 9112, section 6.3)."""
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None:
        if coding.lower() != "chunked":
            raise HttpError(501, UNKNOWN_CODING)
        if "CONTENT_LENGTH" in environ:
            raise HttpError(400, "Both Content-Length and Transfer-Encoding")
        if environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            raise HttpError(400, "Transfer-Encoding in a request of HTTP/1.0")
    length = environ.get("CONTENT_LENGTH")
    if length is not None and not (length.isascii() and length.isdecimal() and len(length) < 19):
        raise HttpError(400, "Invalid Content-Length")


def set_client_header(environ: Environ, name: str, value: str) -> None:
    """Put a header, whose name is in lower case, into the environ as if the client had sent it in the head."""
    variable = variable_of(name)
    environ[variable] = value.encode().decode("latin-1")
    if "_" in name:
        environ.setdefault(UNDERSCORED, {})[variable] = name


class ResponseHead:
    """Status and headers of a response, the names in canonical spelling."""

    __slots__ = ("done", "headers", "keep_alive", "status")

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.status = 0
        self.keep_alive = False
        self.done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        title = _titles.get(name) or _title_of(name)
        value_text = value.decode("latin-1").rstrip(_BLANKS)
        self.headers[title] = f"{self.headers[title]},{value_text}" if title in self.headers else value_text

    def on_headers_complete(self) -> None:
        self.done = True


def parse_response(head: bytes) -> ResponseHead:
    """The head of a response, which ends with the empty line; raises ValueError."""
    result = ResponseHead()
    parser = httptools.HttpResponseParser(result)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        raise ValueError("malformed response: another protocol") from None
    except httptools.HttpParserError as error:
        raise ValueError(f"malformed response: {error}") from None
    if not result.done:
        raise ValueError("malformed response")
    result.status = parser.get_status_code()
    result.keep_alive = _keeps_alive(result.headers.get("Connection"), head.startswith(b"HTTP/1.1"))
    return result
