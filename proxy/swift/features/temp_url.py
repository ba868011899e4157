"""Temporary URLs: whoever has one may do one thing with an object, or with all whose names begin alike, for some time.

The owner signs the method, the time and the path with a key that the account or the container has as metadata:

    METHOD \n EXPIRES \n /v1/ACCOUNT/CONTAINER/OBJECT                     ?temp_url_sig=..&temp_url_expires=..
    METHOD \n EXPIRES \n prefix:/v1/ACCOUNT/CONTAINER/PREFIX              &temp_url_prefix=PREFIX
    ip=RANGE \n ...                                                       &temp_url_ip_range=RANGE
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial
from posixpath import basename
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from objstore.config.proxy import ProxyConfig
from objstore.headers import Backend, Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response, variable_of
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.features.signed import digest_section, key_that_signs, keys_of, refuse
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

SIGNATURE: Final = "temp_url_sig"
EXPIRES: Final = "temp_url_expires"
PREFIX: Final = "temp_url_prefix"
IP_RANGE: Final = "temp_url_ip_range"
PARAMETERS: Final = frozenset({SIGNATURE, EXPIRES, PREFIX, IP_RANGE})
METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")
# Whoever may write or read an object may know that it is there.
ALLOWING_HEAD: Final = ("GET", "PUT", "POST")
INCOMING_REMOVED: Final = (Client.TIMESTAMP, Client.OPEN_EXPIRED)
# These would make an object that shows what the URL does not give access to.
INCOMING_REFUSED: Final = (Client.OBJECT_MANIFEST, Client.SYMLINK_TARGET)
# So would a manifest; and an archive is many objects.
QUERIES_REFUSED: Final = (("multipart-manifest", "put"), ("extract-archive", ""))
PUBLIC: Final = "X-Object-Meta-Public-"
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}Z?)?", re.ASCII)
_EXPIRES_MAX: Final = 253_402_300_800  # the year 10000


class TempUrl(Feature):
    """Checks the signatures of temporary URLs, which take the place of a token."""

    methods = frozenset(METHODS)
    kinds = frozenset({"container", "object"})
    variables = frozenset[str]()

    def __init__(self, context: ProxyContext) -> None:
        config = context.config.temp_url
        self._methods = config.methods
        self._digests = config.digests
        self._info = context.lookup
        self._now = context.runtime.clock.now

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        return bool(config.temp_url.methods)

    def sections(self) -> Mapping[str, Section]:
        """What signatures may be like, and which headers do not pass."""
        return {
            "tempurl": {
                "methods": list(self._methods),
                "incoming_remove_headers": [name.lower() for name in INCOMING_REMOVED],
                "incoming_allow_headers": [],
                "outgoing_remove_headers": [Client.OBJECT_META_PREFIX.lower() + "*"],
                "outgoing_allow_headers": [PUBLIC.lower() + "*"],
                **digest_section(self._digests),
            }
        }

    def __call__(self, request: SwiftRequest) -> None:
        """Authorize the request by its URL, if that is a temporary one. Raises HttpError 400, 401."""
        params = request.params
        if PARAMETERS.isdisjoint(params):
            return
        if request.kind == "container" and PREFIX not in params:
            raise refuse(request, "Temp URL invalid")
        expires = parse_time(params.get(EXPIRES, ""))
        prefix, addresses = params.get(PREFIX), params.get(IP_RANGE)
        resource = request.storage_resource
        in_time = self._now() < expires
        if (
            not in_time
            or not (prefix is None or resource.object.startswith(prefix))
            or not _is_within(request, addresses)
        ):
            raise refuse(request, "Temp URL invalid")
        messages = [_message(request, method, expires, prefix, addresses) for method in self._methods_of(request)]
        keys = keys_of(self._info, resource, request.transaction_id)
        key = key_that_signs(params.get(SIGNATURE, ""), messages, keys, self._digests)
        if key is None:
            raise refuse(request, "Temp URL invalid")
        for header in INCOMING_REFUSED:
            if request.method in ("PUT", "POST") and request.header(header) is not None:
                raise HttpError(400, f"The header {header!r} is not allowed in this temporary URL")
        for name, value in QUERIES_REFUSED:
            if request.method == "PUT" and name in params and value in ("", params[name]):
                raise HttpError(400, f"{name} is not allowed in this temporary URL")
        for header in INCOMING_REMOVED:
            request.set_header(header, None)
        request.environ.pop(variable_of(Backend.INBOUND_TIMESTAMP), None)
        if "version-id" in params:
            if request.method not in ("GET", "HEAD"):
                raise HttpError(400, "A temporary URL is for the current version")
            request.params = {name: value for name, value in params.items() if name != "version-id"}
        request.authorize = partial(key.authorize, methods=frozenset({request.method, "HEAD"}), listed=prefix)
        request.log_info.append("tempurl")
        request.amendments.append(partial(_shown, request, expires))

    def _methods_of(self, request: SwiftRequest) -> list[str]:
        """The methods whose signatures are good for the request."""
        signed = (*ALLOWING_HEAD, "HEAD") if request.method == "HEAD" else (request.method,)
        return [method for method in signed if method in self._methods]


def parse_time(text: str) -> int:
    """Seconds since the epoch, of a number or an ISO 8601 time in UTC; 0 if it is neither."""
    if text.isascii() and text.isdecimal():
        return int(text) if len(text) < 13 and int(text) < _EXPIRES_MAX else 0
    if _TIME.fullmatch(text) is None:
        return 0
    try:
        return int(datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0


def _message(request: SwiftRequest, method: str, expires: int, prefix: str | None, addresses: str | None) -> bytes:
    resource = request.storage_resource
    path = request.path.encode("latin-1")
    if prefix is not None:
        path = f"prefix:/{request.version}/{resource.account}/{resource.container}/{prefix}".encode()
    message = f"{method}\n{expires}\n".encode() + path
    return message if addresses is None else f"ip={addresses}\n".encode() + message


def _is_within(request: SwiftRequest, addresses: str | None) -> bool:
    """Whether the client's address lies in the range, of which there may be none."""
    if addresses is None:
        return True
    try:
        return ipaddress.ip_address(request.environ.get("REMOTE_ADDR", "")) in ipaddress.ip_network(addresses)
    except ValueError:
        return False


def _shown(request: SwiftRequest, expires: int, response: Response) -> Response:
    """The answer without metadata that is not public; browsers save it to a file, unless it is to be shown."""
    headers = response.headers
    for name in [name for name in headers if name.startswith(Client.OBJECT_META_PREFIX)]:
        if not name.startswith(PUBLIC):
            del headers[name]
    if request.method not in ("GET", "HEAD") or not 200 <= response.status < 300:
        return response
    params = request.params
    if "filename" in params:
        headers[Client.CONTENT_DISPOSITION] = _disposition(_word(params), params["filename"])
    elif "inline" in params:
        headers[Client.CONTENT_DISPOSITION] = "inline"
    elif Client.CONTENT_DISPOSITION not in headers:
        name = request.storage_resource.object.rstrip("/")
        headers[Client.CONTENT_DISPOSITION] = _disposition("attachment", basename(name))
    headers[Client.EXPIRES] = formatdate(expires, usegmt=True)
    return response


def _word(params: Mapping[str, str]) -> str:
    return "inline" if "inline" in params else "attachment"


def _disposition(word: str, filename: str) -> str:
    """RFC 6266: the name for old clients, then in UTF-8 (RFC 5987)."""
    plain = "".join(each for each in filename if each not in '"\\' and each.isprintable())
    text = f"{word}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
    return text.encode().decode("latin-1")
