"""Static large objects at the edge: put together, read in all forms, copied and deleted."""

from __future__ import annotations

import json
from hashlib import md5
from typing import Any

import pytest

from objstore.expiry import ASYNC_DELETED, EXPIRY_ACCOUNT
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.http.ranges import ranges_of
from objstore.http.transport import BackendRequest
from objstore.proxy.swift.request import SwiftRequest
from objstore.rows import decode_object_rows, split_etag
from tests.unit.proxy.store import Reply, ScriptedStore

WHOLE = "/v1/AUTH_a/c/whole"
MODIFIED = "Sun, 13 Sep 2020 12:26:40 GMT"


class Shelf:
    """Keeps what is put, as three nodes that always agree would."""

    def __init__(self) -> None:
        self.store = ScriptedStore()
        self.lookup = self.store.transport.script
        self.store.transport.script = self.script
        self.held: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.gone: set[str] = set()
        self.refused: set[str] = set()

    def script(self, request: BackendRequest) -> Reply:
        path = request.path
        if request.method == "UPDATE":
            return Reply(204)
        if not path.is_object:
            return self.lookup(request)
        name = f"{path.container}/{path.object}"
        if request.method == "DELETE":
            if name in self.refused:
                return Reply(503)
            self.gone.add(name)
            return Reply(204 if name in self.held else 404)
        if request.method == "PUT":
            return Reply(201)
        if name not in self.held or name in self.gone:
            return Reply(404)
        content, headers = self.held[name]
        asked = None if "X-Static-Large-Object" in headers else ranges_of(request.headers.get("Range"), len(content))
        if asked:
            part = asked[0]
            ranged = headers | {"Content-Range": part.content_range(len(content))}
            return Reply(206, ranged, content[part.first : part.last + 1])
        return Reply(200, headers, content)

    def keep(self, name: str, content: bytes, **headers: str) -> None:
        self.held[name] = (
            content,
            {
                "Etag": md5(content).hexdigest(),
                "X-Timestamp": "1600000000.00000",
                "X-Backend-Timestamp": "1600000000.00000",
                "Last-Modified": MODIFIED,
                "Content-Type": "text/x",
            }
            | {key.replace("_", "-"): value for key, value in headers.items()},
        )

    def put(self, items: list[dict[str, Any]], path: str = WHOLE, query: str = "", **headers: str) -> Response:
        """Put a manifest; what the nodes got is kept from then on."""
        titled = {name.replace("_", "-"): value for name, value in headers.items()}
        name = path.removeprefix("/v1/AUTH_a/")
        body = json.dumps(items).encode()
        answer = self.store.send("PUT", path, titled, body, query=f"multipart-manifest=put{query}")
        self.take(name)
        return answer

    def take(self, name: str) -> None:
        calls = [call for call in self.store.calls("PUT") if str(call.request.path) == f"/AUTH_a/{name}"]
        if calls:
            stored = {
                key: value for key, value in calls[-1].headers.items() if key.startswith(("X-Object", "X-Static"))
            }
            self.keep(name, calls[-1].body, **stored)

    def get(self, query: str = "", method: str = "GET", **headers: str) -> Response:
        return self.store.send(method, WHOLE, {name.replace("_", "-"): v for name, v in headers.items()}, query=query)

    def delete(self, query: str = "") -> Any:
        accept = {"Accept": "application/json"}
        answer = self.store.send("DELETE", WHOLE, accept, query=f"multipart-manifest=delete{query}")
        return answer if answer.status != 200 else json.loads(answer.read_all())


@pytest.fixture
def shelf() -> Shelf:
    made = Shelf()
    for number in range(3):
        made.keep(f"s/{number}", bytes([97 + number]) * 10)
    return made


SEGMENTS: list[dict[str, Any]] = [{"path": "/s/0"}, {"path": "s/1", "range": "2-4"}, {"data": "IQ=="}]
CONTENT = b"a" * 10 + b"bbb!"
ETAG = md5(
    (
        md5(b"a" * 10).hexdigest() + md5(b"b" * 10).hexdigest() + ":2-4;" + md5(b"!").hexdigest()
    ).encode()
).hexdigest()  # fmt: skip


def test_put_and_read(shelf: Shelf) -> None:
    answer = shelf.put(SEGMENTS, Content_Type="text/y", X_Object_Meta_Colour="red", Etag=f'"{ETAG}"')
    assert (answer.status, answer.headers["Etag"]) == (201, f'"{ETAG}"')
    call = next(call for call in shelf.store.calls("PUT"))
    assert call.headers["Content-Type"] == "text/y"
    assert call.headers["X-Static-Large-Object"] == "True"
    assert call.headers["X-Object-Sysmeta-Composite-Size"] == str(len(CONTENT))
    own = md5(call.body).hexdigest()
    listed = call.headers["X-Object-Sysmeta-Container-Update-Override-Etag"]
    assert split_etag(listed) == (own, {"slo_etag": f'"{ETAG}"'})
    for method in ("GET", "HEAD"):
        answer = shelf.get(method=method)
        assert answer.status == 200
        assert answer.headers["Etag"] == f'"{ETAG}"'
        assert answer.headers["X-Manifest-Etag"] == own
        assert answer.headers["X-Static-Large-Object"] == "True"
        assert answer.headers["X-Object-Meta-Colour"] == "red"
    assert shelf.get().read_all() == CONTENT
    answer = shelf.get(Range="bytes=9-10")
    assert (answer.status, answer.headers["Content-Range"], answer.read_all()) == (206, "bytes 9-10/14", b"ab")
    answer = shelf.get(Range="bytes=0-0,-1")
    assert answer.status == 206
    assert answer.headers["Content-Type"].startswith("multipart/byteranges")
    body = answer.read_all()
    assert b"\r\n\r\na\r\n" in body
    assert b"\r\n\r\n!\r\n" in body
    assert shelf.get(If_None_Match=f'"{ETAG}"').status == 304
    answer = shelf.get(If_Match=own)
    assert (answer.status, answer.headers["Etag"]) == (412, f'"{ETAG}"')
    assert shelf.get(Range="bytes=14-").status == 416


def test_forms_of_the_manifest(shelf: Shelf) -> None:
    shelf.put(SEGMENTS)
    answer = shelf.get("multipart-manifest=get")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    body = answer.read_all()
    assert answer.headers["Etag"] == answer.headers["X-Manifest-Etag"] == md5(body).hexdigest()
    first, second, third = json.loads(body)
    assert first == {
        "name": "/s/0",
        "hash": md5(b"a" * 10).hexdigest(),
        "bytes": 10,
        "content_type": "text/x",
        "last_modified": "2020-09-13T12:26:40.000000",
    }
    assert second["range"] == "2-4"
    assert third == {"data": "IQ=="}
    raw = shelf.get("multipart-manifest=get&format=raw")
    assert raw.headers["Content-Type"] == "text/x"
    body = raw.read_all()
    assert raw.headers["Etag"] == md5(body).hexdigest()
    assert json.loads(body)[1] == {
        "path": "/s/1",
        "etag": md5(b"b" * 10).hexdigest(),
        "size_bytes": 10,
        "range": "2-4",
    }
    head = shelf.get("multipart-manifest=get&format=raw", "HEAD")
    assert head.headers["Content-Length"] == str(len(body))


def test_one_segment_alone(shelf: Shelf) -> None:
    shelf.put(SEGMENTS)
    for method in ("GET", "HEAD"):
        answer = shelf.get("part-number=2", method)
        assert answer.status == 206
        assert answer.headers["X-Parts-Count"] == "3"
        assert answer.headers["Content-Range"] == "bytes 10-12/14"
        assert shelf.get("part-number=4", method).status == 416
        for wrong in ("0", "-1", "x", ""):
            assert shelf.get(f"part-number={wrong}", method).status == 400
        assert shelf.get("part-number=1", method, Range="bytes=0-1").status == 400
    assert shelf.get("part-number=2").read_all() == b"bbb"


def test_problems_with_segments_are_listed(shelf: Shelf) -> None:
    wrong = [{"path": "/s/0", "etag": "x"}, {"path": "/s/nö"}, {"path": "s/1", "size_bytes": 3}, {"path": "/s/2"}]
    answer = shelf.put(wrong, Accept="application/json")
    assert answer.status == 400
    errors = [["/s/0", "Etag Mismatch"], ["/s/n%C3%B6", "404 Not Found"], ["s/1", "Size Mismatch"]]
    assert json.loads(answer.read_all()) == {"Errors": errors}
    assert shelf.put(wrong).read_all().startswith(b"Errors:\n/s/0, Etag Mismatch\n")
    assert b"<name>/s/0</name><status>Etag Mismatch</status>" in shelf.put(wrong, Accept="text/xml").read_all()
    assert not shelf.store.calls("PUT")


def test_refusals_of_manifests(shelf: Shelf) -> None:
    assert shelf.put(SEGMENTS, Etag="0" * 32).status == 422
    assert shelf.put([]).status == 400
    too_long = {"Content-Length": str(8 * 1024 * 1024 + 1)}
    assert shelf.store.send("PUT", WHOLE, too_long, b"[]", query="multipart-manifest=put").status == 413
    assert shelf.store.send("PUT", WHOLE, {"X-Static-Large-Object": "true"}, b"x").status == 400
    assert not shelf.store.calls("PUT")


def test_a_heartbeat_tells_the_outcome(shelf: Shelf) -> None:
    answer = shelf.put(SEGMENTS, query="&heartbeat=on", Accept="application/json")
    assert answer.status == 202
    told = json.loads(answer.read_all())
    assert (told["Response Status"], told["Etag"], told["Errors"]) == ("201 Created", f'"{ETAG}"', [])
    answer = shelf.put([{"path": "/s/none"}], query="&heartbeat=on", Accept="application/json")
    told = json.loads(answer.read_all())
    assert (told["Response Status"], told["Errors"]) == ("400 Bad Request", [["/s/none", "404 Not Found"]])


def test_segments_are_read_with_the_rights_of_the_client(shelf: Shelf) -> None:
    def denied(request: SwiftRequest) -> None:
        path = request.accessed or request.storage_resource
        if path.container == "s":
            raise HttpError(403)

    body = json.dumps(SEGMENTS).encode()
    answer = shelf.store.send("PUT", WHOLE, {}, body, query="multipart-manifest=put", authorize=denied)
    assert answer.status == 400
    assert b"403 Forbidden" in answer.read_all()
    shelf.put(SEGMENTS)
    assert shelf.store.send("GET", WHOLE, authorize=denied).status == 409
    assert shelf.store.send("HEAD", WHOLE, authorize=denied).status == 200


def test_a_copy_has_the_content_and_is_no_manifest(shelf: Shelf) -> None:
    shelf.put(SEGMENTS, X_Object_Meta_Colour="red")
    assert shelf.store.send("COPY", WHOLE, {"Destination": "c/copy"}).status == 201
    call = shelf.store.calls("PUT")[-1]
    assert call.body == CONTENT
    assert call.headers["X-Object-Meta-Colour"] == "red"
    assert "X-Static-Large-Object" not in call.headers
    assert not [name for name in call.headers if "Sysmeta" in name]


def test_a_copy_of_the_manifest(shelf: Shelf) -> None:
    shelf.put(SEGMENTS)
    manifest = shelf.held["c/whole"][0]
    answer = shelf.store.send("COPY", WHOLE, {"Destination": "c/copy"}, query="multipart-manifest=get")
    assert answer.status == 201
    call = shelf.store.calls("PUT")[-1]
    assert call.body == manifest
    assert call.headers["X-Object-Sysmeta-Composite-Etag"] == ETAG
    shelf.gone.add("s/1")
    answer = shelf.store.send("COPY", WHOLE, {"Destination": "c/copy"}, query="multipart-manifest=get")
    assert answer.status == 400
    assert b"/s/1, 404 Not Found" in answer.read_all()


def deleted(shelf: Shelf) -> list[str]:
    paths = dict.fromkeys(str(call.request.path) for call in shelf.store.calls("DELETE"))
    return [path.removeprefix("/AUTH_a/") for path in paths]


def test_segments_go_first_and_the_manifest_last(shelf: Shelf) -> None:
    shelf.put([{"path": "/s/0"}, {"path": "/s/1"}], "/v1/AUTH_a/c/inner")
    shelf.put([{"path": "/c/inner"}, {"path": "/s/2"}, {"path": "/s/2", "range": "1-2"}])
    assert shelf.delete() == {
        "Number Deleted": 5,
        "Number Not Found": 0,
        "Response Body": "",
        "Response Status": "200 OK",
        "Errors": [],
    }
    order = deleted(shelf)
    assert sorted(order) == ["c/inner", "c/whole", "s/0", "s/1", "s/2"]
    assert order[-1] == "c/whole"


def test_the_manifest_stays_if_a_segment_does(shelf: Shelf) -> None:
    shelf.put([{"path": "/s/0"}, {"path": "/s/1"}])
    shelf.refused.add("s/1")
    told = shelf.delete()
    assert (told["Response Status"], told["Errors"]) == ("400 Bad Request", [["/s/1", "503 Service Unavailable"]])
    assert "c/whole" not in deleted(shelf)
    shelf.refused.clear()
    told = shelf.delete()
    assert (told["Number Deleted"], told["Number Not Found"]) == (3, 0)


def test_deletion_of_what_is_no_manifest(shelf: Shelf) -> None:
    assert shelf.delete()["Response Status"] == "404 Not Found"
    shelf.keep("c/whole", b"content")
    told = shelf.delete()
    assert (told["Response Status"], told["Errors"]) == ("400 Bad Request", [["/c/whole", "Not an SLO manifest"]])
    assert deleted(shelf) == []


def test_the_expirer_deletes_segments_later(shelf: Shelf) -> None:
    shelf.put(SEGMENTS)
    assert shelf.delete("&async=on").status == 204
    assert deleted(shelf) == ["c/whole"]
    updates = shelf.store.calls("UPDATE")
    assert {call.request.path.account for call in updates} == {EXPIRY_ACCOUNT}
    assert len(updates) == 3
    rows = decode_object_rows(updates[0].body)
    assert [row.name.partition("-")[2] for row in rows] == ["AUTH_a/s/0", "AUTH_a/s/1"]
    assert {row.content_type for row in rows} == {ASYNC_DELETED}


@pytest.mark.parametrize("segments", [["/s/0", "/t/0"], ["/c/inner"]])
def test_what_cannot_be_deleted_later(shelf: Shelf, segments: list[str]) -> None:
    shelf.keep("t/0", b"x")
    shelf.put([{"path": "/s/0"}], "/v1/AUTH_a/c/inner")
    shelf.put([{"path": path} for path in segments])
    assert shelf.delete("&async=on").status == 400
    assert deleted(shelf) == []
    assert not shelf.store.calls("UPDATE")
