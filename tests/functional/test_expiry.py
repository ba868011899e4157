"""Objects that expire."""

from __future__ import annotations

import time

import pytest

from tests.functional.client import Client
from tests.waiting import wait_until


def test_expiry_times_are_shown_replaced_and_cleared(client: Client, container: str) -> None:
    at = int(time.time()) + 1000
    assert client.put(f"{container}/o", b"x", {"X-Delete-At": str(at)}).status == 201
    assert client.head(f"{container}/o").headers["x-delete-at"] == str(at)
    assert client.post(f"{container}/o", {"X-Delete-At": str(at + 5)}).status == 202
    assert client.head(f"{container}/o").headers["x-delete-at"] == str(at + 5)
    assert client.post(f"{container}/o", {"X-Remove-Delete-At": "true"}).status == 202
    assert "x-delete-at" not in client.head(f"{container}/o").headers


def test_after_wins_over_at(client: Client, container: str) -> None:
    far = int(time.time()) + 100_000
    client.put(f"{container}/o", b"x", {"X-Delete-At": str(far), "X-Delete-After": "60"})
    assert 50 < int(client.head(f"{container}/o").headers["x-delete-at"]) - time.time() < 70


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Delete-At": "soon"},
        {"X-Delete-At": "1.5"},
        {"X-Delete-At": "1000"},
        {"X-Delete-After": "later"},
        {"X-Delete-After": "-5"},
    ],
)
def test_times_that_cannot_be(client: Client, container: str, headers: dict[str, str]) -> None:
    assert client.put(f"{container}/o", b"x", headers).status == 400
    assert client.names(container) == []
    client.put(f"{container}/o", b"x")
    assert client.post(f"{container}/o", headers).status == 400


def test_what_has_expired_is_gone(client: Client, container: str) -> None:
    at = int(time.time()) + 2
    assert client.put(f"{container}/o", b"x", {"X-Delete-At": str(at)}).status == 201
    alive = client.get(f"{container}/o").status == 200
    assert alive or time.time() >= at  # a busy machine may be late
    wait_until(lambda: time.time() > at, "the object's time is over")
    assert client.get(f"{container}/o").status == 404
    assert client.head(f"{container}/o").status == 404
    assert client.post(f"{container}/o", {"X-Object-Meta-A": "1"}).status == 404
    assert client.get(f"{container}/o", {"X-Open-Expired": "true"}).body == b"x"  # the expirer comes minutes later
    assert client.put(f"{container}/o", b"again").status == 201
    assert client.get(f"{container}/o").body == b"again"
