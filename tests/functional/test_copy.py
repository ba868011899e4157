"""COPY and X-Copy-From."""

from __future__ import annotations

import pytest

from tests.functional.client import Client


@pytest.fixture
def source(client: Client, container: str) -> str:
    headers = {"X-Object-Meta-A": "1", "Content-Type": "text/x", "Content-Encoding": "z"}
    assert client.put(f"{container}/söurce", b"content", headers).status == 201
    return f"{container}/söurce"


@pytest.mark.parametrize("by_copy", [True, False])
def test_a_copy_has_content_and_metadata(client: Client, container: str, by_copy: bool) -> None:
    client.put(
        f"{container}/s", b"content", {"X-Object-Meta-A": "1", "Content-Type": "text/x", "Content-Encoding": "z"}
    )
    if by_copy:
        answer = client.copy(f"{container}/s", f"{container}/t", {"X-Object-Meta-B": "2"})
    else:
        answer = client.put(f"{container}/t", None, {"X-Copy-From": f"/{container}/s", "X-Object-Meta-B": "2"})
    assert answer.status == 201
    assert answer.headers["x-copied-from"] == f"{container}/s"
    assert answer.headers["x-copied-from-account"] == client.account
    assert "x-copied-from-last-modified" in answer.headers
    target = client.get(f"{container}/t")
    assert target.body == b"content"
    assert target.headers["content-type"] == "text/x"
    assert target.headers["content-encoding"] == "z"
    assert target.headers["x-object-meta-a"] == "1"
    assert target.headers["x-object-meta-b"] == "2"


def test_a_copy_with_a_heartbeat_is_told_in_the_body(client: Client, container: str) -> None:
    content = b"x" * 3_000_000
    client.put(f"{container}/large", content)
    asked = {"Destination": f"{container}/copy", "Accept": "application/json"}
    answer = client.request("COPY", f"{container}/large", asked, heartbeat="on")
    assert (answer.status, answer.headers["x-copied-from"]) == (202, f"{container}/large")
    assert answer.json()["Response Status"] == "201 Created"
    assert client.get(f"{container}/copy").body == content
    asked["Destination"] = "no-such-container/copy"
    assert client.request("COPY", f"{container}/large", asked, heartbeat="on").json()["Response Status"][:3] == "404"
    assert client.request("COPY", f"{container}/none", asked, heartbeat="on").status == 404


def test_quoted_names(client: Client, container: str, source: str) -> None:
    answer = client.copy(source, f"{container}/targét")
    assert answer.status == 201
    assert client.get(f"{container}/targét").body == b"content"
    assert answer.headers["x-copied-from"] == f"{container}/s%C3%B6urce"


def test_fresh_metadata(client: Client, container: str, source: str) -> None:
    client.copy(source, f"{container}/t", {"X-Fresh-Metadata": "true", "X-Object-Meta-B": "2"})
    headers = client.head(f"{container}/t").headers
    assert "x-object-meta-a" not in headers
    assert "content-encoding" not in headers
    assert headers["x-object-meta-b"] == "2"


def test_onto_itself_with_new_metadata(client: Client, source: str) -> None:
    answer = client.copy(source, source, {"X-Object-Meta-A": "2", "Content-Type": "text/y"})
    assert answer.status == 201
    got = client.get(source)
    assert (got.body, got.headers["x-object-meta-a"], got.headers["content-type"]) == (b"content", "2", "text/y")


def test_between_accounts(client: Client, other: Client, container: str, source: str) -> None:
    assert other.put("inbox").status == 201
    refused = client.copy(source, "inbox/o", {"Destination-Account": other.account})
    assert refused.status == 403
    other.post("inbox", {"X-Container-Write": "test:tester"})
    answer = client.copy(source, "inbox/o", {"Destination-Account": other.account})
    assert answer.status == 201
    assert other.get("inbox/o").body == b"content"
    assert (
        other.put(
            "inbox/p", None, {"X-Copy-From": f"/{container}/s%C3%B6urce", "X-Copy-From-Account": client.account}
        ).status
        == 403
    )
    other.delete("inbox/o")
    other.delete("inbox")


def test_a_range_of_the_source(client: Client, container: str, source: str) -> None:
    answer = client.put(f"{container}/t", None, {"X-Copy-From": f"/{container}/s%C3%B6urce", "Range": "bytes=2-4"})
    assert answer.status == 201
    assert client.get(f"{container}/t").body == b"nte"


def test_conditions_on_the_source(client: Client, container: str, source: str) -> None:
    assert client.copy(source, f"{container}/t", {"If-Match": "0" * 32}).status == 412
    assert client.copy(source, f"{container}/t", {"If-None-Match": "0" * 32}).status == 201


@pytest.mark.parametrize("destination", ["", "nothing", "/only-a-container", "absent/o"])
def test_bad_destinations(client: Client, source: str, destination: str) -> None:
    answer = client.request("COPY", source, {"Destination": destination})
    assert answer.status == (404 if destination == "absent/o" else 412)


def test_refusals(client: Client, container: str, source: str) -> None:
    assert client.request("COPY", source).status == 412
    assert client.put(f"{container}/t", b"body", {"X-Copy-From": f"/{source}"}).status == 400
    assert client.put(f"{container}/t", None, {"X-Copy-From": f"/{container}/absent"}).status == 404
    assert client.put(f"{container}/t", None, {"X-Copy-From": container}).status == 412
    assert (
        client.put(f"{container}/t", None, {"X-Copy-From": f"/{container}/o", "X-Copy-From-Account": "a/b"}).status
        == 412
    )
    assert client.copy(source, f"{container}/t", {"Destination-Account": "a/b"}).status == 412
    assert client.names(container) == ["söurce"]
