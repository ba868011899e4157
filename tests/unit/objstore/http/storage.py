"""A storage server for tests of transports."""

from collections.abc import Iterator
from typing import Any

from objstore.http.bodies import ClientDisconnected
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response, WsgiServer
from objstore.http.transport import BackendResponse
from objstore.system import concurrency


class Pieces:
    """A body in pieces, of which it may give fewer or fail."""

    def __init__(self, chunks: list[Any], length: int | None) -> None:
        self.chunks = chunks
        self.length = length
        self.closed = 0

    def __iter__(self) -> Iterator[bytes | memoryview]:
        buffer = bytearray(100)
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            buffer[: len(chunk)] = chunk
            yield memoryview(buffer)[: len(chunk)]

    def close(self) -> None:
        self.closed += 1


class Server(WsgiServer):
    """Does what the method of the request says."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.bodies: list[bytes | HttpError] = []
        self.go: concurrency.Event[None] = concurrency.Event()
        self.pieces = Pieces([b"one", b"two"], 6)

    def handle(self, request: Request) -> Response:
        self.seen.append(request)
        name = request.method.lower()
        answer: Response = getattr(self, f"do_{name}")(request)
        return answer

    def do_get(self, request: Request) -> Response:
        return Response(200, {"Etag": "x", "X-Object-Meta-A": "h\xe9"}, self.pieces)

    do_head = do_get

    def do_put(self, request: Request) -> Response:
        if request.header("X-Refuse"):
            raise HttpError(409, "Refused", {"X-Backend-Timestamp": "1"})
        content = b""
        try:
            while part := request.body.read(7) if request.header("X-Small") else request.body.read(65536):
                content += part
                if request.header("X-Refuse-After") and len(content) >= 10:
                    raise HttpError(507)
        except ClientDisconnected as error:
            self.bodies.append(error)
            raise
        self.bodies.append(content)
        return Response(201, {"Etag": request.trailers.get("Etag", "none")})

    def do_into(self, request: Request) -> Response:
        buffer = memoryview(bytearray(10))
        parts = []
        while count := request.body.readinto(buffer):
            parts.append(bytes(buffer[:count]))
        assert all(len(part) == 10 for part in parts[:-1])
        return Response(200, {}, b"".join(parts))

    def do_slow(self, request: Request) -> Response:
        self.go.wait()
        return Response(200, {}, self.pieces)

    def do_empty(self, request: Request) -> Response:
        return Response(204, {}, b"unwanted")

    def do_same(self, request: Request) -> Response:
        return Response(304, {}, self.pieces)

    def do_fail(self, request: Request) -> Response:
        raise KeyError("bug")

    def report(self, request: Request, error: Exception) -> None:
        assert isinstance(error, KeyError)


def essence(response: BackendResponse) -> tuple[int, dict[str, str], bytes]:
    """What is the same however it came."""
    headers = {name: value for name, value in response.headers.items() if name not in ("Date", "Content-Length")}
    return response.status, headers, response.read_all()


TEXT = {"Content-Type": "text/plain; charset=utf-8"}
