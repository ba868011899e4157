from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from objstore.client.connections import BodyCutShort
from objstore.client.errors import BadResponse, ConditionFailed, NotFound, Unauthorized
from objstore.client.requests import HttpClient, RetryPolicy
from objstore.client.store import StoreClient
from tests.unit.objstore.client.scripted import Answering, Asked, ScriptedServer, closed_later, response, serving


def login(token: str = "t1", expires: int = 3600) -> Answering:
    def answer(asked: Asked) -> bytes:
        assert (asked.target, asked.headers["x-auth-user"], asked.headers["x-auth-key"]) == ("/auth/v1.0", "a:b", "k")
        url = f"http://{asked.headers['host']}/v1/AUTH_a"
        return response(200, X_Auth_Token=token, X_Storage_Url=url, X_Auth_Token_Expires=expires)

    return answer


class SetClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def client(server: ScriptedServer, clock: SetClock | None = None) -> StoreClient:
    http = closed_later(HttpClient(RetryPolicy(3), sleep=lambda _: None))
    return StoreClient(f"{server.url}/auth/v1.0", "a:b", "k", http, clock or SetClock())


def tokens(server: ScriptedServer) -> list[str | None]:
    return [each.headers.get("x-auth-token") for each in server.asked]


def test_it_logs_in_once_and_names_are_quoted() -> None:
    with serving(login(), response(201, Etag="e"), response(204)) as server:
        store = client(server)
        assert store.put_object("c d", "../é/?", b"x")["etag"] == "e"
        store.delete_object("c d", "../é/?")
        assert [each.target for each in server.asked[1:]] == ["/v1/AUTH_a/c%20d/../%C3%A9/%3F"] * 2
        assert tokens(server) == [None, "t1", "t1"]
        assert store.account == "AUTH_a"


def test_a_refused_token_is_renewed_and_the_request_repeated() -> None:
    with serving(login(), response(401), login("t2"), response(200, b"x"), response(200, b"y")) as server:
        store = client(server)
        assert (store.read_object("c", "o"), store.read_object("c", "o")) == (b"x", b"y")
        assert tokens(server) == [None, "t1", None, "t2", "t2"]


def test_a_token_is_renewed_before_it_ends() -> None:
    clock = SetClock()
    with serving(login(expires=100), response(204), response(204), login("t2"), response(204)) as server:
        store = client(server, clock)
        store.account_headers()
        clock.seconds = 39
        store.account_headers()
        clock.seconds = 41
        store.account_headers()
        assert tokens(server) == [None, "t1", "t1", None, "t2"]


def test_a_token_that_is_refused_twice_is_an_error() -> None:
    with serving(login(), response(401), login(), response(401)) as server, pytest.raises(Unauthorized):
        client(server).read_object("c", "o")


def test_an_upload_from_an_iterator_is_not_repeated_with_a_new_token() -> None:
    with serving(login(), response(401)) as server:
        with pytest.raises(Unauthorized):
            client(server).put_object("c", "o", iter([b"x"]))
        assert len(server.asked) == 2


def test_a_login_that_is_refused_or_gives_no_token() -> None:
    with serving(response(401)) as server, pytest.raises(Unauthorized):
        client(server).account_headers()
    with serving(response(200)) as server, pytest.raises(BadResponse, match="gives no token"):
        client(server).account_headers()


def test_a_listing_goes_on_page_by_page_until_it_ends() -> None:
    def page(*rows: dict[str, str]) -> bytes:
        return response(200, json.dumps(rows).encode())

    pages = page({"name": "a"}, {"subdir": "b/"}), page({"name": "c"}), page()
    with serving(login(), *pages) as server:
        assert [row.get("name") for row in client(server).objects("c", prefix="", delimiter="/")] == ["a", None, "c"]
        markers = [each.target.partition("marker=")[2].partition("&")[0] for each in server.asked[1:]]
        assert markers == ["", "b%2F", "c"]


def test_a_limit_ends_a_listing() -> None:
    rows = response(200, b'[{"name": "a"}, {"name": "b"}]')
    with serving(login(), rows) as server:
        assert len(list(client(server).containers(limit=2))) == 2
        assert "limit=2" in server.asked[1].target


def test_ranges_are_asked_for_and_must_be_kept() -> None:
    with serving(login(), response(206, b"345"), response(206, b"9"), response(200, b"0123456789")) as server:
        store = client(server)
        assert store.read_object("c", "o", 3, 3) == b"345"
        assert store.read_object("c", "o", 9) == b"9"
        with pytest.raises(Exception, match="the range was ignored"):
            store.read_object("c", "o", 3, 3)
        assert [each.headers["range"] for each in server.asked[1:]] == ["bytes=3-5", "bytes=9-", "bytes=3-5"]
        assert store.read_object("c", "o", 3, 0) == b""


def test_a_broken_download_goes_on_where_it_broke_with_the_same_version() -> None:
    begin = response(200, b"0123", length=10, Etag="abc")
    middle = response(206, b"45", length=6, Etag="abc")
    with serving(login(), begin, None, middle, response(206, b"6789", Etag="abc")) as server:
        sink = io.BytesIO()
        assert client(server).download("c", "o", sink) == 10
        assert sink.getvalue() == b"0123456789"
        asked = [(each.headers.get("range"), each.headers.get("if-match")) for each in server.asked[1:]]
        assert asked == [(None, None), *[("bytes=4-", '"abc"')] * 2, ("bytes=6-", '"abc"')]


def test_a_download_never_mixes_two_versions() -> None:
    with serving(login(), response(200, b"0123", length=10, Etag="abc"), response(412)) as server:
        sink = io.BytesIO()
        with pytest.raises(ConditionFailed):
            client(server).download("c", "o", sink)
        assert sink.getvalue() == b"0123"


def test_a_download_that_gets_nowhere_gives_up() -> None:
    stuck = [response(206, b"", length=6, Etag="abc")] * 9
    with serving(login(), response(200, b"0123", length=10, Etag="abc"), *stuck) as server:
        with pytest.raises(BodyCutShort):
            client(server).read_object("c", "o")
        assert len(server.asked) < 6


def test_uploads_stream_and_downloads_too() -> None:
    produced = 0

    def pieces() -> Iterator[bytes]:
        nonlocal produced
        for _ in range(64):
            produced += 1
            yield b"x" * 65536

    with serving(login(), response(201), response(200, b"y" * 1_000_000)) as server:
        store = client(server)
        store.put_object("c", "o", pieces)
        assert (produced, len(server.asked[1].body)) == (64, 64 * 65536)
        assert sum(len(chunk) for chunk in store.get_object("c", "o").chunks(1000)) == 1_000_000


def test_the_other_operations() -> None:
    made = response(201), response(204), response(204, X_Container_Object_Count=3), response(204)
    objects = response(200, X_Object_Meta_A="1"), response(202), response(201), response(404)
    with serving(login(), *made, *objects) as server:
        store = client(server)
        store.create_container("c", {"X-Storage-Policy": "gold"})
        store.update_container("c", {"X-Container-Meta-A": "1"})
        assert store.container_headers("c")["x-container-object-count"] == "3"
        store.delete_container("c")
        assert store.object_headers("c", "o")["x-object-meta-a"] == "1"
        store.update_object("c", "o", {"X-Object-Meta-A": "2"})
        store.copy_object("c", "o", "d", "é")
        with pytest.raises(NotFound):
            store.delete_object("c", "o")
        methods = [each.method for each in server.asked[1:]]
        assert methods == ["PUT", "POST", "HEAD", "DELETE", "HEAD", "POST", "COPY", "DELETE"]
        assert server.asked[7].headers["destination"] == "d/%C3%A9"
