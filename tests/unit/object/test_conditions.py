"""Conditions of writes, decided by one object server."""

from __future__ import annotations

from hashlib import md5
from pathlib import Path

import pytest

from objstore.timestamps import Timestamp
from tests.unit.object.harness import PATH, ServedFolder, at

ETAG = md5(b"body").hexdigest()
BEFORE, AFTER = (Timestamp.parse(at(second)).http_date for second in (0, 9))
CASES = {
    "if-match": ({"If-Match": f'"{ETAG}"'}, False),
    "if-match, one of a list": ({"If-Match": f'"x", "{ETAG}"'}, False),
    "if-match, anything": ({"If-Match": "*"}, False),
    "if-match, another": ({"If-Match": '"x"'}, True),
    "if-none-match": ({"If-None-Match": ETAG}, True),
    "if-none-match, anything": ({"If-None-Match": "*"}, True),
    "if-none-match, another": ({"If-None-Match": '"x"'}, False),
    "unmodified since then": ({"If-Unmodified-Since": AFTER}, False),
    "modified since then": ({"If-Unmodified-Since": BEFORE}, True),
    "its size": ({"X-Backend-If-Size": "4"}, False),
    "another size": ({"X-Backend-If-Size": "5"}, True),
    "its version": ({"X-Backend-If-Version": "null"}, False),
    "another version": ({"X-Backend-If-Version": at(1)}, True),
    "all but one hold": ({"If-Match": ETAG, "X-Backend-If-Size": "5"}, True),
}


@pytest.fixture
def store(tmp_path: Path) -> ServedFolder:
    return ServedFolder(tmp_path)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("verb", ["put", "post", "delete"])
def test_what_is_there(store: ServedFolder, verb: str, case: str) -> None:
    headers, refused = CASES[case]
    assert store.put(1).status == 201
    sent = {name.replace("-", "_"): value for name, value in headers.items()}
    done = {"put": 201, "post": 202, "delete": 204}[verb]
    assert getattr(store, verb)(5, **sent).status == (412 if refused else done)
    changed = store.head().headers.get("X-Backend-Timestamp") != at(1)
    assert changed is not refused


@pytest.mark.parametrize("headers", [{"If_Unmodified_Since": "soon"}, {"If_Match": "no etag"}])
def test_a_condition_that_cannot_be_read_is_not_passed_over(store: ServedFolder, headers: dict[str, str]) -> None:
    assert store.put(1, **headers).status == 400
    assert store.head().status == 404


def test_an_expired_object_is_not_there(store: ServedFolder) -> None:
    assert store.put(1, x_delete_at=str(int(float(at(5))))).status == 201
    assert store.put(2, If_None_Match="*").status == 412
    store.clock.seconds = float(at(6))
    assert store.put(3, If_Match="*").status == 412
    assert store.put(4, If_None_Match="*").status == 201


def test_a_kept_version_is_what_is_current(store: ServedFolder) -> None:
    assert store.put(1, x_backend_version_mode="keep").status == 201
    assert store.put(2, X_Backend_If_Version="null").status == 412
    assert store.put(2, X_Backend_If_Version=at(1)).status == 201
    assert store.call("HEAD", PATH).headers["X-Backend-Timestamp"] == at(2)
