"""GET and HEAD: send an object, or say what it is."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from objstore.errors import StoreError
from objstore.headers import STANDS_FOR_OTHERS, Backend, Client, Sysmeta
from objstore.http.conditional import evaluate, range_applies
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.http.ranges import ByteRange, ranges_of
from objstore.object.engine import Missing, ObjectCorrupt, ObjectInfo, StoredObject
from objstore.object.file_names import NULL
from objstore.object.fragments import OWN, get_fragment, own_fragment
from objstore.object.requests import Target, ignores_expiry, version_of
from objstore.object.responses import expired, no_data, object_headers, plain
from objstore.object.service import ObjectService
from objstore.object.strong_writes import state_headers
from objstore.system.concurrency import Event

# Up to this size a body is read and verified before its first byte leaves, and leaves with its head.
WHOLE_BYTES_MAX: Final = 64 * 1024
# So often in a row it is not chance that an object is replaced between looking and opening.
LOOKS_MAX: Final = 10
# Of versions that name one upload so many are told. There is one, or two if a client completed it twice at once.
NAMED_BY_MAX: Final = 16
IDENTIFYING: Final = (Client.ETAG, Client.LAST_MODIFIED, Client.TIMESTAMP, Client.ACCEPT_RANGES)


def get_object(service: ObjectService, request: Request) -> Response:
    """200, or 206 for one range; 304, 404, 412, 416. Several ranges get the whole: proxies ask for each by itself."""
    target = service.target(request)
    if target.location.policy.tells_state:
        wanted = request.header(Backend.FRAGMENT)
        if wanted not in (None, OWN):
            return get_fragment(request, target, wanted)
        if request.header(Backend.NAMES_ONLY) is not None:
            try:
                return NamesQuestion(service, target, version_of(request), is_enough=False).answer()
            except FragmentThere:
                pass
        return _with_state(service, request, target, WHOLE_BYTES_MAX, _get)
    found = target.storage.open(target.location, read_max=WHOLE_BYTES_MAX, version=version_of(request))
    return _get(service, request, found)


def _get(service: ObjectService, request: Request, found: StoredObject | Missing) -> Response:
    stored = _readable(service, request, found)
    if isinstance(stored, Response):
        return stored
    headers = object_headers(stored.info)
    refusal = _precondition(request, stored, headers)
    if refusal is not None:
        return refusal
    size = stored.info.data.size
    status, chosen = 200, ByteRange(0, size - 1)
    asked = request.header(Client.RANGE)
    if (
        asked is not None
        and range_applies(request.header, headers[Client.ETAG], headers[Client.LAST_MODIFIED])
        and not _is_weighed_by_reader(request, stored.info)
    ):
        ranges = ranges_of(asked, size)
        if ranges == []:
            stored.close()
            return _unsatisfiable(headers, size)
        if ranges is not None and len(ranges) == 1:
            status, chosen = 206, ranges[0]
            headers[Client.CONTENT_RANGE] = chosen.content_range(size)
    if stored.info.data.fragment is not None:
        return Response(status, headers, own_fragment(request, stored, chosen))
    start, stop = chosen.first, chosen.last + 1
    if size > WHOLE_BYTES_MAX:
        return Response(status, headers, stored.stream(start, stop))
    body = stored.read()
    return Response(status, headers, body if status == 200 else body[start:stop])


def head_object(service: ObjectService, request: Request) -> Response:
    """200; 304, 404, 412. The body is not read."""
    target = service.target(request)
    if (upload := request.header(Backend.UPLOAD)) is not None:
        return _named_by(target, upload)
    if target.location.policy.tells_state:
        if request.header(Backend.NAMES_ONLY) is not None:
            return NamesQuestion(service, target, version_of(request)).answer()
        return _with_state(service, request, target, 0, _head)
    return _head(service, request, target.storage.open(target.location, version=version_of(request)))


def _head(service: ObjectService, request: Request, found: StoredObject | Missing) -> Response:
    stored = _readable(service, request, found)
    if isinstance(stored, Response):
        return stored
    headers = object_headers(stored.info)
    refusal = _precondition(request, stored, headers)
    if refusal is not None:
        return refusal
    stored.close()
    if Client.DELETE_AT in stored.info.headers and service.expired(stored):
        headers[Backend.EXPIRED] = "true"
    headers[Client.CONTENT_LENGTH] = str(stored.info.data.size)
    return Response(200, headers)


def _named_by(target: Target, upload: str) -> Response:
    """200 and which live versions name the parts of an upload, or 404. Raises HttpError 503 if one cannot be read."""
    found = []
    current = target.storage.look(target.location)
    for file in (file for line in current.lines for file in (line.data, *line.pending) if file is not None):
        try:
            stored = target.storage.open(target.location, current.with_only(file), version=file.version)
        except ObjectCorrupt:
            raise HttpError(503, "What is stored is damaged") from None
        if isinstance(stored, Missing):
            continue
        stored.close()
        if stored.info.data.sysmeta.get(Sysmeta.UPLOAD) == upload:
            found.append(file.version or NULL)
    if not found:
        return no_data(current.current)
    return Response(200, {Backend.NAMED_BY: ",".join(found[:NAMED_BY_MAX])})


class FragmentThere(StoreError):
    """Of what is current there is a fragment, for which the same request asks."""

    message: ClassVar[str] = "there is a fragment"


class NamesQuestion:
    """Which versions a device has: 200 or 404, by the names alone: a damaged or an expired object is there."""

    def __init__(self, service: ObjectService, target: Target, version: str | None, *, is_enough: bool = True) -> None:
        """Unless names are enough, it is not answered of a fragment: that is to be read."""
        self._service = service
        self._is_enough = is_enough
        self._target = target
        self._version = version
        self._look = target.storage.begin_look(target.location)

    @property
    def done(self) -> Event[Any]:
        return self._look.done

    def answer(self) -> Response:
        """Once what was seen is durable. Raises FragmentThere, HttpError 503, OSError."""
        target, current = self._target, self._look.versions()
        line = current.current if self._version is None else current.line(self._version)
        if not self._is_enough and line.data is not None and line.data.fragment >= 0:
            raise FragmentThere
        self._service.engine.agreement(target.storage.path).wait_until_durable(target.location.hash)
        response = no_data(line) if line.data is None else Response(200)
        response.headers |= state_headers(current)
        return response


def _with_state(
    service: ObjectService,
    request: Request,
    target: Target,
    read_max: int,
    answer: Callable[[ObjectService, Request, StoredObject | Missing], Response],
) -> Response:
    """The answer about what is durable, and the state of the object that it is about.

    Raises HttpError 503 for what is damaged: this device cannot say what it had. Who asks
    several devices gets the names of what it had.
    """
    version = version_of(request)
    for _ in range(LOOKS_MAX):
        current, stored = target.storage.examine(target.location, version, read_max)
        line = current.current if version is None else current.line(version)
        if stored is None:
            if line.data is not None:
                if request.header(Backend.FRAGMENT) != OWN:
                    raise HttpError(503, "What is stored is damaged")
                return Response(200, state_headers(current))
            break
        found = stored.info.data.timestamp, stored.info.timestamp
        if found == (line.timestamp, line.newest_timestamp):
            break
        stored.close()  # it was replaced between looking and opening
    else:
        raise HttpError(503, "It is replaced again and again")
    service.engine.agreement(target.storage.path).wait_until_durable(target.location.hash)
    response = answer(service, request, stored or Missing(line.timestamp, line.version, line.is_marker))
    response.headers |= state_headers(current)
    return response


def _readable(service: ObjectService, request: Request, stored: StoredObject | Missing) -> StoredObject | Response:
    """The object, opened, or the 404."""
    if isinstance(stored, Missing):
        return no_data(stored)
    if Client.DELETE_AT in stored.info.headers and service.expired(stored) and not ignores_expiry(request):
        stored.close()
        return expired(stored.info)
    return stored


def _precondition(request: Request, stored: StoredObject, headers: dict[str, str]) -> Response | None:
    """What answers instead of the object; it is closed then."""
    info = stored.info
    status = evaluate(request.header, info.data.etag, headers[Client.LAST_MODIFIED])
    if status is None or _is_weighed_by_reader(request, info):
        return None
    stored.close()
    if status == 304:
        return Response(304, headers)
    return _refusal(412, "Precondition Failed", headers)


def _is_weighed_by_reader(request: Request, info: ObjectInfo) -> bool:
    """Whether conditions and ranges are about what readers make of the object: a link, a manifest, an encrypted one.

    Such an object is sent whole, unless the reader wants it as it is stored.
    """
    wanted = request.header(Backend.AS_STORED)
    if Sysmeta.SEALED in info.data.sysmeta:
        return wanted != "raw"
    if STANDS_FOR_OTHERS.isdisjoint(info.headers) and STANDS_FOR_OTHERS.isdisjoint(info.data.sysmeta):
        return False
    return not wanted


def _unsatisfiable(headers: dict[str, str], size: int) -> Response:
    response = _refusal(416, "Requested Range Not Satisfiable", headers)
    response.headers[Client.CONTENT_RANGE] = f"bytes */{size}"
    return response


def _refusal(status: int, reason: str, headers: dict[str, str]) -> Response:
    """Not the object as it was asked for, but which one it is, so that the client can ask better."""
    response = plain(status, reason, headers[Backend.TIMESTAMP])
    for name in IDENTIFYING:
        response.headers[name] = headers[name]
    return response
