"""Uploads of archives: which objects come of them, and what is told."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from objstore.http.transport import BackendRequest
from tests.unit.proxy.store import Reply, ScriptedStore


def archive(*members: tuple[str, bytes], mode: str = "w", pax: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(mode=mode, fileobj=out, format=tarfile.PAX_FORMAT) as made:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = pax or {}
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def open_store() -> ScriptedStore:
    """Takes whatever is stored."""
    store = ScriptedStore()
    store.otherwise = Reply(201)
    return store


def extract(store: ScriptedStore, body: bytes, path: str = "/v1/AUTH_a/c", kind: str = "tar") -> dict[str, Any]:
    accept = {"Accept": "application/json", "Content-Length": str(len(body))}
    answer = store.send("PUT", path, accept, body, query=f"extract-archive={kind}")
    assert answer.status == 200
    told: dict[str, Any] = json.loads(answer.read_all())
    return told


def stored(store: ScriptedStore) -> set[str]:
    return {str(call.request.path).removeprefix("/AUTH_a") for call in store.calls("PUT")}


@pytest.mark.parametrize(("kind", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tar.bz2", "w:bz2")])
def test_each_file_becomes_an_object(kind: str, mode: str) -> None:
    store = open_store()
    told = extract(store, archive(("./a", b"1"), ("dir/", b""), ("dir/b", b"22"), mode=mode), kind=kind)
    assert told == {
        "Number Files Created": 2,
        "Response Body": "",
        "Response Status": "201 Created",
        "Errors": [],
    }
    assert stored(store) == {"/c/a", "/c/dir/b"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/v1/AUTH_a/c/pre", {"/c/pre/x/a"}), ("/v1/AUTH_a/c/pre/", {"/c/pre/x/a"}), ("/v1/AUTH_a/c", {"/c/x/a"})],
)
def test_where_files_go(path: str, expected: set[str]) -> None:
    store = open_store()
    extract(store, archive(("/x//./a", b"1")), path)
    assert stored(store) == expected


def test_attributes_become_metadata() -> None:
    store = open_store()
    pax = {"SCHILY.xattr.user.mime_type": "a/b", "SCHILY.xattr.user.meta.colour": "röt"}
    assert extract(store, archive(("a", b"1"), pax=pax))["Number Files Created"] == 1
    sent = store.calls("PUT")[0].request.headers
    assert sent["Content-Type"] == "a/b"
    assert sent["X-Object-Meta-Colour"] == "röt".encode().decode("latin-1")


def test_files_that_cannot_be_stored_are_told() -> None:
    store = open_store()
    lookup = store.transport.script

    def script(request: BackendRequest) -> Reply:
        return Reply(507) if request.method == "PUT" and str(request.path).endswith("/b") else lookup(request)

    store.transport.script = script
    told = extract(store, archive(("a", b"1"), ("b", b"2"), ("x" * 1100, b"3")))
    assert told["Number Files Created"] == 1
    assert told["Response Status"] == "400 Bad Request"
    assert [reason for _, reason in told["Errors"]] == ["503 Service Unavailable", "400 Bad Request"]


@pytest.mark.parametrize("body", [b"", b"x" * 1000, archive(("a", b"1" * 5000))[:2000], archive(("dir/", b""))])
def test_what_is_no_archive(body: bytes) -> None:
    told = extract(open_store(), body)
    assert told["Response Status"] == "400 Bad Request"
    assert told["Response Body"].startswith("Invalid Tar File") or told["Errors"]


def test_unknown_formats_are_refused() -> None:
    answer = ScriptedStore().send("PUT", "/v1/AUTH_a/c", {}, b"x", query="extract-archive=zip")
    assert answer.status == 400


@pytest.mark.parametrize("name", ["a\r\nX-Other", "a\nb", "a: b", "a\0", "{a}", "цвет", ""])
def test_attributes_are_no_way_to_other_headers(name: str) -> None:
    store = open_store()
    told = extract(store, archive(("a", b"1"), pax={f"SCHILY.xattr.user.meta.{name}": "1"}))
    assert told["Number Files Created"] == 0
    assert told["Errors"] == [["/c/a", "400 Bad Request"]]
    assert not stored(store)


def test_underscores_of_attributes_are_dashes_as_in_other_requests() -> None:
    store = open_store()
    extract(store, archive(("a", b"1"), pax={"SCHILY.xattr.user.meta.my_key": "1"}))
    assert store.calls("PUT")[0].request.headers["X-Object-Meta-My-Key"] == "1"


def special(kind: bytes, content: bytes) -> bytes:
    head = tarfile.TarInfo("x")
    head.type, head.size = kind, len(content)
    return head.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize(
    "begin",
    [
        special(tarfile.XHDTYPE, b"100000 a=" + b"x" * 99_990 + b"\n"),
        special(tarfile.GNUTYPE_LONGNAME, b"x" * 100_000),
        special(tarfile.GNUTYPE_SPARSE, b""),
        special(tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"),
        b"".join(special(tarfile.XGLTYPE, b"60008 %d=" % number + b"x" * 60_000) for number in range(3)),
        special(tarfile.GNUTYPE_LONGNAME, b"x") * 2000,
    ],
    ids=["attributes", "name", "sparse", "sparse by attributes", "attributes of all", "heads of heads"],
)
def test_what_would_take_much_memory_is_refused(begin: bytes) -> None:
    store = open_store()
    told = extract(store, begin + archive(("a", b"1")))
    assert told["Response Body"].startswith("Invalid Tar File")
    assert not stored(store)
