"""The account server through its front door."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from objstore.rows import ContainerRow
from tests.unit.objstore.db.harness import ACCOUNT, Servers, at


def container(name: str, second: float = 1, objects: int = 0, used: int = 0, **fields: Any) -> ContainerRow:
    return ContainerRow(name, at(second), object_count=objects, bytes_used=used, stats_timestamp=at(second), **fields)


def test_life(servers: Servers) -> None:
    assert servers.to_account("HEAD").status == 404
    assert "X-Account-Status" not in servers.to_account("HEAD").headers
    assert servers.to_account("PUT", 1, X_Account_Meta_A="1").status == 201
    assert servers.to_account("PUT", 2).status == 202
    head = servers.to_account("HEAD")
    assert head.status == 204
    assert head.headers["X-Account-Meta-A"] == "1"
    assert head.headers["X-Account-Container-Count"] == "0"
    assert servers.to_account("POST", 3, X_Account_Meta_A="").status == 204
    assert "X-Account-Meta-A" not in servers.to_account("HEAD").headers
    assert servers.to_account("DELETE", 1).status == 409
    assert servers.to_account("DELETE", 4).status == 204


def test_deleted_and_not_reaped(servers: Servers) -> None:
    servers.to_account("PUT", 1)
    servers.update_account([container("c")])
    assert servers.to_account("DELETE", 2).status == 204
    for method in ("HEAD", "GET", "POST", "DELETE"):
        answer = servers.to_account(method, 3)
        assert (answer.status, answer.headers["X-Account-Status"]) == (404, "Deleted")
    again = servers.to_account("PUT", 5)
    assert (again.status, again.headers["X-Account-Status"]) == (403, "Deleted")
    assert servers.update_account([container("c", 6)], X_Backend_Account_Autocreate="true").status == 404


def test_containers_are_listed_and_counted(servers: Servers) -> None:
    servers.to_account("PUT")
    rows = [container("b", 1, 2, 30), container("a", 2, 1, 5, policy_index=1), container("d", 3)]
    assert servers.update_account(rows).status == 202
    assert servers.listed_containers() == [
        {"name": name, "count": count, "bytes": used, "last_modified": modified, "storage_policy": policy}
        for name, count, used, modified, policy in (
            ("a", 1, 5, "2023-11-14T22:13:22.000000", "silver"),
            ("b", 2, 30, "2023-11-14T22:13:21.000000", "gold"),
            ("d", 0, 0, "2023-11-14T22:13:23.000000", "gold"),
        )
    ]
    servers.update_account([ContainerRow("d", at(3), at(4), stats_timestamp=at(4))])
    headers = servers.to_account("HEAD").headers
    assert headers["X-Account-Container-Count"] == "2"
    assert headers["X-Account-Object-Count"] == "3"
    assert headers["X-Account-Bytes-Used"] == "35"
    assert msgspec.json.decode(headers["X-Backend-Policy-Stats"]) == {
        "0": {"containers": 1, "objects": 2, "bytes": 30},
        "1": {"containers": 1, "objects": 1, "bytes": 5},
    }


def test_containers_of_the_store_itself_bring_bytes_and_nothing_else(servers: Servers) -> None:
    servers.to_account("PUT")
    servers.update_account([container("c", 1, 2, 30), container("\0uploads\0c", 1, 5, 100)])
    servers.update_account([container("\0uploads\0d", 1, 1, 7, policy_index=1)])
    headers = servers.to_account("HEAD").headers
    figures = ("X-Account-Container-Count", "X-Account-Object-Count", "X-Account-Bytes-Used")
    assert [headers[name] for name in figures] == ["1", "2", "137"]
    assert msgspec.json.decode(headers["X-Backend-Policy-Stats"]) == {
        "0": {"containers": 1, "objects": 2, "bytes": 130},
        "1": {"containers": 0, "objects": 0, "bytes": 7},
    }


def test_late_figures_do_not_count(servers: Servers) -> None:
    servers.to_account("PUT")
    servers.update_account([container("c", 5, 7, 70)])
    servers.update_account([container("c", 4, 1, 1), ContainerRow("c", at(1))])
    (listed,) = servers.listed_containers()
    assert (listed["count"], listed["bytes"]) == (7, 70)


def test_who_sends_late_figures_hears_of_it(servers: Servers) -> None:
    servers.to_account("PUT")
    assert "X-Backend-Stats-Timestamp" not in servers.update_account([container("c", 5, 7, 70)]).headers
    late = servers.update_account([container("c", 4, 1, 1)])
    assert late.headers["X-Backend-Stats-Timestamp"] == at(5)


def test_a_container_deleted_while_it_holds_objects_is_still_listed(servers: Servers) -> None:
    servers.to_account("PUT")
    servers.update_account([ContainerRow("c", at(1), at(2), 1, 1, stats_timestamp=at(3))])
    assert [each["name"] for each in servers.listed_containers()] == ["c"]


def test_formats(servers: Servers) -> None:
    servers.to_account("PUT")
    assert servers.to_account("GET").status == 204
    servers.update_account([container("x/y"), container("c&d", 1, 1, 2)])
    assert servers.to_account("GET").body == b"c&d\nx/y\n"
    xml = servers.to_account("GET", query="format=xml&delimiter=/").body
    assert xml == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<account name="a"><container><name>c&amp;d</name><count>1</count>'
        b"<bytes>2</bytes><last_modified>2023-11-14T22:13:21.000000</last_modified>"
        b"<storage_policy>gold</storage_policy></container>"
        b'<subdir name="x/"><name>x/</name></subdir></account>'
    )


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (ACCOUNT, {}, 404),
        (ACCOUNT, {"X_Backend_Account_Autocreate": "true"}, 202),
        (ACCOUNT, {"X_Backend_Account_Autocreate": "false"}, 404),
        ("/sda/5/.expiring_objects", {}, 202),
    ],
)
def test_creation_on_demand(servers: Servers, path: str, headers: dict[str, str], status: int) -> None:
    assert servers.update_account([container("c")], path, **headers).status == status
    assert servers.to_account("HEAD", path=path).status == (204 if status == 202 else 404)


@pytest.mark.parametrize("path", ["/sda/5", "/sda/5/", "/sda/5/a/c", f"/sda/5/{'x' * 257}"])
def test_bad_paths(servers: Servers, path: str) -> None:
    assert servers.to_account("PUT", path=path).status == 400
