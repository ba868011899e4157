"""A call of the compute API: its version, whose it is, and how answers and errors look."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import webob

from objstore.cloud.callers import CloudCaller
from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.compute.core.context import ComputeContext
from objstore.compute.errors import (
    ComputeError,
    ImageServiceFailed,
    InvalidRequest,
    NoSuch,
    NotOffered,
    NotPermitted,
    OverQuota,
    StateConflict,
)

T = TypeVar("T")
ApiVersion = tuple[int, int]
VERSION_MIN: Final[ApiVersion] = (2, 1)
VERSION_MAX: Final[ApiVersion] = (2, 1)
VERSION_HEADER: Final = "OpenStack-API-Version"
NOVA_HEADER: Final = "X-OpenStack-Nova-API-Version"
PAGE_MAX: Final = 1000

# The first class that an error is of decides.
STATUSES: Final[tuple[tuple[type[ComputeError], int], ...]] = (
    (InvalidRequest, 400),
    (NotPermitted, 403),
    (OverQuota, 403),
    (NoSuch, 404),
    (StateConflict, 409),
    (NotOffered, 501),
    (ImageServiceFailed, 503),
)
FAULT_NAMES: Final = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def status_for(error: ComputeError) -> int:
    """The status of an error."""
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def render_fault(fault: Fault, call: Call) -> webob.Response:
    """{"badRequest": {"code": 400, "message": ...}}"""
    name = FAULT_NAMES.get(fault.status, "computeFault")
    document = {name: {"code": fault.status, "message": fault.text}}
    response = json_answer(fault.status, document, fault.headers)
    return with_version(response, (2, 1))


def with_version(response: webob.Response, version: ApiVersion) -> webob.Response:
    text = f"{version[0]}.{version[1]}"
    response.headers[VERSION_HEADER] = f"compute {text}"
    response.headers[NOVA_HEADER] = text
    response.headers["Vary"] = f"{VERSION_HEADER}, {NOVA_HEADER}"
    return response


def version_of(request: webob.Request) -> ApiVersion:
    """The version that a request asks for. Raises Fault 400, 406."""
    wanted = ""
    for part in request.headers.get(VERSION_HEADER, "").split(","):
        service, _, text = part.strip().partition(" ")
        if service.lower() in ("compute", "nova"):
            wanted = text.strip()
    wanted = wanted or request.headers.get(NOVA_HEADER, "").strip()
    if not wanted:
        return VERSION_MIN
    if wanted == "latest":
        return VERSION_MAX
    match = re.fullmatch(r"([1-9]\d{0,3})\.([1-9]\d{0,3}|0)", wanted, re.ASCII)
    if match is None:
        raise Fault(400, f"API Version String {wanted[:50]} is of invalid format. Must be of format MajorNum.MinorNum.")
    version = int(match[1]), int(match[2])
    if not VERSION_MIN <= version <= VERSION_MAX:
        low, high = (f"{each[0]}.{each[1]}" for each in (VERSION_MIN, VERSION_MAX))
        raise Fault(406, f"Version {wanted} is not supported by the API. Minimum is {low} and maximum is {high}.")
    return version


@dataclass
class ApiCall:
    """A request to a handler of the compute API."""

    web: Call
    context: ComputeContext
    version: ApiVersion

    @property
    def caller(self) -> CloudCaller:
        return self.web.caller

    @property
    def project_id(self) -> str:
        return self.caller.project_id or ""

    @property
    def arguments(self) -> Mapping[str, str]:
        return self.web.arguments

    @property
    def query(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.web.request.GET
        return found

    @property
    def base(self) -> str:
        """Where clients reach the service."""
        return str(self.web.request.host_url)

    def body(self, kind: type[T], key: str) -> T:
        """What the body holds under its one key. Raises Fault 400."""
        document: dict[str, T] = self.web.json_as(dict[str, kind])  # type: ignore[valid-type]
        if set(document) != {key}:
            raise Fault(400, f"The body must have one key, {key}.")
        return document[key]

    def answer(self, document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> webob.Response:
        return json_answer(status, document, headers)

    def empty(self, status: int, headers: Mapping[str, str] | None = None) -> webob.Response:
        return empty_answer(status, headers)

    def require_admin(self) -> None:
        """Raises NotPermitted."""
        if not self.caller.is_admin:
            raise NotPermitted("Policy doesn't allow this to be performed.")

    def limit(self) -> int:
        """How many items a page has. Raises InvalidRequest."""
        return min(whole_number(self.query.get("limit", str(PAGE_MAX)), "limit"), PAGE_MAX)


ApiHandler = Callable[[ApiCall], webob.Response]


def whole_number(text: str, name: str) -> int:
    """Raises InvalidRequest."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise InvalidRequest(f"Invalid input for query parameters {name}: {text[:50]!r} is no whole number.")
    return int(text)


def iso(moment: datetime.datetime | None) -> str | None:
    """A time as most of the API writes it."""
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def iso_micro(moment: datetime.datetime | None) -> str | None:
    """A time as the older extensions write it."""
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S.%f}"


def read_time(text: str, name: str) -> datetime.datetime:
    """A time in a query, UTC without a zone. Raises InvalidRequest."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"Invalid {name}: {text[:50]!r} is no time.") from None
    return moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)


def routes(context: ComputeContext, table: Mapping[str, ApiHandler]) -> list[WebRoute]:
    """Routes of "METHOD /path" below /v2.1, each with the project's id in the path and without it."""
    found = []
    for key, handler in table.items():
        method, _, path = key.partition(" ")
        served = _served(context, handler)
        found += [WebRoute(method, f"/v2.1{path}", served), WebRoute(method, f"/v2.1/{{project}}{path}", served)]
    return found


def _served(context: ComputeContext, handler: ApiHandler) -> Callable[[Call], webob.Response]:
    def serve(web: Call) -> webob.Response:
        version = version_of(web.request)
        if web.caller.project_id is None:
            raise Fault(403, "The token is of no project.")
        named = web.arguments.get("project")
        if named is not None and named != web.caller.project_id:
            raise Fault(400, f"Malformed request URL: URL's project_id {named[:64]!r} is not that of the token.")
        try:
            return with_version(handler(ApiCall(web, context, version)), version)
        except ComputeError as error:
            raise Fault(status_for(error), str(error)) from error

    return serve
