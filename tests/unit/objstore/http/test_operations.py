"""Who is answered what on which side of a service."""

from collections.abc import Iterable
from typing import Any

import pytest

from objstore.http.messages import Environ, Request, Response, StartResponse, WsgiApplication
from objstore.http.operations import Handler, proxy_apps, storage_apps
from objstore.logs import Logger, Sink

LOG = Logger("test", Sink())


def service(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return Response(200, {}, b"service")(environ, start_response)


def recon(request: Request) -> Response:
    if request.path.endswith("/bad"):
        raise KeyError("bad")
    return Response(200, {}, b"recon")


ROUTES: dict[str, Handler] = {"recon": recon}


def answer(side: WsgiApplication | None, method: str, path: str) -> tuple[int, bytes]:
    assert side is not None
    lines: list[str] = []

    def start_response(line: str, _headers: Any, _exc_info: Any = None) -> None:
        lines.append(line)

    body = b"".join(side({"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": ""}, start_response))
    return int(lines[0][:3]), body


def test_a_storage_server_with_one_address_answers_everything_there() -> None:
    apps = storage_apps(service, ROUTES, False, LOG)
    assert apps.replication is None
    assert answer(apps.public, "GET", "/recon/mem") == (200, b"recon")
    assert answer(apps.public, "REPLICATE", "/sda/7") == (200, b"service")
    assert answer(apps.public, "GET", "/sda/7/a/c/o") == (200, b"service")


@pytest.mark.parametrize(("method", "path"), [("GET", "/recon/mem"), ("GET", "/recon"), ("REPLICATE", "/sda/7")])
def test_with_a_replication_address_clients_are_refused(method: str, path: str) -> None:
    apps = storage_apps(service, ROUTES, True, LOG)
    assert answer(apps.public, method, path)[0] == 403
    assert answer(apps.replication, method, path)[0] == 200
    assert answer(apps.public, "PUT", "/sda/7/a/c/o") == (200, b"service")


def test_clients_of_a_proxy_never_reach_its_operations() -> None:
    apps = proxy_apps(service, ROUTES, LOG)
    assert answer(apps.public, "GET", "/recon/mem") == (200, b"service")
    assert answer(apps.replication, "GET", "/recon/mem") == (200, b"recon")
    assert answer(apps.replication, "GET", "/v1/a/c/o")[0] == 404


def test_what_nobody_foresaw_is_answered_and_logged() -> None:
    assert answer(storage_apps(service, ROUTES, False, LOG).public, "GET", "/recon/bad")[0] == 500
