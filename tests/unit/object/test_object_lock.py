"""What object servers refuse of versions that are locked, whoever asks."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.headers import Backend, Sysmeta
from tests.unit.object.harness import EXPIRES, NOW, QUEUE, ServedFolder, at, put_headers, titled
from tests.unit.object.test_kept_versions import KEEP, NULL_MODE, PLAIN, version

HOLD = {"x_object_transient_sysmeta_lock_hold": "ON"}
LIFTED = {"x_object_transient_sysmeta_lock_hold": "OFF"}
BYPASS = {"x_backend_bypass_governance": "true"}
MERGE = {"x_backend_merge": "true"}
UNTIL = int(NOW) + 1000


def retained(mode: str, until: int = UNTIL) -> dict[str, str]:
    return {"x_object_transient_sysmeta_lock_retention": f"{mode} {until}"}


def removed(store: ServedFolder, **headers: str) -> int:
    return store.delete(50, **version(1), **headers).status


@pytest.mark.parametrize(
    ("lock", "with_bypass"), [(HOLD, 403), (retained("COMPLIANCE"), 403), (retained("GOVERNANCE"), 204)]
)
def test_a_locked_version_is_not_removed(store: ServedFolder, lock: dict[str, str], with_bypass: int) -> None:
    store.put(1, **KEEP, **lock)
    names = store.names()
    assert removed(store) == 403
    assert store.names() == names
    assert removed(store, **BYPASS) == with_bypass


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_a_retention_ends(store: ServedFolder, mode: str) -> None:
    store.put(1, **KEEP, **retained(mode))
    store.clock.seconds = UNTIL - 1
    assert removed(store) == 403
    store.clock.seconds = UNTIL
    assert removed(store) == 204


def test_a_lock_that_was_posted(store: ServedFolder) -> None:
    store.put(1, x_object_meta_a="b", **KEEP)
    assert store.post(2, **version(1), **MERGE, **HOLD).status == 202
    assert store.head(**version(1)).headers["X-Object-Meta-A"] == "b"
    assert removed(store) == 403
    assert store.post(3, **version(1), x_object_meta_c="d").status == 202
    headers = store.head(**version(1)).headers
    assert (headers.get("X-Object-Meta-A"), headers["X-Object-Meta-C"]) == (None, "d")
    assert headers[Sysmeta.LOCK_HOLD] == "ON"
    assert store.post(4, **version(1), **MERGE, **LIFTED).status == 202
    assert store.head(**version(1)).headers["X-Object-Meta-C"] == "d"
    assert removed(store) == 204


def test_a_retention_gets_longer_only(store: ServedFolder) -> None:
    store.put(1, **KEEP, **retained("GOVERNANCE"))
    post = [version(1), MERGE]

    def posted(second: int, *headers: dict[str, str]) -> int:
        joined: dict[str, Any] = {}
        for each in (*post, *headers):
            joined |= each
        return store.post(second, **joined).status

    none = {"x_object_transient_sysmeta_lock_retention": "NONE"}
    assert posted(2, retained("GOVERNANCE", UNTIL - 1)) == 403
    assert posted(2, none) == 403
    assert posted(2, retained("GOVERNANCE", UNTIL + 1)) == 202
    assert posted(3, retained("COMPLIANCE", UNTIL + 1)) == 403
    assert posted(3, retained("COMPLIANCE", UNTIL + 1), BYPASS) == 202
    assert posted(4, none, BYPASS) == 403
    assert posted(4, {"x_object_transient_sysmeta_lock_retention": "forever"}) == 400
    store.clock.seconds = UNTIL + 1
    assert posted(4, none) == 202


def test_a_locked_version_is_not_written_again(store: ServedFolder) -> None:
    store.put(1, **KEEP, **HOLD)
    assert store.put(2, **KEEP, **version(1)).status == 403
    assert store.put(2, **KEEP).status == 201
    assert store.delete(3, **KEEP).status == 204


def test_a_locked_object_of_the_plain_line_is_not_replaced(store: ServedFolder) -> None:
    store.put(1, b"plain")
    store.post(2, **MERGE, **HOLD)
    assert store.put(3).status == 403
    for how in ({}, NULL_MODE, PLAIN):
        assert store.delete(3, **how).status == 403
    store.put(3, b"kept", **KEEP)
    for how in ({}, NULL_MODE, PLAIN):
        assert store.delete(4, **how).status == 403
    assert store.get(**PLAIN).body == b"plain"
    store.post(4, **MERGE, **LIFTED, **PLAIN)
    assert store.delete(5, **NULL_MODE).status == 204


def test_what_is_locked_does_not_expire(store: ServedFolder) -> None:
    """The expirer neither sees it as expired nor deletes it, until the lock is over."""
    lock = titled({**KEEP, **retained("COMPLIANCE", EXPIRES + 50)})
    store.call("PUT", headers=lock | QUEUE | put_headers(1, b"x"), body=b"x")
    store.clock.seconds = EXPIRES + 1
    assert store.get().status == 200
    seen = store.head(x_backend_open_expired="true", **version(1))
    assert Backend.EXPIRED not in seen.headers
    guard = {"x_if_delete_at": str(EXPIRES), "x_backend_belated": "true"}
    assert removed(store, **guard) == 403
    store.clock.seconds = EXPIRES + 50
    assert store.get().status == 404
    assert removed(store, **guard) == 204


def test_a_lock_that_cannot_be_read_protects(store: ServedFolder) -> None:
    store.put(1, **KEEP, x_object_transient_sysmeta_lock_retention="HUGE 5")
    assert removed(store, **BYPASS) == 403
    assert at(1) + "!.data" in store.names()
