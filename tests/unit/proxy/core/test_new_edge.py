"""A new API needs nothing but an edge: one that speaks lines of text, made of the core alone."""

from __future__ import annotations

import subprocess
import sys
from hashlib import md5

import pytest

from objstore.errors import StoreError
from objstore.http.bodies import BytesBody
from objstore.http.transport import BackendRequest
from objstore.paths import ResourcePath
from objstore.proxy.core.containers import GetContainer, PutContainer
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import ContainerNotFound, ObjectNotFound, QuorumNotReached
from objstore.proxy.core.info import PRESENT, StoredMetadata
from objstore.proxy.core.listing import ListedObject, ListedPrefix, ListingQuery
from objstore.proxy.core.objects import DeleteObject, GetObject, PutObject
from tests.unit.proxy.store import Reply, ScriptedStore

LISTING = b"""[
    {"subdir": "a/"},
    {"name": "b", "hash": "e", "bytes": 4, "content_type": "text/plain", "last_modified": "2023-11-14T22:13:20"}
]"""
REFUSALS = {ContainerNotFound: "no such box", ObjectNotFound: "no such thing", QuorumNotReached: "not now"}


class LineEdge:
    """put BOX THING CONTENT / get BOX THING / drop BOX THING / make BOX / list BOX, all in one account."""

    def __init__(self, context: ProxyContext) -> None:
        self._context = context
        self._clock = context.runtime.clock

    def answer(self, line: str) -> str:
        verb, box, *rest = line.split(" ", 3)
        try:
            answer: str = getattr(self, f"_{verb}")(ResourcePath("AUTH_a", box, *rest[:1]), *rest[1:])
        except StoreError as error:
            return REFUSALS[type(error)]
        return answer

    def _make(self, path: ResourcePath) -> str:
        return "made" if self._context.containers.put(PutContainer(path, self._clock.timestamp())) else "there"

    def _list(self, path: ResourcePath) -> str:
        listed = self._context.containers.list(GetContainer(path, ListingQuery(delimiter="/")))
        assert [type(entry) for entry in listed] == [ListedPrefix, ListedObject]
        return ", ".join(entry.name for entry in listed)

    def _put(self, path: ResourcePath, content: str) -> str:
        body = content.encode()
        command = PutObject(
            path,
            self._policy_of(path),
            self._clock.timestamp(),
            BytesBody(body),
            len(body),
            100,
            "text/plain",
            StoredMetadata(user={"Line": "yes"}),
        )
        return self._context.objects.put(command).etag

    def _get(self, path: ResourcePath) -> str:
        opened = self._context.objects.open(GetObject(path, self._policy_of(path)))
        assert isinstance(opened.body, bytes)
        return f"{opened.body.decode()} {opened.info.metadata.user['Line']}"

    def _drop(self, path: ResourcePath) -> str:
        self._context.objects.delete(DeleteObject(path, self._policy_of(path), self._clock.timestamp()))
        return "gone"

    def _policy_of(self, path: ResourcePath) -> int:
        info = self._context.lookup.container(path, "")
        if info.existence is not PRESENT:
            raise ContainerNotFound(path)
        return info.policy_index


def edge_of(store: ScriptedStore) -> LineEdge:
    scripted = store.transport.script

    def script(request: BackendRequest) -> Reply:
        if request.path.is_container and request.method == "GET":
            return Reply(200, {}, LISTING)
        if request.path.is_container and request.method == "PUT":
            return Reply(201)
        return scripted(request)

    store.transport.script = script
    return LineEdge(store.context)


def test_an_edge_puts_gets_lists_and_deletes() -> None:
    store = ScriptedStore()
    store.container = Reply(204, {"X-Backend-Storage-Policy-Index": "1"})
    edge = edge_of(store)
    assert edge.answer("make box") == "made"
    store.otherwise = Reply(201)
    assert edge.answer("put box thing some words") == md5(b"some words").hexdigest()
    (sent, *_) = store.calls("PUT")[3:]
    assert (sent.body, sent.headers["X-Object-Meta-Line"]) == (b"some words", "yes")
    assert sent.headers["X-Backend-Storage-Policy-Index"] == "1"
    store.otherwise = Reply(200, {"Etag": "e", "X-Object-Meta-Line": "yes"}, b"some words")
    assert edge.answer("get box thing") == "some words yes"
    assert edge.answer("list box") == "a/, b"
    store.otherwise = Reply(204)
    assert edge.answer("drop box thing") == "gone"


@pytest.mark.parametrize(("reply", "expected"), [(Reply(404), "no such thing"), (Reply(refuses=True), "not now")])
def test_an_edge_says_errors_in_its_own_words(reply: Reply, expected: str) -> None:
    store = ScriptedStore()
    store.otherwise = reply
    assert edge_of(store).answer("get box thing") == expected
    store.cache.values.clear()
    store.container = Reply(404)
    assert edge_of(store).answer("get box thing") == "no such box"


def test_the_core_can_be_had_without_any_edge() -> None:
    program = (
        "import sys, objstore.proxy.core.context;"
        "EDGES = 'objstore.proxy.swift', 'objstore.proxy.auth', 'webob';"
        "sys.exit(any(name.startswith(EDGES) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
