"""What a container server says of its rows to a proxy that asks several replicas."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from objstore.container.row_pages import RowPage
from objstore.http.messages import Response
from objstore.policies import Policies, Policy
from objstore.rows import decode_object_rows
from tests.unit.objstore.db.harness import CONTAINER, Servers, at, row


def strong_servers(servers: Servers) -> Servers:
    """The same, with a strong policy of the index 1."""
    servers.cluster = replace(
        servers.cluster, policies=Policies([Policy(0, "gold", default=True), Policy(1, "iron", consistency="strong")])
    )
    servers.container = servers.new_container_server()
    return servers


def test_replicas_with_equal_live_rows_have_the_same_digest(servers: Servers) -> None:
    strong_servers(servers)
    path = "/sda/5/a/strong"
    servers.to_container("PUT", 1, path, X_Backend_Storage_Policy_Index="1")
    empty = servers.to_container("HEAD", path=path).headers["X-Backend-Rows-Digest"]
    assert empty == "0"
    servers.update([row("o", policy_index=1)], path)
    one = servers.to_container("GET", path=path).headers["X-Backend-Rows-Digest"]
    assert one == servers.to_container("HEAD", path=path).headers["X-Backend-Rows-Digest"] != empty
    servers.update([row("p", 1, policy_index=1), row("p", 2, policy_index=1, deleted=True)], path)
    assert servers.to_container("HEAD", path=path).headers["X-Backend-Rows-Digest"] == one
    servers.to_container("POST", 7, path, X_Container_Meta_A="b")
    assert servers.to_container("HEAD", path=path).headers["X-Backend-Modified"] == at(7)
    servers.to_container("PUT", 1)
    assert "X-Backend-Rows-Digest" not in servers.to_container("HEAD").headers


def rows_of(servers: Servers, query: str) -> tuple[list[str], str]:
    answer = servers.to_container("GET", query=query)
    page = msgspec.json.decode(answer.body, type=RowPage)  # type: ignore[arg-type]
    return [each.name for each in page.rows], page.end


def test_pages_of_rows(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([row(name) for name in ("a", "b/1", "b/2", "b/3", "c")] + [row("aa", deleted=True)])
    servers.update([row("v", second, version=at(second)) for second in (1, 2, 3)])
    assert rows_of(servers, "rows=100") == (["a", "b/1", "b/2", "b/3", "c", "v"], "")
    assert rows_of(servers, "rows=2") == (["a", "b/1"], "b/1")
    assert rows_of(servers, "rows=2&resume=b/1&end_marker=c") == (["b/2", "b/3"], "")
    assert rows_of(servers, "rows=100&group=2&delimiter=/") == (["a", "b/1", "b/2", "c", "v"], "")
    assert rows_of(servers, "rows=100&group=1&delimiter=/&reverse=true") == (["v", "c", "b/3", "a"], "")
    assert rows_of(servers, "rows=3&reverse=true&resume=b/3") == (["b/2", "b/1", "a"], "")
    assert rows_of(servers, "rows=1&versions=true&prefix=v") == (["v", "v", "v"], "")


@pytest.mark.parametrize("query", ["rows=0", "rows=x", "rows=10001", "rows=1&group=0"])
def test_bad_numbers_of_rows(servers: Servers, query: str) -> None:
    servers.to_container("PUT")
    assert servers.to_container("GET", query=query).status == 400


def rows_named(servers: Servers, *names: str, body: bytes | None = None) -> Response:
    content = msgspec.json.encode(names) if body is None else body
    return servers.call(servers.container, "ROWS", CONTAINER, body=content)


def test_all_rows_of_names(servers: Servers) -> None:
    servers.to_container("PUT")
    rows = [row("o", 2, deleted=True), row("o", 1, version=at(1)), row("o", 9, version=at(3), deleted=True)]
    servers.update([*rows, row("p"), row("q"), row("o", policy_index=1)])
    found = decode_object_rows(rows_named(servers, "o", "q", "x").body)  # type: ignore[arg-type]
    assert sorted(map(repr, found)) == sorted(map(repr, [*rows, row("q")]))
    assert rows_named(servers).status == 200
    assert rows_named(servers, *["n"] * 1001).status == 413
    assert rows_named(servers, body=b"[1]").status == 400


def test_rows_of_a_deleted_container_are_read(servers: Servers) -> None:
    servers.to_container("PUT", 1)
    servers.update([row("o", 1, deleted=True)])
    servers.to_container("DELETE", 2)
    assert servers.to_container("GET").status == 404
    assert rows_of(servers, "rows=10") == ([], "")
    assert len(decode_object_rows(rows_named(servers, "o").body)) == 1  # type: ignore[arg-type]
