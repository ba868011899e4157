"""The transport to storage servers of this very process: it calls their WSGI applications."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from objstore.devices import Device
from objstore.errors import StoreError
from objstore.http.bodies import (
    EMPTY_BODY,
    NOTHING,
    BytesBody,
    ByteStream,
    ClientDisconnected,
    ClientTimeout,
    IterableBody,
)
from objstore.http.errors import HttpError
from objstore.http.messages import Environ, Response, WsgiApplication, WsgiServer, error_response, variable_of
from objstore.http.transport import (
    NODE_TIMEOUT_SECONDS,
    BackendBody,
    BackendRequest,
    BackendResponse,
    BackendUpload,
    Exchange,
    NodeFailure,
    Transport,
)
from objstore.system import concurrency
from objstore.system.concurrency import Event, WaitTimeout

WRITER_TIMEOUT_SECONDS: Final = 60.0  # as a server waits for a client over the network


class PipeBody(ByteStream):
    """The body of an upload on its way from the greenlet that writes it to the one that reads it, without a copy."""

    __slots__ = ("_emptied", "_filled", "_unread", "broken", "ended", "wanted")

    def __init__(self) -> None:
        super().__init__()
        self._filled: Event[None] = Event()
        self._emptied: Event[None] = Event()
        self._emptied.set()
        self.wanted: Event[None] = Event()  # the reader has asked for the body: it will not refuse it unseen
        self.ended = False
        self.broken = False
        self._unread = False  # the reader has gone: what still comes is dropped

    def put(self, chunk: memoryview, timeout_seconds: float) -> None:
        """Hand over a chunk once the one before is used up; raises WaitTimeout."""
        self._emptied.wait(timeout_seconds)
        if len(chunk) and not self._unread and not self.broken:
            self._ready = chunk
            self._emptied = Event()
            self._filled.set()

    def end(self, trailers: Mapping[str, str], timeout_seconds: float) -> None:
        """Nothing more comes; raises WaitTimeout when the last chunk is not taken in time."""
        self._emptied.wait(timeout_seconds)
        self.trailers = dict(trailers)
        self.ended = True
        self._filled.set()

    def break_off(self) -> None:
        """The writer has given up; a body that was whole by then stays whole."""
        if self.ended:
            return
        self.broken = True
        self._ready = NOTHING
        self._filled.set()
        self._emptied.set()

    def stop_reading(self) -> None:
        """The reader has answered and takes no more: let the writer go on."""
        self._unread = True
        self._ready = NOTHING
        self.wanted.set()
        self._emptied.set()

    def _advance(self) -> bool:
        self.wanted.set()
        while not self._ready:
            if self.broken:
                raise ClientDisconnected
            if self.ended:
                return False
            try:
                self._filled.wait(WRITER_TIMEOUT_SECONDS)
            except WaitTimeout:
                raise ClientTimeout from None
        return True

    def _used_up(self) -> None:
        if not self._emptied.is_set:
            if not self.ended and not self.broken:
                self._filled = Event()
            self._emptied.set()


def streamed(result: Iterable[bytes | memoryview], length: int | None, node: Device) -> IterableBody:
    """The body of an answer that a server of this process makes piece by piece; breaking off raises NodeFailure."""
    return IterableBody(_checked(result, length, node), length, getattr(result, "close", None), node)


def _checked(result: Iterable[bytes | memoryview], length: int | None, node: Device) -> Iterator[bytes | memoryview]:
    given = 0
    try:
        for chunk in result:
            given += len(chunk)
            if length is not None and given > length:
                raise NodeFailure(node, "the answer is longer than announced")
            yield chunk
    except NodeFailure:
        raise
    except Exception as error:
        raise NodeFailure(node, f"the answer broke off: {error}") from error
    if length is not None and given < length:
        raise NodeFailure(node, "disconnect")


class DirectQuestion(Protocol):
    """What a server of this process was asked: `done` happens when it can answer without waiting."""

    @property
    def done(self) -> Event[Any]: ...

    def answer(self) -> Response: ...


class AskedServer(WsgiServer):
    """A server that in its own process can be asked without a request of HTTP."""

    def ask(self, request: BackendRequest) -> DirectQuestion:
        """Begin to answer what the request asks. Raises StoreError, OSError."""
        raise NotImplementedError


class LocalTransport(Transport):
    """Calls the application that serves a node. Reads run at once in the caller's greenlet, the rest in one each."""

    def __init__(self, application_of: Callable[[BackendRequest], WsgiApplication | None]) -> None:
        self._application_of = application_of

    def _application(self, request: BackendRequest) -> WsgiApplication:
        application = self._application_of(request)
        if application is None:
            raise NodeFailure(request.node, "connection refused: no such server in this process")
        return application

    def start(
        self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> Exchange:
        """Send a whole request without waiting for its answer. Raises NodeFailure."""
        application = self._application(request)
        environ = environ_of(request, BytesBody(body) if body else EMPTY_BODY)
        if body or request.method not in ("GET", "HEAD"):
            environ["CONTENT_LENGTH"] = str(len(body))
        exchange = LocalExchange(request, timeout_seconds)
        if request.method in ("GET", "HEAD"):
            exchange.run(application, environ)
        else:
            exchange.task = concurrency.spawn(exchange.run, application, environ)
        return exchange

    def ask(self, request: BackendRequest, timeout_seconds: float = NODE_TIMEOUT_SECONDS) -> Exchange:
        """Begin to have a question answered. Raises NodeFailure."""
        application = self._application(request)
        if isinstance(application, AskedServer):
            try:
                return AskedExchange(self, request, application.ask(request))
            except (StoreError, OSError):
                pass  # the request says what is wrong
        return self.start(request, b"", timeout_seconds)

    def start_upload(
        self, request: BackendRequest, length: int | None, timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> BackendUpload:
        """Send the head of a request whose body follows. Raises NodeFailure."""
        application = self._application(request)
        upload = LocalUpload(request, timeout_seconds)
        environ = environ_of(request, upload.body)
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        environ["HTTP_EXPECT"] = "100-continue"
        if length is not None:
            environ["HTTP_X_BACKEND_OBJ_CONTENT_LENGTH"] = str(length)
        upload.task = concurrency.spawn(upload.run, application, environ)
        return upload


def environ_of(request: BackendRequest, body: Any) -> Environ:
    target = f"/{request.node.device}/{request.partition}{request.path}"
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": target if target.isascii() else target.encode("utf-8").decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_NAME": request.node.ip,
        "SERVER_PORT": str(request.node.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
    }
    for name, value in request.headers.items():
        environ[variable_of(name)] = value
    return environ


class LocalExchange(Exchange):
    """A call of an application in this process."""

    __slots__ = ("_answer", "_bodiless", "_done", "_timeout", "node", "task")

    def __init__(self, request: BackendRequest, timeout_seconds: float) -> None:
        self.node = request.node
        self._bodiless = request.method == "HEAD"
        self._timeout = timeout_seconds
        self._done: Event[None] = Event()
        self._answer: BackendResponse | NodeFailure | None = None
        self.task: concurrency.Task[None] | None = None

    def run(self, application: WsgiApplication, environ: Environ) -> None:
        status, headers = 0, {}

        def start_response(line: str, pairs: list[tuple[str, str]], exc_info: Any = None) -> None:
            nonlocal status, headers
            status, headers = int(line[:3]), dict(pairs)

        try:
            try:
                result = application(environ, start_response)
            except Exception:
                traceback.print_exc()  # our servers answer 500 themselves, and log why
                result = error_response(HttpError(500))(environ, start_response)
            answer = BackendResponse(status, headers, self._body_of(status, result, headers))
            if self._answer is None:
                self._answer = answer
            else:
                answer.close()  # it was given up meanwhile
        except Exception as error:
            self._answer = NodeFailure(self.node, f"the server failed: {error!r}")
        except BaseException:
            self._answer = NodeFailure(self.node, "the call was given up")
            raise
        finally:
            self._done.set()

    def _body_of(self, status: int, result: Iterable[bytes], headers: dict[str, str]) -> BackendBody:
        if self._bodiless or status in (204, 304):
            if not isinstance(result, tuple):
                streamed(result, None, self.node).close()
            return BytesBody(b"")
        if isinstance(result, tuple):
            return BytesBody(result[0] if len(result) == 1 else b"".join(result))
        length = headers.get("Content-Length")
        return streamed(result, None if length is None else int(length), self.node)

    @property
    def ready(self) -> bool:
        return self._answer is not None

    def watched(self) -> int | Event[None]:
        return self._done

    def response(self) -> BackendResponse:
        """Wait for the answer. Raises NodeFailure."""
        if self._answer is None:
            try:
                self._done.wait(self._timeout)
            except WaitTimeout:
                self._give_up("timeout")
        if isinstance(self._answer, BackendResponse):
            return self._answer
        assert self._answer is not None
        raise self._answer

    def abandon(self) -> None:
        """Give up on the answer. A call that still runs goes on to its end, as it would on another machine."""
        if isinstance(self._answer, BackendResponse):
            self._answer.close()
        elif self._answer is None:
            self._give_up("given up")

    def _give_up(self, reason: str) -> None:
        self._answer = NodeFailure(self.node, reason)
        self._done.set()  # for whoever else waits


class AskedExchange(Exchange):
    """A question to a server of this process."""

    __slots__ = ("_question", "_request", "_transport", "node")

    def __init__(self, transport: Transport, request: BackendRequest, question: DirectQuestion) -> None:
        self.node = request.node
        self._transport = transport
        self._request = request
        self._question = question

    @property
    def ready(self) -> bool:
        return self._question.done.is_set

    def watched(self) -> int | Event[None]:
        return self._question.done

    def response(self) -> BackendResponse:
        """Wait for the answer, as long as the disk may take; a failure is told by a request. Raises NodeFailure."""
        try:
            answer = self._question.answer()
        except (StoreError, OSError):
            return self._transport.request(self._request)
        return BackendResponse(answer.status, answer.headers, BytesBody(b""))

    def abandon(self) -> None:
        """Nobody waits for what the disk says."""


class LocalUpload(LocalExchange, BackendUpload):
    """A call whose body is handed over piece by piece."""

    __slots__ = ("_welcome", "body")

    def __init__(self, request: BackendRequest, timeout_seconds: float) -> None:
        super().__init__(request, timeout_seconds)
        self.body = PipeBody()
        self._welcome = False  # whether the caller knows that the body is wanted

    @property
    def ready(self) -> bool:
        """Whether `expect` (before the body) or `response` (after it) would not wait."""
        return self._answer is not None or (self.body.wanted.is_set and not self._welcome)

    def watched(self) -> int | Event[None]:
        """What comes next: that the body is wanted, or the end of the call."""
        return super().watched() if self._welcome else self.body.wanted

    def run(self, application: WsgiApplication, environ: Environ) -> None:
        """Call the application; when it returns, the body is no longer read."""
        try:
            super().run(application, environ)
        finally:
            self.body.stop_reading()

    def expect(self) -> BackendResponse | None:
        """Wait for leave to send the body, or the final answer if the node refuses. Raises NodeFailure."""
        if self._answer is None:
            try:
                self.body.wanted.wait(self._timeout)
            except WaitTimeout:
                self._give_up("timeout")
        self._welcome = True
        return self.response() if self._answer is not None else None

    def write(self, chunk: bytes | memoryview) -> None:
        """Send a piece of the body. Raises NodeFailure."""
        self._hand_over(lambda: self.body.put(memoryview(chunk), self._timeout))

    def finish(self, trailers: Mapping[str, str]) -> None:
        """End the body with its trailers. Raises NodeFailure."""
        self._hand_over(lambda: self.body.end(trailers, self._timeout))

    def _hand_over(self, give: Callable[[], None]) -> None:
        if self._answer is None:
            try:
                give()
            except WaitTimeout:
                self._give_up("timeout")
        if isinstance(self._answer, NodeFailure):
            raise self._answer

    def _give_up(self, reason: str) -> None:
        """The server sees its client leave."""
        super()._give_up(reason)
        self.body.break_off()
