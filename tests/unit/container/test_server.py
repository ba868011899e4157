"""The container server through its front door."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from objstore.container.reports import marked_containers
from objstore.db.database import Database
from objstore.db.server import LONG_PAGES_MAX, ROWS_AT_ONCE_MAX, UPDATE_BYTES_MAX
from objstore.rows import etag_with_fields
from objstore.system import concurrency
from tests.unit.objstore.db.harness import CONTAINER, TO_ACCOUNTS, Servers, at, row, titled


def test_put_creates_once(servers: Servers) -> None:
    assert servers.to_container("PUT", 1).status == 201
    assert servers.to_container("PUT", 2).status == 202
    head = servers.to_container("HEAD")
    assert head.status == 204
    assert head.headers["X-Timestamp"] == at(1)
    assert head.headers["X-Put-Timestamp"] == at(2)
    assert head.headers["X-Backend-Status-Changed-At"] == at(1)
    assert head.headers["X-Container-Object-Count"] == "0"
    assert head.headers["X-Container-Bytes-Used"] == "0"
    assert head.headers["X-Backend-Storage-Policy-Index"] == "0"


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "DELETE"])
def test_an_absent_container(servers: Servers, method: str) -> None:
    assert servers.to_container(method).status == 404


def test_an_absent_container_takes_no_rows(servers: Servers) -> None:
    assert servers.update([row("o")]).status == 404
    assert not (servers.device / "containers").exists()


def test_the_database_lies_where_its_hash_says(servers: Servers) -> None:
    servers.to_container("PUT")
    file = servers.database_file()
    assert file.parent.name == file.stem
    assert file.parent.parent.name == file.stem[-3:]
    assert file.parent.parent.parent.name == "5"
    assert list((servers.device / "tmp").iterdir()) == []


def test_rows_are_listed_and_counted(servers: Servers) -> None:
    servers.to_container("PUT")
    assert servers.update([row("b", size=2), row("a", size=3)]).status == 202
    assert servers.listed() == [
        {
            "name": name,
            "hash": "etag",
            "bytes": size,
            "content_type": "text/plain",
            "last_modified": "2023-11-14T22:13:21.000000",
        }
        for name, size in (("a", 3), ("b", 2))
    ]
    servers.update([row("a", 2, deleted=True), row("b", 0.5, size=99)])
    assert [each["name"] for each in servers.listed()] == ["b"]
    headers = servers.to_container("HEAD").headers
    assert headers["X-Container-Object-Count"] == "1"
    assert headers["X-Container-Bytes-Used"] == "2"


def test_few_long_pages_are_made_at_a_time(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.to_container("PUT")
    servers.update([row(f"o{number}") for number in range(ROWS_AT_ONCE_MAX + 1)])
    under_way, most = 0, 0
    read = Database.read

    def counted(self: Database, operation: Any, long: bool = False) -> Any:
        nonlocal under_way, most
        under_way += long
        most = max(most, under_way)
        concurrency.sleep(0)
        try:
            return read(self, operation, long)
        finally:
            under_way -= long

    monkeypatch.setattr(Database, "read", counted)
    tasks = [concurrency.spawn(servers.listed) for _ in range(LONG_PAGES_MAX + 3)]
    assert all(len(task.wait()) == ROWS_AT_ONCE_MAX + 1 for task in tasks)
    assert most == LONG_PAGES_MAX


def test_last_modified_is_that_of_the_newest_write(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([row("o", meta_timestamp=at(5.5))])
    assert servers.listed()[0]["last_modified"] == "2023-11-14T22:13:25.500000"


def test_the_size_of_a_large_object_hides_in_its_type(servers: Servers) -> None:
    servers.to_container("PUT")
    manifest = row("m", size=7)
    servers.update([type(manifest)("m", at(1), 7, "video/x; q=1;swift_bytes=1000", "e")])
    (listed,) = servers.listed()
    assert (listed["bytes"], listed["content_type"]) == (1000, "video/x; q=1")
    assert servers.to_container("HEAD").headers["X-Container-Bytes-Used"] == "7"


def test_fields_that_an_etag_brings_are_listed(servers: Servers) -> None:
    etag = "d41d8cd98f00b204e9800998ecf8427e"
    fields: dict[str, str | int] = {"symlink_path": "/v1/a/c/o%20o", "symlink_bytes": 5}
    servers.to_container("PUT")
    servers.update([row("link", etag=etag_with_fields(etag, fields))])
    servers.update([row("parts", etag=f"{etag}-3"), row("torn", etag=f"{etag};{{")])
    link, parts, torn = servers.listed()
    assert link.items() >= {"name": "link", "hash": etag, **fields}.items()
    assert (parts["hash"], torn["hash"]) == (f"{etag}-3", f"{etag};{{")


def test_formats(servers: Servers) -> None:
    servers.to_container("PUT", path="/sda/5/a/c&ö")
    servers.update([row('<"x">&'), row("d/e")], path="/sda/5/a/c&ö")
    plain = servers.to_container("GET", path="/sda/5/a/c&ö")
    assert (plain.status, plain.body) == (200, b'<"x">&\nd/e\n')
    assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
    xml = servers.to_container("GET", path="/sda/5/a/c&ö", query="format=xml&delimiter=/")
    assert xml.headers["Content-Type"] == "application/xml; charset=utf-8"
    assert (
        xml.body
        == (
            '<?xml version="1.0" encoding="UTF-8"?>\n<container name="c&amp;ö"><object>'
            "<name>&lt;&quot;x&quot;&gt;&amp;</name><hash>etag</hash><bytes>1</bytes>"
            "<content_type>text/plain</content_type><last_modified>2023-11-14T22:13:21.000000</last_modified></object>"
            '<subdir name="d/"><name>d/</name></subdir></container>'
        ).encode()
    )


def test_an_empty_listing(servers: Servers) -> None:
    servers.to_container("PUT")
    assert servers.to_container("GET").status == 204
    assert servers.to_container("GET", query="format=json").body == b"[]"
    xml = servers.to_container("GET", query="format=xml")
    assert xml.body == b'<?xml version="1.0" encoding="UTF-8"?>\n<container name="c"></container>'


def test_a_long_listing_is_whole(servers: Servers) -> None:
    servers.to_container("PUT")
    names = [f"{number:04}" for number in range(500)]
    servers.update([row(name) for name in reversed(names)])
    assert [each["name"] for each in servers.listed()] == names
    assert servers.to_container("GET", query="limit=10001").status == 412
    assert servers.to_container("GET", query="format=xml").body.count(b"<object>") == 500  # type: ignore[union-attr]


def test_metadata_merges_by_timestamp(servers: Servers) -> None:
    servers.to_container("PUT", 1, X_Container_Meta_A="1", X_Container_Read=".r:*", X_Container_Sysmeta_S="s")
    assert servers.to_container("POST", 3, X_Container_Meta_A="3", X_Container_Meta_B="").status == 204
    servers.to_container("POST", 2, X_Container_Meta_A="2", X_Container_Meta_C="2")
    headers = servers.to_container("HEAD").headers
    found = {name: value for name, value in headers.items() if name.startswith("X-Container-Meta-")}
    assert found == {"X-Container-Meta-A": "3", "X-Container-Meta-C": "2"}
    assert headers["X-Container-Read"] == ".r:*"
    assert headers["X-Container-Sysmeta-S"] == "s"
    servers.to_container("POST", 4, X_Container_Meta_A="")
    assert "X-Container-Meta-A" not in servers.to_container("HEAD").headers


def test_a_container_is_modified_by_what_is_said_of_it_not_by_its_rows(servers: Servers) -> None:
    def modified() -> str:
        return servers.to_container("HEAD").headers["Last-Modified"]

    servers.to_container("PUT", 1)
    assert modified() == "Tue, 14 Nov 2023 22:13:21 GMT"
    servers.to_container("POST", 3, X_Container_Meta_A="1")
    assert modified() == "Tue, 14 Nov 2023 22:13:23 GMT"
    servers.to_container("POST", 5, X_Container_Meta_A="")
    assert modified() == "Tue, 14 Nov 2023 22:13:25 GMT"
    servers.to_container("PUT", 7)
    assert modified() == "Tue, 14 Nov 2023 22:13:27 GMT"
    servers.update([row("o", 9)])
    assert modified() == "Tue, 14 Nov 2023 22:13:27 GMT"


def test_too_much_metadata_in_all_is_refused_and_not_kept(servers: Servers) -> None:
    servers.to_container("PUT", 1, **{f"X_Container_Meta_{number}": "v" for number in range(60)})
    more = {f"X_Container_Meta_X{number}": "v" for number in range(60)}
    assert servers.to_container("POST", 2, **more).status == 400
    assert "X-Container-Meta-X1" not in servers.to_container("HEAD").headers


def test_delete(servers: Servers) -> None:
    servers.to_container("PUT", 1, X_Container_Meta_A="1")
    servers.update([row("o")])
    assert servers.to_container("DELETE", 2).status == 409
    servers.update([row("o", 2, deleted=True)])
    assert servers.to_container("DELETE", 0.5).status == 409
    assert servers.to_container("DELETE", 3).status == 204
    gone = servers.to_container("HEAD")
    assert gone.status == 404
    assert gone.headers["X-Backend-Delete-Timestamp"] == at(3)
    assert servers.to_container("DELETE", 4).status == 404
    assert servers.to_container("POST", 4).status == 404
    assert servers.update([row("p")]).status == 404
    assert servers.to_container("PUT", 2).status == 409
    assert servers.to_container("PUT", 5).status == 201
    headers = servers.to_container("HEAD").headers
    assert "X-Container-Meta-A" not in headers
    assert headers["X-Backend-Status-Changed-At"] == at(5)
    assert headers["X-Timestamp"] == at(1)


def test_policies(servers: Servers) -> None:
    silver = {"X_Backend_Storage_Policy_Index": "1"}
    created = servers.to_container("PUT", 1, **silver)
    assert created.headers["X-Backend-Storage-Policy-Index"] == "1"
    assert servers.to_container("PUT", 2).status == 202
    conflict = servers.to_container("PUT", 2, X_Backend_Storage_Policy_Index="0")
    assert (conflict.status, conflict.headers["X-Backend-Storage-Policy-Index"]) == (409, "1")
    assert servers.to_container("PUT", 2, X_Backend_Storage_Policy_Default="0").status == 202
    assert servers.to_container("PUT", 2, X_Backend_Storage_Policy_Index="7").status == 400
    servers.to_container("DELETE", 3)
    again = servers.to_container("PUT", 4, X_Backend_Storage_Policy_Default="0")
    assert (again.status, again.headers["X-Backend-Storage-Policy-Index"]) == (201, "0")


def test_objects_of_another_policy_are_kept_but_not_shown(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([row("o", policy_index=1, size=5), row("o", 2, size=3), row("p", policy_index=1)])
    assert [each["bytes"] for each in servers.listed()] == [3]
    assert servers.to_container("HEAD").headers["X-Container-Object-Count"] == "1"
    servers.update([row("o", 3, deleted=True)])
    assert servers.listed() == []
    assert servers.to_container("DELETE", 5).status == 409


def test_containers_of_internal_accounts_come_with_their_first_row(servers: Servers) -> None:
    path = "/sda/5/.expiring_objects/1"
    assert servers.update([row("o")], path, X_Backend_Storage_Policy_Index="1").status == 202
    assert servers.to_container("HEAD", path=path).headers["X-Backend-Storage-Policy-Index"] == "1"
    servers.clock.seconds += 10
    servers.update([row("o", 2, deleted=True)], path)
    assert servers.to_container("DELETE", 20, path).status == 204
    servers.clock.seconds += 30
    assert servers.update([row("o", 40)], path).status == 202
    assert servers.to_container("HEAD", path=path).status == 204


def test_accounts_are_told_of_what_comes_and_goes(servers: Servers) -> None:
    headers = {name.replace("-", "_"): value for name, value in TO_ACCOUNTS.items()}
    servers.to_container("PUT", 1, X_Backend_Account_Autocreate="true", X_Trans_Id="tx1", **headers)
    (first, _), (second, _) = servers.transport.requests
    assert [request.node.device for request in (first, second)] == ["sdx", "sdy"]
    assert first.target == "/sdx/3/a"
    assert first.headers["X-Backend-Account-Autocreate"] == "true"
    assert first.headers["X-Trans-Id"] == "tx1"
    told = servers.transport.rows[-1]
    assert (told.name, told.put_timestamp, told.object_count) == ("c", at(1), 0)
    servers.to_container("DELETE", 2, **headers)
    assert servers.transport.rows[-1].delete_timestamp == at(2)


@pytest.mark.parametrize(
    ("one", "other", "status"), [(404, 404, 404), (404, 202, 201), (None, 202, 201), (None, None, 201)]
)
def test_answers_of_accounts(servers: Servers, one: int | None, other: int | None, status: int) -> None:
    servers.transport.status_of = {"sdx": one, "sdy": other}
    headers = {name.replace("-", "_"): value for name, value in TO_ACCOUNTS.items()}
    assert servers.to_container("PUT", 1, **headers).status == status


def test_lists_of_account_servers_must_match(servers: Servers) -> None:
    headers = TO_ACCOUNTS | {"X-Account-Device": "sdx", "X-Timestamp": at(1)}
    assert servers.call(servers.container, "PUT", CONTAINER, headers).status == 400
    headers = TO_ACCOUNTS | {"X-Account-Host": "nowhere,else", "X-Timestamp": at(1)}
    assert servers.call(servers.container, "PUT", CONTAINER, headers).status == 400


def test_changed_figures_leave_a_mark(servers: Servers) -> None:
    servers.to_container("PUT")
    marks = servers.device / "container_reports"
    (mark,) = marks.iterdir()
    mark.unlink()
    servers.update([row("o")])
    (place,) = marked_containers(str(servers.device))
    assert place.file == str(servers.database_file())
    mark.unlink()
    servers.update([row("o")])
    assert list(marks.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PUT", "/sda/5/a", {}, 400),
        ("PUT", "/sda/5/a/", {}, 400),
        ("PUT", "/sda/x/a/c", {}, 400),
        ("PUT", "/sda/5/a/c/d", {}, 400),
        ("PUT", "/absent/5/a/c", {}, 507),
        ("PUT", "/../5/a/c", {}, 507),
        ("PUT", CONTAINER, {"X-Timestamp": "soon"}, 400),
        ("PUT", f"/sda/5/a/{'x' * 257}", {}, 400),
        ("PUT", "/sda/5/a/\0c", {}, 400),
        ("PUT", "/sda/5/a/\0c", {"X-Backend-Allow-Reserved-Names": "true"}, 201),
        ("PUT", "/sda/5/a/c\0", {}, 412),
        ("PUT", CONTAINER, {"X-Container-Meta-A": "v" * 257}, 400),
        ("PUT", CONTAINER, {"X-Backend-Storage-Policy-Index": "-1"}, 400),
        ("PATCH", CONTAINER, {}, 405),
    ],
)
def test_bad_requests(servers: Servers, method: str, path: str, headers: dict[str, str], status: int) -> None:
    assert servers.call(servers.container, method, path, {"X-Timestamp": at(1)} | headers).status == status


def test_a_write_needs_a_timestamp(servers: Servers) -> None:
    for method in ("PUT", "POST", "DELETE"):
        assert servers.call(servers.container, method, CONTAINER).status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 400),
        (b"[1]", 400),
        (b'[{"name":"o","timestamp":"1","size":1,"content_type":"t","etag":"e"}]', 400),
        (b'[{"name":"","timestamp":"1700000000.00000","size":1,"content_type":"t","etag":"e"}]', 400),
        (b'[{"name":"o","timestamp":"1700000000.00000","size":-1,"content_type":"t","etag":"e"}]', 400),
        (b'[{"name":"o","timestamp":"1700000000.00000","size":9223372036854775808,"content_type":"","etag":""}]', 400),
        (b"[" + b" " * UPDATE_BYTES_MAX + b"]", 413),
        (
            b"["
            + b",".join([b'{"name":"o","timestamp":"1700000000.00000","size":1,"content_type":"","etag":""}'] * 10001)
            + b"]",
            413,
        ),
        (b"[]", 202),
    ],
)
def test_bad_rows(servers: Servers, body: bytes, status: int) -> None:
    servers.to_container("PUT")
    assert servers.call(servers.container, "UPDATE", CONTAINER, {}, body).status == status
    assert servers.listed() == []


def test_reserved_objects_are_listed_to_internal_callers_only(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([row("\0v\0a"), row("o")])
    assert [each["name"] for each in servers.listed()] == ["o"]
    assert [each["name"] for each in servers.listed(X_Backend_Allow_Reserved_Names="true")] == ["\0v\0a", "o"]


def test_another_servers_commits_are_seen(servers: Servers) -> None:
    other = servers.new_container_server()
    servers.to_container("PUT", 1)
    servers.update([row("o")])
    assert servers.call(other, "PUT", CONTAINER, titled({"X_Timestamp": at(2)})).status == 202
    assert servers.call(other, "HEAD", CONTAINER).headers["X-Container-Object-Count"] == "1"
    assert servers.to_container("HEAD").headers["X-Put-Timestamp"] == at(2)


def test_what_is_stored_is_a_plain_database(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([row("o")])
    connection = sqlite3.connect(servers.database_file())
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT account, container, sequence FROM resource").fetchone() == ("a", "c", 1)
    connection.close()
