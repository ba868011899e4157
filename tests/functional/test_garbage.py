"""Requests leave no reference cycles: what they hold, such as megabytes of a listing, is freed with their answers."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.config.units import Address
from objstore.http.bodies import EMPTY_BODY, BytesBody
from objstore.http.messages import Environ
from objstore.tools.store_folder import AskedShape, StoreFolder
from objstore.tools.whole_store import WholeStore
from tests.waiting import elapse_in_hub


class InProcess:
    """A whole store called as a function, as its HTTP server calls it."""

    def __init__(self, path: Path) -> None:
        folder = StoreFolder(path)
        folder.prepare(AskedShape(None, None), loopback=True)
        whole = WholeStore(folder, Address("127.0.0.1", 0), loopback=True)
        self._listener = whole._service._listener  # nobody is accepted on it
        self._application = whole.make_apps().public
        login = {"HTTP_X_AUTH_USER": "test:tester", "HTTP_X_AUTH_KEY": "testing"}
        _, headers = self.call("GET", "/auth/v1.0", **login)
        self._token = headers["X-Auth-Token"]

    def close(self) -> None:
        """Let go of the address."""
        self._listener.close()

    def call(self, method: str, path: str, body: bytes = b"", **extra: str) -> tuple[int, dict[str, str]]:
        """The status and headers of the answer, whose body is read and dropped."""
        environ: Environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesBody(body) if body else EMPTY_BODY,
            "objstore.raw_path": path,
            **extra,
        }
        if hasattr(self, "_token"):
            environ["HTTP_X_AUTH_TOKEN"] = self._token
        started: list[tuple[int, dict[str, str]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            started.append((int(status[:3]), dict(headers)))

        result = self._application(environ, start_response)
        size = sum(len(chunk) for chunk in result)
        close = getattr(result, "close", None)
        if close is not None:
            close()
        for told in environ.pop("objstore.sent", ()):
            told(size, True)
        return started[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A store with the container c and the object c/o."""
    store = InProcess(tmp_path_factory.mktemp("garbage"))
    assert store.call("PUT", "/v1/AUTH_test/c")[0] == 201
    assert store.call("PUT", "/v1/AUTH_test/c/o", b"content")[0] == 201
    yield store
    store.close()


AFTERWARDS = "third replicas and updates are written after the answer"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/AUTH_test/c", b"", 200),
        ("HEAD", "/v1/AUTH_test/c", b"", 204),
        ("GET", "/v1/AUTH_test/c/o", b"", 200),
        ("HEAD", "/v1/AUTH_test/c/o", b"", 200),
        ("GET", "/v1/AUTH_test/c/absent", b"", 404),
        ("PUT", "/v1/AUTH_test/c/o", b"content", 201),
        ("POST", "/v1/AUTH_test/c/o", b"", 202),
        ("PUT", "/v1/AUTH_test/c", b"", 202),
        ("DELETE", "/v1/AUTH_test/c/absent", b"", 404),
    ],
)
def test_nothing_is_left_to_the_collector(whole: InProcess, method: str, path: str, body: bytes, status: int) -> None:
    for _ in range(2):  # caches fill, connections open
        assert whole.call(method, path, body)[0] == status
    elapse_in_hub(0.1, AFTERWARDS)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            whole.call(method, path, body)
        elapse_in_hub(0.1, AFTERWARDS)
        assert gc.collect() == 0
    finally:
        gc.enable()
