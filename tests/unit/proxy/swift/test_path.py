"""How many files of the proxy a reader opens, and a request runs through, from the edge to the transport."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import msgspec
import pytest

import objstore.proxy
from objstore.http.bodies import BytesBody
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.swift.pipeline import ProxyApplication
from objstore.proxy.swift.request import SwiftRequest
from tests.unit.proxy.store import Reply, ScriptedStore
from tests.unit.proxy.swift.harness import USERS, environ_of

PROXY = Path(objstore.proxy.__file__).resolve().parent
FILES_MAX = {"PUT": 12, "GET": 12}
BODY = bytes(4096)


@pytest.fixture
def application(tmp_path: Path) -> ProxyApplication:
    """The whole pipeline, the access log too, over storage servers that the test plays."""
    users = tmp_path / "users.toml"
    users.write_text(USERS, encoding="utf-8")
    store = ScriptedStore()
    context = store.context
    config = msgspec.structs.replace(
        context.config, auth=msgspec.structs.replace(context.config.auth, users=str(users))
    )
    fields = {name: getattr(context, name) for name in ProxyContext.__slots__}
    store.otherwise = Reply(201)
    store.objects = {f"o{number}": Reply(200, {"Etag": "e", "X-Timestamp": "1.0"}, BODY) for number in range(3)}
    return ProxyApplication(ProxyContext(**{**fields, "config": config}))


def files_of(act: Callable[[], object]) -> set[str]:
    """The files of the proxy whose functions run."""
    found: set[str] = set()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename).resolve()
            if path.is_relative_to(PROXY):
                found.add(str(path.relative_to(PROXY)))

    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_an_authenticated_request_passes_through_few_files(application: ProxyApplication, method: str) -> None:
    login = {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
    answer = application.answer(SwiftRequest(environ_of("GET", "/auth/v1.0", login)))
    token = {"X-Auth-Token": answer.headers["X-Auth-Token"]}

    def act() -> None:
        environ = environ_of(method, "/v1/AUTH_test/c/o", token, BODY if method == "PUT" else b"")
        environ["wsgi.input"] = BytesBody(BODY)
        statuses: list[str] = []
        application(environ, lambda status, headers: statuses.append(status))
        for sent in environ["objstore.sent"]:
            sent(0, True)
        assert statuses[0][0] == "2"

    act()  # what is looked up is remembered from then on
    files = files_of(act)
    assert "swift/pipeline.py" in files
    assert "core/objects.py" in files
    assert len(files) <= FILES_MAX[method], sorted(files)
