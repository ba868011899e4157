"""Our own client against a running store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import pytest

from objstore.client.errors import ConditionFailed, Conflict, Forbidden, NotFound, RangeNotSatisfiable, Unauthorized
from objstore.client.store import StoreClient
from tests.functional.servers import Store


def client_of(store: Store, user: str, key: str) -> StoreClient:
    return StoreClient(f"http://{store.host}:{store.port}/auth/v1.0", user, key)


@pytest.fixture
def library(store: Store) -> Iterator[StoreClient]:
    """The library, logged in as test:tester."""
    made = client_of(store, "test:tester", "testing")
    with made.http:
        yield made


NAMES = ["plain", "ü/ /?&%2F", "..", "a/../b", "//x", "."]


@pytest.mark.parametrize("name", NAMES)
def test_an_object_of_any_name_comes_back(library: StoreClient, container: str, name: str) -> None:
    stored = library.put_object(container, name, b"content", headers={"X-Object-Meta-Colour": "grün"})
    assert stored["etag"] == hashlib.md5(b"content").hexdigest()
    assert library.read_object(container, name) == b"content"
    assert library.object_headers(container, name)["x-object-meta-colour"] == "grün"
    assert [row["name"] for row in library.objects(container)] == [name]
    library.delete_object(container, name)
    with pytest.raises(NotFound):
        library.read_object(container, name)


def test_streams_go_up_and_come_down(library: StoreClient, container: str) -> None:
    piece = bytes(range(256)) * 512
    library.put_object(container, "chunked", (piece for _ in range(40)))
    library.put_object(container, "counted", (piece for _ in range(40)), length=40 * len(piece))
    for name in ("chunked", "counted"):
        sink = io.BytesIO()
        assert library.download(container, name, sink) == 40 * len(piece)
        assert sink.getvalue() == piece * 40


def test_ranges(library: StoreClient, container: str) -> None:
    library.put_object(container, "o", b"0123456789")
    assert library.read_object(container, "o", 2, 3) == b"234"
    assert library.read_object(container, "o", 7) == b"789"
    assert library.read_object(container, "o", 7, 100) == b"789"
    with pytest.raises(RangeNotSatisfiable):
        library.read_object(container, "o", 10)


def test_listings_go_on_over_pages(library: StoreClient, container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.client.store.LISTING_PAGE", 3)
    names = [f"a/{number}" for number in range(4)] + [f"b{number}" for number in range(4)]
    for name in names:
        library.put_object(container, name, b"")
    assert [row["name"] for row in library.objects(container)] == names
    assert [row["name"] for row in library.objects(container, limit=5)] == names[:5]
    rows = library.objects(container, delimiter="/")
    assert [row.get("name") or row["subdir"] for row in rows] == ["a/", *names[4:]]
    assert container in [row["name"] for row in library.containers()]


def test_refusals_are_errors_of_their_kind(store: Store, library: StoreClient, container: str) -> None:
    library.put_object(container, "o", b"x")
    with pytest.raises(Conflict):
        library.delete_container(container)
    with pytest.raises(ConditionFailed):
        library.put_object(container, "o", b"y", headers={"If-None-Match": "*"})
    wrong = client_of(store, "test:tester", "wrong")
    with wrong.http, pytest.raises(Unauthorized):
        wrong.account_headers()
    stranger = client_of(store, "test:tester3", "testing3")
    with stranger.http, pytest.raises(Forbidden):
        stranger.read_object(container, "o")
    assert library.read_object(container, "o") == b"x"


def test_containers_and_copies(library: StoreClient, container: str) -> None:
    library.update_container(container, {"X-Container-Meta-Kind": "trial"})
    library.put_object(container, "o", b"x", headers={"X-Object-Meta-A": "1"})
    library.copy_object(container, "o", container, "é")
    library.update_object(container, "o", {"X-Object-Meta-A": "2"})
    metas = [library.object_headers(container, name)["x-object-meta-a"] for name in ("o", "é")]
    assert metas == ["2", "1"]
    headers = library.container_headers(container)
    assert (headers["x-container-meta-kind"], headers["x-container-object-count"]) == ("trial", "2")
    assert int(library.account_headers()["x-account-container-count"]) >= 1
