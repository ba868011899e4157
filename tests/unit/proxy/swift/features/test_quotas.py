"""Quotas of containers and accounts."""

from __future__ import annotations

import msgspec
import pytest

from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader
from objstore.proxy.core.info import ABSENT, PRESENT, UNKNOWN, AccountInfo, ContainerInfo, Existence, PolicyStats
from objstore.proxy.swift.request import SwiftRequest
from objstore.system import concurrency
from objstore.system.concurrency import Event, spawn
from tests.unit.proxy.swift.harness import Proxy


@pytest.fixture
def owner(proxy: Proxy) -> dict[str, str]:
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT)
    return {"X-Auth-Token": proxy.token("test:tester", "testing")}


@pytest.fixture
def reseller(proxy: Proxy) -> dict[str, str]:
    return {"X-Auth-Token": proxy.token("admin:admin", "admin")}


def upload(proxy: Proxy, headers: dict[str, str], size: int) -> int:
    return proxy.send("PUT", "/v1/AUTH_test/c/o", headers, b"x" * size).status


@pytest.mark.parametrize("name", ["Bytes", "Count"])
@pytest.mark.parametrize(
    ("value", "status"), [("0", 200), ("10", 200), ("", 200), ("-1", 400), ("many", 400), ("1.5", 400), ("²", 400)]
)
def test_a_container_quota_is_a_number(proxy: Proxy, owner: dict[str, str], name: str, value: str, status: int) -> None:
    header = f"X-Container-Meta-Quota-{name}"
    assert proxy.send("POST", "/v1/AUTH_test/c", owner | {header: value}).status == status


@pytest.mark.parametrize(
    ("metadata", "size", "status"),
    [
        ({"Quota-Bytes": "10"}, 5, 201),
        ({"Quota-Bytes": "10"}, 6, 413),
        ({"Quota-Bytes": "0"}, 0, 413),
        ({"Quota-Count": "3"}, 1, 201),
        ({"Quota-Count": "2"}, 1, 413),
        ({"Quota-Bytes": "", "Quota-Count": "nonsense"}, 1, 201),
    ],
)
def test_container_quotas(
    proxy: Proxy, owner: dict[str, str], metadata: dict[str, str], size: int, status: int
) -> None:
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, object_count=2, bytes_used=5, metadata=metadata)
    assert upload(proxy, owner, size) == status


def test_uploads_are_measured_against_what_is_there_now(proxy: Proxy, owner: dict[str, str]) -> None:
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, metadata={"Quota-Count": "1"})
    assert upload(proxy, owner, 1) == 201
    assert proxy.info.forgotten == ["/AUTH_test/c"]
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT)
    assert upload(proxy, owner, 1) == 201
    assert len(proxy.info.forgotten) == 1


def test_who_may_not_write_does_not_learn_of_quotas(proxy: Proxy) -> None:
    full = ContainerInfo(PRESENT, metadata={"Quota-Count": "0"}, write_acl="test:tester3")
    proxy.info.containers["/AUTH_test/c"] = full
    assert upload(proxy, {}, 1) == 401
    assert upload(proxy, {"X-Auth-Token": proxy.token("test2:tester2", "testing2")}, 1) == 403
    assert upload(proxy, {"X-Auth-Token": proxy.token("test:tester3", "testing3")}, 1) == 413


HEADERS = [
    "X-Account-Quota-Bytes",
    "X-Account-Quota-Count",
    "X-Account-Quota-Bytes-Policy-Silver",
    "X-Account-Meta-Quota-Bytes",
    "X-Remove-Account-Quota-Bytes",
    "X-Remove-Account-Meta-Quota-Bytes",
]


@pytest.mark.parametrize("header", HEADERS)
def test_account_quotas_are_the_resellers(proxy: Proxy, owner: dict[str, str], header: str) -> None:
    assert proxy.send("POST", "/v1/AUTH_test", owner | {header: "5"}).status == 403
    assert proxy.send("POST", "/v1/AUTH_test", {header: "5"}).status == 401


def test_account_quotas_are_kept_as_system_metadata(proxy: Proxy, reseller: dict[str, str]) -> None:
    sent = {
        "X-Account-Quota-Bytes": "1",
        "X-Remove-Account-Quota-Count": "x",
        "X-Account-Quota-Bytes-Policy-Argent": "2",
        "X-Account-Quota-Count-Policy-Gold": "3",
        "X-Account-Meta-Quota-Bytes": "4",
    }
    assert proxy.send("POST", "/v1/AUTH_test", reseller | sent).status == 200
    assert proxy.seen.headers_with_prefix("X-Account-Sysmeta-") == {
        "X-Account-Sysmeta-Quota-Bytes": "1",
        "X-Account-Sysmeta-Quota-Count": "",
        "X-Account-Sysmeta-Quota-Bytes-Policy-1": "2",
        "X-Account-Sysmeta-Quota-Count-Policy-0": "3",
    }
    assert proxy.seen.headers_with_prefix("X-Account-Quota") == {}
    assert proxy.seen.header("X-Account-Meta-Quota-Bytes") == "4"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Account-Quota-Bytes", "many"),
        ("X-Account-Meta-Quota-Bytes", "-1"),
        ("X-Account-Quota-Bytes-Policy-Tin", "1"),
        ("X-Account-Quota-Wishes", "3"),
    ],
)
def test_bad_account_quotas(proxy: Proxy, reseller: dict[str, str], header: str, value: str) -> None:
    assert proxy.send("POST", "/v1/AUTH_test", reseller | {header: value}).status == 400


@pytest.mark.parametrize(
    ("metadata", "sysmeta", "size", "status"),
    [
        ({}, {}, 100, 201),
        ({}, {"Quota-Bytes": "10"}, 5, 201),
        ({}, {"Quota-Bytes": "10"}, 6, 413),
        ({"Quota-Bytes": "10"}, {}, 6, 413),
        ({"Quota-Bytes": "10"}, {"Quota-Bytes": "100"}, 6, 201),
        ({}, {"Quota-Count": "2"}, 1, 413),
        ({}, {"Quota-Bytes-Policy-1": "4"}, 2, 413),
        ({}, {"Quota-Bytes-Policy-1": "5"}, 2, 201),
        ({}, {"Quota-Count-Policy-1": "1"}, 2, 413),
        ({}, {"Quota-Bytes-Policy-0": "0"}, 2, 201),
    ],
)
def test_account_quotas(
    proxy: Proxy,
    owner: dict[str, str],
    reseller: dict[str, str],
    metadata: dict[str, str],
    sysmeta: dict[str, str],
    size: int,
    status: int,
) -> None:
    stats = {1: PolicyStats(containers=1, objects=1, bytes=3)}
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, 1, 2, 5, metadata, sysmeta, stats)
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, policy_index=1)
    assert upload(proxy, owner, size) == status
    assert upload(proxy, reseller, size) == 201


@pytest.mark.parametrize(
    ("container", "account", "room"),
    [
        ({"Quota-Count": "9"}, {"Quota-Count": "9"}, None),
        ({"Quota-Bytes": "17"}, {}, 10),
        ({"Quota-Bytes": "7"}, {}, 0),
        ({}, {"Quota-Bytes": "17"}, 12),
        ({"Quota-Bytes": "17"}, {"Quota-Bytes": "11"}, 6),
        ({"Quota-Bytes": "17"}, {"Quota-Bytes": "11", "Quota-Bytes-Policy-1": "4"}, 1),
        ({"Quota-Bytes": "9" * 18}, {}, None),
    ],
)
def test_a_body_of_unknown_length_may_fill_the_room_that_is_left(
    proxy: Proxy, owner: dict[str, str], container: dict[str, str], account: dict[str, str], room: int | None
) -> None:
    stats = {1: PolicyStats(containers=1, objects=1, bytes=3)}
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, 1, 2, 5, {}, account, stats)
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, policy_index=1, bytes_used=7, metadata=container)
    chunked = owner | {"Transfer-Encoding": "chunked", "Content-Length": ""}
    for excess, status in ((0, 201), (1, 201 if room is None else 413)):
        proxy.forget_uploads()
        assert proxy.send("PUT", "/v1/AUTH_test/c/o", chunked, b"x" * ((room or 0) + excess)).status == status


class Race:
    """Uploads that are all under way at once."""

    def __init__(self, proxy: Proxy, owner: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.proxy, self.owner = proxy, owner
        self.go: Event[None] = Event()
        self.stored: list[int] = []
        monkeypatch.setattr(proxy.handlers, "upload", self._upload)

    def set_quotas(self, container: dict[str, str], account: dict[str, str]) -> None:
        """Metadata of the container, and of its account."""
        self.proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, policy_index=1, metadata=container)
        self.proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, sysmeta=account)

    def _upload(self, request: SwiftRequest, body: BodyReader) -> None:
        self.go.wait(5)
        size = 0
        while part := body.read(1):
            size += len(part)
            concurrency.sleep()
        self.stored.append(size)

    def run(self, count: int, size: int, headers: dict[str, str]) -> list[int]:
        tasks = [spawn(self._put, number, size, headers) for number in range(count)]
        concurrency.sleep()
        self.go.set()
        return sorted(task.wait(5) for task in tasks)

    def _put(self, number: int, size: int, headers: dict[str, str]) -> int:
        return self.proxy.send("PUT", f"/v1/AUTH_test/c/o{number}", self.owner | headers, b"x" * size).status


@pytest.fixture
def race(proxy: Proxy, owner: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Race:
    return Race(proxy, owner, monkeypatch)


CHUNKED = {"Transfer-Encoding": "chunked", "Content-Length": ""}
QUOTAS = [
    ({"Quota-Count": "5"}, {}, 5),
    ({"Quota-Bytes": "20"}, {}, 2),
    ({}, {"Quota-Count": "5"}, 5),
    ({}, {"Quota-Bytes": "39"}, 3),
    ({}, {"Quota-Bytes-Policy-1": "20"}, 2),
    ({"Quota-Count": "5"}, {"Quota-Count": "4"}, 4),
]


@pytest.mark.parametrize(("container", "account", "fit"), QUOTAS)
def test_uploads_under_way_count_against_each_other(
    race: Race, container: dict[str, str], account: dict[str, str], fit: int
) -> None:
    race.set_quotas(container, account)
    assert race.run(20, 10, {}) == [201] * fit + [413] * (20 - fit)


@pytest.mark.parametrize(("container", "account", "fit"), [row for row in QUOTAS if "Count" not in str(row)])
def test_uploads_of_unknown_length_share_what_is_left(
    race: Race, container: dict[str, str], account: dict[str, str], fit: int
) -> None:
    race.set_quotas(container, account)
    race.run(20, 10, CHUNKED)
    assert sum(race.stored) <= fit * 10
    assert race.stored, "what others gave back when they were refused is for those that are left"


def test_what_failed_no_longer_counts(proxy: Proxy, owner: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.info.containers["/AUTH_test/c"] = ContainerInfo(PRESENT, metadata={"Quota-Count": "1"})

    def fail(request: SwiftRequest, body: BodyReader) -> None:
        raise HttpError(503)

    with monkeypatch.context() as broken:
        broken.setattr(proxy.handlers, "upload", fail)
        assert upload(proxy, owner, 1) == 503
    assert upload(proxy, owner, 1) == 201


def test_what_has_finished_counts_until_it_is_counted(proxy: Proxy, owner: dict[str, str]) -> None:
    """A count that was asked for before an upload ended, and is used afterwards, lacks the upload."""
    proxy.info.containers["/AUTH_test/c"] = old = ContainerInfo(PRESENT, metadata={"Quota-Count": "2"})
    assert upload(proxy, owner, 1) == 201
    proxy.info.containers["/AUTH_test/c"] = msgspec.structs.replace(old, object_count=1)
    assert upload(proxy, owner, 1) == 201
    proxy.info.containers["/AUTH_test/c"] = msgspec.structs.replace(old, object_count=2)
    assert upload(proxy, owner, 1) == 413
    # Deleted meanwhile.
    proxy.info.containers["/AUTH_test/c"] = old
    assert upload(proxy, owner, 1) == 201


def test_a_count_from_before_an_upload_ended_is_not_believed(
    proxy: Proxy, owner: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ContainerInfo(PRESENT, metadata={"Quota-Count": "1"})
    proxy.info.containers["/AUTH_test/c"] = old
    assert upload(proxy, owner, 1) == 201
    looks = iter([old, msgspec.structs.replace(old, object_count=1)])
    monkeypatch.setattr(proxy.info, "container", lambda path, transaction_id: next(looks))
    assert upload(proxy, owner, 1) == 413


def test_an_account_is_measured_by_its_containers_while_its_count_lags(proxy: Proxy, owner: dict[str, str]) -> None:
    proxy.info.accounts["AUTH_test"] = AccountInfo(PRESENT, 1, sysmeta={"Quota-Count": "5"})
    for number in range(6):
        proxy.info.containers[f"/AUTH_test/{number}"] = ContainerInfo(PRESENT)
        status = proxy.send("PUT", f"/v1/AUTH_test/{number}/o", owner, b"x").status
        assert status == (201 if number < 5 else 413)
    # One was deleted from a container that is looked at again; the account does not know of any yet.
    proxy.info.containers["/AUTH_test/0"] = ContainerInfo(PRESENT)
    assert proxy.send("PUT", "/v1/AUTH_test/0/o", owner, b"x").status == 201
    assert proxy.send("PUT", "/v1/AUTH_test/5/o", owner, b"x").status == 413


@pytest.mark.parametrize(("existence", "status"), [(UNKNOWN, 503), (ABSENT, 404)])
def test_a_container_that_is_gone_when_it_is_looked_at_again(
    proxy: Proxy, owner: dict[str, str], monkeypatch: pytest.MonkeyPatch, existence: Existence, status: int
) -> None:
    full = ContainerInfo(PRESENT, metadata={"Quota-Count": "0"})
    looks = iter([full, ContainerInfo(existence)])
    monkeypatch.setattr(proxy.info, "container", lambda path, transaction_id: next(looks))
    assert upload(proxy, owner, 1) == status
